"""An incident and what is due -> what a channel is told. No key, and no value of a ``pii`` field, is in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format

from featurestore.v1 import signals_pb2 as pb
from monitor.alerts.about import About
from monitor.alerts.base import Kind
from monitor.alerts.fitting import LARGEST, fitted
from monitor.alerts.incident_state import Incident, Member
from monitor.alerts.message import SHOWN, called, moment, to_json
from monitor.alerts.notices import Notice
from monitor.alerts.states import State
from monitor.history import Acceptance, StoredAlert

#: Alerts of an incident that a message shows; of the rest it says how many there are.
MEMBERS = 50
#: Names of features that it shows of each of them.
_FEATURES = 100
#: Rules, and names of features, that the first line has room for.
_RULES, _NAMES = 3, 3

#: Rules whose alerts a baseline decides: only these can be accepted as the new normal.
ACCEPTABLE = frozenset(
    {
        "drift",
        "prediction drift",
        "launch mismatch",
        "null spike",
        "constant",
        "unseen categories",
        "out of range",
    }
)

_NOTHING = "Nothing; find out what it was, if you have not."
_BLIND = {State.NO_DATA: pb.ALERT_STATE_NO_DATA, State.ERROR: pb.ALERT_STATE_ERROR}


@dataclass(frozen=True, kw_only=True)
class Telling:
    """What the messages of an incident are made of.

    Attributes:
        project: the namespace.
        incident: after what is due.
        alerts: its alerts as they are kept, by key; those that are not there are told by what the incident knows.
        accepted: what somebody said is normal, which ended it.
        closed: who said that it is over, and why; None where it ended by itself.
        replay: the name of the rehearsal, or "".
    """

    project: str
    incident: Incident
    alerts: Mapping[str, StoredAlert]
    accepted: Sequence[Acceptance] = ()
    closed: tuple[str, str] | None = None
    replay: str = ""


def payload_of(telling: Telling, notice: Notice) -> dict[str, Any]:
    """Return the JSON form of ``featurestore.v1.Alert``, small enough for every receiver.

    Args:
        telling: what it is made of.
        notice: why something is said, and of which alerts.
    """
    incident = telling.incident
    members = notice.members or incident.members
    shown = members[:MEMBERS]
    findings = {one.alert: _finding(telling, one) for one in shown}
    first = findings[shown[0].alert]
    over = notice.kind is Kind.RESOLVED
    features = [] if over else _features(findings.values())
    left_out = 0 if over else sum(one.features_left_out for one in findings.values())
    about = _about(telling, shown[0])
    summary = _over(telling, members, findings) if over else _summary(telling, members, findings)
    told = pb.Alert(
        incident=incident.key,
        name=incident.name,
        project=telling.project,
        service=first.service,
        state=_state(members, over=over),
        change=f"ALERT_CHANGE_{notice.change.name}",
        summary=_mark(telling) + summary,
        onset=min((one.onset for one in members if one.onset is not None), default=None),
        decided_at=max(
            (stored.decided_at for one in shown if (stored := telling.alerts.get(one.alert)) and stored.decided_at),
            default=None,
        ),
        evidence=first.evidence if not over and first.HasField("evidence") else None,
        features=features[:SHOWN],
        features_left_out=max(0, len(features) - SHOWN) + left_out,
        baseline=first.baseline,
        suggested_action=_NOTHING if over else _action(telling, members, first),
        replay=bool(telling.replay),
        rule=shown[0].rule,
        slice=shown[0].slice,
        severity=notice.severity,
        reasons=[] if over else [reason for one in findings.values() for reason in one.reasons][:SHOWN],
        members=[_member(one, findings[one.alert]) for one in shown],
        members_left_out=len(members) - len(shown),
        cause=incident.cause if incident.cause.startswith("source ") else "",
        model=first.model,
        runbook=next((one.runbook for one in findings.values() if one.runbook), about.runbook if about else ""),
        commands=_commands(telling, members, over=over),
        acknowledged_by=incident.acknowledged_by,
    )
    return fitted(to_json(told), LARGEST)


def _finding(telling: Telling, member: Member) -> pb.Alert:
    """Return an alert's own message; of one that was kept by a release that kept none, what its incident knows."""
    stored = telling.alerts.get(member.alert)
    found = pb.Alert()
    if stored is not None and stored.kept.finding:
        json_format.ParseDict(dict(stored.kept.finding), found, ignore_unknown_fields=True)
        found.summary = found.summary.removeprefix(_mark(telling))
        return found
    return pb.Alert(service=member.service, rule=member.rule, slice=member.slice, summary=member.summary)


def _about(telling: Telling, member: Member) -> About | None:
    stored = telling.alerts.get(member.alert)
    return About.from_dict(stored.kept.about) if stored is not None and stored.kept.about else None


def _features(findings: Any) -> list[pb.FeatureFinding]:
    """Return the findings of all alerts, each feature once, those of the first alert first and in their order."""
    found: dict[tuple[str, str], pb.FeatureFinding] = {}
    for one in findings:
        for feature in one.features:
            found.setdefault((one.service, feature.feature), feature)
    return list(found.values())


def _state(members: Sequence[Member], *, over: bool) -> pb.AlertState:
    if over:
        return pb.ALERT_STATE_RESOLVED
    states = {one.state for one in members}
    alone = states.pop() if len(states) == 1 else State.FIRING
    return _BLIND.get(alone, pb.ALERT_STATE_FIRING)


