"""The commands about incidents: who works on one, what nobody is told of, and what is normal from now on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featurestore.cli.options import HERE, Format, OutputFormat, Repo, instant, open_store, print_json
from featurestore.errors import MonitorError

if TYPE_CHECKING:
    from featurestore.store import FeatureStore
    from monitor.history import Acceptance, History

Replay = Annotated[str, typer.Option("--replay", metavar="NAME", help="Of a rehearsal, in place of the live one.")]
Number = Annotated[int, typer.Argument(help="The incident's number, as its messages have it: 12.", min=1)]
Until = Annotated[str, typer.Option("--until", metavar="INSTANT", help="Until then: 2026-03-01T00:00:00Z.")]
For = Annotated[str, typer.Option("--for", metavar="DURATION", help="For so long: 2h, 3d.")]
Reason = Annotated[str, typer.Option("--reason", help="Why: others read it.")]

#: How many incidents are listed with ``--all``.
_MANY = 200


def incidents(
    all_: Annotated[bool, typer.Option("--all", help="Those that are over as well, the newest last.")] = False,
    repo: Repo = HERE,
    replay: Replay = "",
    output: OutputFormat = Format.text,
) -> None:
    """List the incidents that go on."""
    from monitor.alerts.showing import incident_line, incident_values

    with _opened(repo, replay) as (_, history), history.read() as connection:
        found = history.newest_incidents(connection, _MANY) if all_ else history.open_incidents(connection)
    if output is Format.json:
        print_json([incident_values(one) for one in found])
        return
    if not found:
        over = "No incident goes on. Those that are over: featurestore monitor incidents --all"
        typer.echo(over if not all_ else "There has been no incident.")
    for one in found:
        typer.echo(incident_line(one))


def incident(number: Number, repo: Repo = HERE, replay: Replay = "", output: OutputFormat = Format.text) -> None:
    """Tell an incident as a timeline: what was seen, who was told and when it arrived, who did what, how it ended."""
    from monitor.accepting import find_incident
    from monitor.alerts.dispatching import clock_of
    from monitor.alerts.outbox import listed
    from monitor.alerts.showing import happenings, incident_lines, incident_values

    with _opened(repo, replay) as (store, history), history.read() as connection:
        found = find_incident(history, connection, number)
        lines = history.timeline(connection, number)
        messages = listed(connection, incident=found.key)
        silenced = history.silences(connection)
        stored = history.stored_alerts(connection, [one.alert for one in found.members[:1]])
        now = clock_of(history, connection, store.config, datetime.now(UTC))
    shown = happenings(lines, messages)
    if output is Format.json:
        values = [asdict(one) | {"at": one.at.isoformat()} for one in shown]
        print_json(incident_values(found) | {"timeline": values})
        return
    finding = next((one.kept.finding for one in stored.values()), None)
    for line in incident_lines(found, shown, silences=silenced, finding=finding, now=now):
        typer.echo(line)


def ack(
    number: Number,
    reason: Annotated[str, typer.Option("--reason", help="What you are doing about it.")] = "",
    repo: Repo = HERE,
    replay: Replay = "",
) -> None:
    """Say that you work on an incident: it is not told again and does not escalate, until something new joins it."""
    from monitor.alerts.answering import acknowledge

    with _opened(repo, replay) as (store, history):
        who = _who(store)
        acknowledge(store, history, number, who=who, reason=reason, now=datetime.now(UTC))
    typer.echo(f"Incident {number} is yours, {who}. Whoever was told of it will hear that.")


def close(number: Number, reason: Reason, repo: Repo = HERE, replay: Replay = "") -> None:
    """Say that an incident is over which nothing ends by itself: of a version that nobody calls any more, for one."""
    from monitor.accepting import find_incident
    from monitor.alerts.closing import close as end
    from monitor.alerts.dispatching import dispatch

    with _opened(repo, replay) as (store, history):
        now = datetime.now(UTC)
        with history.read() as connection:
            found = find_incident(history, connection, number)
        rules = end(store, history, found, author=_who(store), reason=reason, now=now)
        dispatch(history, store.config, now=now)
    ended = ", ".join(rule.replace("_", " ") for rule in rules)
    typer.echo(f"Incident {number} is over: {ended}. Whoever was told of it will hear that.")
    typer.echo("What is still wrong is another incident as soon as it is found again.")


def silence(
    matchers: Annotated[
        list[str],
        typer.Argument(
            help="What to be silent about, all of it together: incident=12, feature=~temp.*, severity!=page."
        ),
    ],
    reason: Reason,
    until: Until = "",
    for_: For = "",
    repo: Repo = HERE,
    replay: Replay = "",
) -> None:
    """Tell nobody of some alerts for some time; what is still wrong then is told then."""
    from monitor.alerts.answering import silence as silence_them
    from monitor.alerts.dispatching import clock_of

    with _opened(repo, replay) as (store, history):
        now = datetime.now(UTC)
        with history.read() as connection:
            end = _end(until, for_, clock_of(history, connection, store.config, now))
        done = silence_them(store, history, matchers, until=end, who=_who(store), reason=reason, now=now)
    made, hit = done.silence, done.about
    about = f"{len(hit)} open incident{'s' if len(hit) != 1 else ''}: {', '.join(one.name for one in hit)}"
    typer.echo(f"Silence {made.id} until {end:%Y-%m-%d %H:%M} UTC; it is about {about if hit else 'no open incident'}.")
    typer.echo(f"End it with: featurestore monitor unsilence {made.id}{f' --replay {replay}' if replay else ''}")


def silences(
    all_: Annotated[bool, typer.Option("--all", help="Those that are over as well.")] = False,
    repo: Repo = HERE,
    replay: Replay = "",
    output: OutputFormat = Format.text,
) -> None:
    """List what nobody is told of."""
    from monitor.alerts.dispatching import clock_of

    with _opened(repo, replay) as (store, history), history.read() as connection:
        clock = clock_of(history, connection, store.config, datetime.now(UTC))
        found = history.silences(connection, after=None if all_ else clock)
    if output is Format.json:
        print_json(
            [
                {
                    "silence": one.id,
                    "matchers": [str(each) for each in one.matchers],
                    "starts_at": one.starts_at.isoformat(),
                    "expires_at": one.expires_at.isoformat(),
                    "author": one.author,
                    "reason": one.reason,
                }
                for one in found
            ]
        )
        return
    if not found:
        typer.echo("Nothing is silenced.")
    for one in found:
        ended = "over since" if one.expires_at <= clock else "until"
        what = " ".join(str(each) for each in one.matchers)
        typer.echo(f"{one.id:>4}  {ended} {one.expires_at:%Y-%m-%d %H:%M}  {what}  by {one.author}: {one.reason}")


def unsilence(
    number: Annotated[int, typer.Argument(help="The silence's number.", min=1)], repo: Repo = HERE, replay: Replay = ""
) -> None:
    """End a silence now: what is still wrong is told at once."""
    from monitor.alerts.answering import unsilence as end_silence

    with _opened(repo, replay) as (store, history):
        end_silence(store, history, number, who=_who(store), now=datetime.now(UTC))
    typer.echo(f"Silence {number} is over.")


def accept(
    number: Number,
    reason: Reason,
    until: Annotated[
        str, typer.Option("--until", metavar="INSTANT", help="From then on it is not normal any more.")
    ] = "",
    for_: For = "",
    windows: Annotated[
        str,
        typer.Option(
            "--windows", metavar="SINCE..UNTIL", help="The windows that are normal; those since the onset otherwise."
        ),
    ] = "",
    repo: Repo = HERE,
    replay: Replay = "",
) -> None:
    """Say that this is the new normal: the windows become the baseline, for a time, and the incident is over."""
    from monitor.accepting import accept as accept_windows
    from monitor.alerts.dispatching import clock_of, dispatch

    since, last = _period(windows)
    with _opened(repo, replay) as (store, history):
        who, now = _who(store), datetime.now(UTC)
        with history.read() as connection:
            clock = clock_of(history, connection, store.config, now)
        found = accept_windows(
            store,
            history,
            number,
            author=who,
            reason=reason,
            expires_at=_end(until, for_, clock),
            since=since,
            until=last,
            now=now,
        )
        dispatch(history, store.config, now=now)
        with history.read() as connection:
            rest = history.incident(connection, number)
    for one in found:
        kept = one.acceptance
        typer.echo(
            f"{_whose(kept)}: {one.windows:,} windows from {kept.since:%Y-%m-%d %H:%M} to {kept.until:%Y-%m-%d %H:%M} "
            f"({one.rows:,} rows) are the baseline until {kept.expires_at:%Y-%m-%d %H:%M} UTC."
        )
        typer.echo(f"Take it back with: featurestore monitor revoke {kept.id}{f' --replay {replay}' if replay else ''}")
    if rest is not None and rest.open:
        left = ", ".join(dict.fromkeys(one.rule.replace("_", " ") for one in rest.members if one.firing))
        typer.echo(f"Incident {number} goes on: {left} is no matter of a baseline.")


def acceptances(
    repo: Repo = HERE,
    replay: Replay = "",
    output: OutputFormat = Format.text,
) -> None:
    """List what was ever accepted as normal."""
    from monitor.alerts.dispatching import clock_of

    with _opened(repo, replay) as (store, history), history.read() as connection:
        clock = clock_of(history, connection, store.config, datetime.now(UTC))
        found = history.acceptances(connection)
    if output is Format.json:
        print_json([_acceptance_values(one, clock) for one in found])
        return
    if not found:
        typer.echo("Nothing was accepted.")
    for one in found:
        how = f"revoked by {one.revoked_by}" if one.revoked_at is not None else f"until {one.expires_at:%Y-%m-%d %H:%M}"
        how = "expired" if one.revoked_at is None and not one.holds(clock) else how
        typer.echo(
            f"{one.id:>4}  {how}  {_whose(one)}, {one.policy}: {one.since:%Y-%m-%d %H:%M} to "
            f"{one.until:%Y-%m-%d %H:%M}  incident {one.incident}  by {one.author}: {one.reason}"
        )


def revoke(
    number: Annotated[int, typer.Argument(help="The acceptance's number.", min=1)],
    reason: Reason = "",
    repo: Repo = HERE,
    replay: Replay = "",
) -> None:
    """Take back what was accepted: the baseline is again what it was before."""
    from monitor.accepting import revoke as take_back

    with _opened(repo, replay) as (store, history):
        found = take_back(store, history, number, author=_who(store), reason=reason, now=datetime.now(UTC))
    typer.echo(f"{_whose(found)} is compared again with what it was compared with before.")


def register(app: typer.Typer) -> None:
    """Add these commands to ``featurestore monitor``."""
    for command in (incidents, incident, ack, close, silence, silences, unsilence, accept, acceptances, revoke):
        app.command()(command)


@contextmanager
def _opened(repo: Any, replay: str) -> Iterator[tuple[FeatureStore, History]]:
    from monitor.history import History

    with (
        open_store(repo, replay) as store,
        History(store.config.database_url(store.config.monitor.database)) as history,
    ):
        yield store, history


def _who(store: FeatureStore) -> str:
    from featurestore.registry.acting import acting_user

    return acting_user(store.config, store.registry)


def _end(until: str, for_: str, now: datetime) -> datetime:
    """Return when something ends: exactly one of the two says so."""
    from featurestore.settings.retention import duration

    if bool(until) == bool(for_):
        raise MonitorError("It has to say until when.", hint="Give one of --until 2026-03-01T00:00:00Z and --for 2h.")
    end = instant(until, "--until") if until else now + duration(for_, "--for")
    assert end is not None  # noqa: S101 - a text was given
    return end


def _period(windows: str) -> tuple[datetime | None, datetime | None]:
    if not windows:
        return None, None
    since, dots, until = windows.partition("..")
    if not dots:
        raise MonitorError(
            f'"{windows}" does not say which windows.', hint="Write SINCE..UNTIL; either side may be left empty."
        )
    return instant(since, "--windows"), instant(until, "--windows")


def _whose(one: Acceptance) -> str:
    return f"{one.service} ({one.slice})" if one.slice else one.service


def _acceptance_values(one: Acceptance, now: datetime) -> dict[str, Any]:
    return {
        "acceptance": one.id,
        "incident": one.incident,
        "policy": one.policy,
        "service": one.service,
        "slice": one.slice,
        "since": one.since.isoformat(),
        "until": one.until.isoformat(),
        "expires_at": one.expires_at.isoformat(),
        "counts": one.holds(now),
        "author": one.author,
        "reason": one.reason,
        "revoked_at": None if one.revoked_at is None else one.revoked_at.isoformat(),
        "revoked_by": one.revoked_by,
    }
