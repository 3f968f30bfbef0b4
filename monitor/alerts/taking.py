"""An alert that has changed -> its incident, which it begins, joins, or is followed in; and a line of the timeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from monitor.alerts.about import About
from monitor.alerts.grouping import group_of
from monitor.alerts.incident_state import Incident
from monitor.alerts.incidents import followed, joined, opened
from monitor.alerts.message import called
from monitor.alerts.states import Alert, State
from monitor.history import History, Kept


@dataclass(frozen=True, kw_only=True)
class Change:
    """What became of an alert.

    Attributes:
        before: the alert as it was.
        after: as it is.
        kept: what is known of it by now; None where that is what it was.
        at: up to when it was looked for.
        clock: what the incident's timers go by: the wall clock, or in a rehearsal ``at``.
        now: the wall clock.
        ended: why it has ended, where no look has shown that it is over; "" where one has.
    """

    before: Alert
    after: Alert
    kept: Kept | None
    at: datetime
    clock: datetime
    now: datetime
    ended: str = ""


def take(history: History, connection: Connection, change: Change) -> Incident | None:
    """Take an alert's incident on, in the transaction that changes the alert; return it.

    One that fires begins an incident, or joins the one of its group that goes on. One that goes on firing tells its
    incident what is known of it by now. What changes in an incident is a line of its timeline.
    """
    before, after = change.before, change.after
    if before.firing and (not after.firing or after.episode != before.episode):
        _ended(history, connection, change)
    if not after.firing:
        return None
    if not before.firing or after.episode != before.episode:
        return _begun(history, connection, change)
    return _gone_on(history, connection, change)


def _begun(history: History, connection: Connection, change: Change) -> Incident:
    alert = change.after
    assert change.kept is not None  # noqa: S101 - what fires has found something
    about, finding = About.from_dict(change.kept.about), change.kept.finding
    going_on = history.open_incidents(connection)
    group = group_of(about.subject(), going_on)
    incident = next((one for one in going_on if one.group == group.key), None)
    summary = str(finding.get("summary", ""))
    member = about.member(alert, summary=summary, now=change.clock)
    if incident is None:
        what = "fired"
        episode = history.last_episode(connection, group.key) + 1
        begun = joined(opened(group, episode=episode, now=change.clock), member)
        incident = history.open_new_incident(connection, begun)
    else:
        what = "joined"
        incident = joined(incident, member)
        history.save_incident(connection, incident, member)
    lines = [(what, summary, change.at)]
    if finding.get("evidence"):
        lines.insert(0, ("evidence", _evidence(finding["evidence"]), change.at))
    if alert.onset is not None:
        lines.insert(0, ("onset", f"{about.rule}: the first window that is likely different", alert.onset))
    for word, text, at in lines:
        _note(history, connection, incident, change, word, text, at)
    return incident


def _gone_on(history: History, connection: Connection, change: Change) -> Incident | None:
    """Keep in an incident what is known of an alert by now; nothing is written where that is what it was."""
    alert = change.after
    incident = history.incident_of(connection, alert.key, alert.episode)
    if incident is None or not incident.open:
        return incident
    after = followed(incident, alert, now=change.clock)
    if change.kept is not None:
        about = About.from_dict(change.kept.about)
        member = about.member(alert, summary=str(change.kept.finding.get("summary", "")), now=change.clock)
        old = next(one for one in after.members if one.alert == alert.key)
        # Numbers differ with every window; whom it is about, and who hears of it, do not.
        if replace(member, summary="", joined_at=old.joined_at) != _plain(old):
            after = joined(after, member)
    if after != incident:
        history.save_incident(connection, after)
    if change.before.state is not alert.state:
        _note(history, connection, after, change, alert.state.value, _said(alert), change.at)
    return after


def _ended(history: History, connection: Connection, change: Change) -> None:
    before = change.before
    incident = history.incident_of(connection, before.key, before.episode)
    if incident is None or not incident.open:
        return
    # An episode that another one follows at once has ended as well.
    ended = change.after if change.after.episode == before.episode else replace(before, state=State.RESOLVED)
    ended = replace(ended, before=State.OK)
    after = followed(incident, ended, now=change.clock, ended=change.ended)
    history.save_incident(connection, after)
    rule = next((called(one.rule) for one in after.members if one.alert == before.key), "")
    what, why = ("ended", f"{rule}: {change.ended}") if change.ended else ("recovered", rule)
    _note(history, connection, after, change, what, why, change.at)
    if not after.open:
        unseen = any(one.ended for one in after.members)
        _note(
            history,
            connection,
            after,
            change,
            "over" if unseen else "resolved",
            "nothing of it fires any more",
            change.at,
        )


def _note(
    history: History, connection: Connection, incident: Incident, change: Change, what: str, text: str, at: datetime
) -> None:
    history.note(
        connection,
        what,
        text,
        incident=incident.number,
        alert=change.after.key,
        episode=change.after.episode,
        at=at,
        now=change.now,
    )


def _plain(member: Any) -> Any:
    """Return a member without what was told and done of it."""
    return replace(member, summary="", told_at=None, acknowledged=False, escalated=False)


def _evidence(evidence: Mapping[str, Any]) -> str:
    return (
        f"ln {float(evidence['logValue']):.2f} against a limit of ln {float(evidence['logLimit']):.2f} "
        f"after {evidence['windows']} windows"
    )


def _said(alert: Alert) -> str:
    match alert.state:
        case State.FIRING:
            return "the effect is there again" if alert.episode else ""
        case State.RECOVERING:
            return "the effect is gone; it has to stay away"
        case State.NO_DATA:
            return "there are no rows any more to judge by; it is not over"
        case State.ERROR:
            return "what should judge it fails; it is not over"
        case _:
            return ""