def _member(member: Member, finding: pb.Alert) -> pb.AlertMember:
    state = _state([member], over=not member.firing)
    return pb.AlertMember(
        alert=member.alert,
        policy=member.policy,
        service=member.service,
        rule=member.rule,
        slice=member.slice,
        state=state,
        onset=member.onset,
        summary=finding.summary,
        features=member.features[:_FEATURES],
        features_left_out=max(0, len(member.features) - _FEATURES),
    )


def _summary(telling: Telling, members: Sequence[Member], findings: Mapping[str, pb.Alert]) -> str:
    """Return one line: what, where, how bad, what to do."""
    cause = telling.incident.cause
    named = cause.startswith("source ")
    if len(members) == 1:
        alone = findings[members[0].alert].summary
        if members[0].state in _BLIND:
            no_rows = members[0].state is State.NO_DATA and members[0].rule in ACCEPTABLE
            why = "gets no rows any more" if no_rows else "cannot be judged any more"
            return alone if members[0].rule == "judging" else f"{members[0].service} {why}; before that: {alone}"
        return f"{cause}: {alone}" if named else alone
    since = moment(min((one.onset for one in members if one.onset is not None), default=None))
    do = f'check source "{cause.partition(" ")[2]}"' if named else "see which of it came first"
    return f"{cause}: {_found(members)}{_where(members)}, since {since}; {do}"


def _found(members: Sequence[Member]) -> str:
    """Return what was found: ``null spike (temp, wind and 3 more), stale features and 2 more``."""
    rules: dict[str, dict[str, None]] = {}
    for one in members:
        rules.setdefault(called(one.rule), {}).update(dict.fromkeys(one.features))
    texts = []
    for rule, features in list(rules.items())[:_RULES]:
        names = list(features)
        more = f" and {len(names) - _NAMES:,} more" if len(names) > _NAMES else ""
        texts.append(f"{rule} ({', '.join(names[:_NAMES])}{more})" if names else rule)
    return ", ".join(texts) + (f" and {len(rules) - _RULES} more" if len(rules) > _RULES else "")


def _where(members: Sequence[Member]) -> str:
    services = list(dict.fromkeys(one.service for one in members))
    if len(services) > _NAMES:
        return f" in {len(services):,} services"
    return f" in {', '.join(services)}"


def _over(telling: Telling, members: Sequence[Member], findings: Mapping[str, pb.Alert]) -> str:
    for one in telling.accepted:
        return f"{_whom(telling, members, findings)} is as it is to be: {one.author} accepted it ({one.reason})"
    whom = _whom(telling, members, findings)
    if telling.closed is not None:
        who, why = telling.closed
        return f"{whom}: {who} says that it is over ({why})"
    left = [one for one in members if one.ended]
    if left:
        return _left(whom, members, left)
    if len(members) > 1:
        return f"{whom} is back: all of its {len(members):,} alerts have ended"
    member = members[0]
    stored = telling.alerts.get(member.alert)
    times = 0 if stored is None else stored.alert.quiet
    if not times:
        return f"{whom} is back: {called(member.rule)} has ended"
    if member.rule in ACCEPTABLE:
        return f"{whom} is back: for {times} windows no feature was surely over its threshold"
    return f"{whom} is back: {called(member.rule)} was not seen {times} times in a row"


def _left(whom: str, members: Sequence[Member], left: Sequence[Member]) -> str:
    """Return what is said of alerts that nobody looks after any more: not that they are over."""
    why = "; ".join(dict.fromkeys(one.ended for one in left))
    if len(left) == len(members):
        return f"{whom} is not watched by this any more ({why}); nobody knows whether it is over"
    ended = f"{len(members) - len(left):,} of {len(members):,} alerts have ended"
    return f"{whom}: {ended}; the others are not watched any more ({why}), and nobody knows whether they are over"


def _whom(telling: Telling, members: Sequence[Member], findings: Mapping[str, pb.Alert]) -> str:
    if len(members) > 1:
        return telling.incident.cause
    found = findings[members[0].alert]
    return f"{found.service} ({found.slice})" if found.slice else found.service


def _action(telling: Telling, members: Sequence[Member], first: pb.Alert) -> str:
    cause = telling.incident.cause
    if len(members) == 1 or not cause.startswith("source "):
        return first.suggested_action
    name = cause.partition(" ")[2]
    return f'Look at source "{name}": all of it comes from there. Retraining would teach the models the fault.'


def _commands(telling: Telling, members: Sequence[Member], *, over: bool) -> list[pb.Command]:
    name = telling.incident.name
    where = f" --replay {telling.replay}" if telling.replay else ""
    texts = {"show": f"featurestore monitor incident {name}{where}"}
    if not over:
        if not telling.incident.acknowledged_by:
            texts["acknowledge"] = f"featurestore monitor ack {name}{where}"
        texts["silence"] = f'featurestore monitor silence incident={name} --for 2h --reason "..."{where}'
        if any(one.rule in ACCEPTABLE for one in members):
            texts["accept"] = f'featurestore monitor accept {name} --until ... --reason "..."{where}'
    return [pb.Command(name=word, text=text) for word, text in texts.items()]


def _mark(telling: Telling) -> str:
    return f"REPLAY {telling.replay}: " if telling.replay else ""
