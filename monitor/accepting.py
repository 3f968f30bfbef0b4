"""``monitor accept``: what an incident is about is the new normal, says somebody, for a reason and for some time.

The windows that are named become the baseline of the stream or slice: a period of serving, fitted as one that a policy
names. It counts until it expires or is revoked; then the baseline is again what it was before. Windows that came after
the period are judged again by its limits, as with every new baseline, so that what changes from here on is seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from featurestore.definitions import BaselineSource, MonitorPolicy
from featurestore.errors import FeatureStoreError, MonitorError
from featurestore.registry import Registered
from monitor import retraining
from monitor.alerts.dispatching import clock_of
from monitor.alerts.incident_message import ACCEPTABLE
from monitor.alerts.incident_state import Incident
from monitor.alerts.message import called
from monitor.alerts.states import closed
from monitor.alerts.taking import Change, take
from monitor.history import Acceptance, History, StoredAlert, Watch
from monitor.pipeline.committing import FEATURES
from monitor.pipeline.streams import subjects_of
from monitor.pipeline.subjects import reference_of, tracks_of
from monitor.store import Store

#: Blocks that a baseline has at least: with one, nobody knows how much they differ by themselves.
LEAST_BLOCKS = 2

#: The longest time for which something may be accepted: what is normal for longer is what a model is trained on.
LONGEST = timedelta(days=366)


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """What was accepted of one stream or slice.

    Attributes:
        acceptance: as it is kept.
        windows: that were judged in the period.
        rows: that they had.
        blocks: of the baseline that is made of them.
        alerts: what was looked for, of the alerts that ended with it.
    """

    acceptance: Acceptance
    windows: int
    rows: int
    blocks: int
    alerts: tuple[str, ...]


def accept(
    store: Store,
    history: History,
    number: int,
    *,
    author: str,
    reason: str,
    expires_at: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
    now: datetime,
) -> list[Accepted]:
    """Make windows the baseline of what an incident is about, and end its alerts that a baseline decides.

    Args:
        store: configuration and registry, whose audit log tells of it.
        history: the monitor's database.
        number: the incident's.
        author: who says so.
        reason: why.
        expires_at: from when on it is not normal any more.
        since: no window that starts before; the onset of each alert when not given.
        until: no window that ends after; the newest that was judged when not given.
        now: the wall clock.

    Returns:
        One for each stream and slice.

    Raises:
        MonitorError: there is no such incident, a baseline decides none of its alerts, the time does not suit, or the
            windows have too few rows to be a baseline.
    """
    if not reason.strip():
        raise MonitorError("It has to say why this is normal.", hint='Write --reason "the new airport has opened".')
    with history.read() as connection:
        clock = clock_of(history, connection, store.config, now)
        incident = find_incident(history, connection, number)
        targets = _targets(history, connection, incident)
    if not clock < expires_at <= clock + LONGEST:
        raise MonitorError(
            f"It cannot be normal until {expires_at:%Y-%m-%d %H:%M}.",
            hint=f"Name an instant to come, at most {LONGEST.days} days ahead; then somebody looks again.",
        )
    found: list[Accepted] = []
    for watch, alerts in targets.items():
        onset = min((one.alert.onset for one in alerts if one.alert.onset is not None), default=clock)
        with history.read() as connection:
            windows = history.windows_between(connection, watch, since=since or onset, until=until or clock)
        if windows is None:
            raise MonitorError(
                f"No window of {_whose(watch)} was judged in that time.",
                hint="Name one that has some: --windows 2026-03-01T00:00:00Z..2026-03-15T00:00:00Z",
            )
        acceptance = Acceptance(
            incident=number,
            policy=watch.policy,
            service=watch.service,
            slice=watch.slice,
            since=windows.first,
            until=windows.last,
            author=author,
            reason=reason.strip(),
            made_at=now,
            expires_at=expires_at,
        )
        found.append(
            Accepted(
                acceptance=acceptance,
                windows=windows.count,
                rows=windows.rows,
                blocks=_blocks(store, history, acceptance, now=now),
                alerts=tuple(one.rule for one in alerts if one.alert.firing),
            )
        )
    return _keep(store, history, incident, found, targets, clock=clock, now=now)


def revoke(store: Store, history: History, number: int, *, author: str, reason: str, now: datetime) -> Acceptance:
    """Take back what was accepted: the baseline is again what it was before.

    Raises:
        MonitorError: nothing of that number was accepted, or it is over already.
    """
    with history.write() as connection:
        found = history.acceptance(connection, number)
        if found is None:
            raise MonitorError(f"Nothing of number {number} was accepted.", hint="featurestore monitor acceptances")
        if not found.holds(clock_of(history, connection, store.config, now)):
            raise MonitorError(f"What was accepted as number {number} counts no more.", hint="There is nothing to do.")
        history.revoke_acceptance(connection, number, by=author, now=now)
        if found.incident:
            history.note(connection, "revoked", reason, incident=found.incident, who=author, at=now, now=now)
        details = {"acceptance": number, "incident": found.incident, "stream": _whose(_watch(found)), "reason": reason}
        store.registry.record("revoke", found.policy, details, who=author)
    return replace(found, revoked_at=now, revoked_by=author)


def find_incident(history: History, connection: Connection, number: int) -> Incident:
    """Return an incident by its number.

    Raises:
        MonitorError: there is none.
    """
    found = history.incident(connection, number)
    if found is None:
        raise MonitorError(f"There is no incident {number}.", hint="featurestore monitor incidents --all")
    return found


def _targets(history: History, connection: Connection, incident: Incident) -> dict[Watch, list[StoredAlert]]:
    """Return the streams and slices of which an incident has alerts that a baseline decides, with these."""
    stored = history.stored_alerts(connection, [one.alert for one in incident.members])
    firing = {one.alert for one in incident.members if one.firing}
    found: dict[Watch, list[StoredAlert]] = {}
    for key, one in stored.items():
        if one.rule in ACCEPTABLE and (key in firing or not incident.open):
            found.setdefault(one.watch, []).append(one)
    if not found:
        rules = ", ".join(dict.fromkeys(called(one.rule) for one in incident.members))
        raise MonitorError(
            f"Incident {incident.name} ({rules}) is about nothing that a baseline decides.",
            hint=f"Mend it, or silence it: featurestore monitor silence incident={incident.name} --for 2h --reason ...",
        )
    return found


def _blocks(store: Store, history: History, acceptance: Acceptance, *, now: datetime) -> int:
    """Fit the baseline, so that the next run finds it; return how many blocks it has."""
    policy: Registered[MonitorPolicy] = store.registry.policy(acceptance.policy)
    period = BaselineSource(since=acceptance.since, until=acceptance.until)
    with ExitStack() as opened:
        faults: list[FeatureStoreError] = []
        subjects, _ = subjects_of(store, history, store.config, policy, now=now, opened=opened, faults=faults)
        subject = next((one for one in subjects if one.watch.service == acceptance.service), None)
        if subject is None:
            if faults:
                raise faults[0]
            raise MonitorError(f"{acceptance.service} is not watched any more.", hint="featurestore monitor status")
        watermark = subject.stream.watermark(now=now) or acceptance.until
        narrowed = replace(subject, accepted={acceptance.slice: period})
        reference = reference_of(store, narrowed, watermark)
        if reference is None:
            raise MonitorError(f"{acceptance.service} has nothing to be compared with yet.")
        if acceptance.slice:
            tracks = tracks_of(store, narrowed, reference, watermark)
            reference = next(
                (one.yardstick.reference for one in tracks if one.watch.slice == acceptance.slice), reference
            )
    blocks = len(reference.baseline.blocks)
    if blocks < LEAST_BLOCKS:
        raise MonitorError(
            f"The windows from {acceptance.since:%Y-%m-%d %H:%M} to {acceptance.until:%Y-%m-%d %H:%M} are one block of "
            "the baseline, which says nothing of how much such blocks differ by themselves.",
            hint="Name a longer time: --windows SINCE..UNTIL; until there is one, silence the incident.",
        )
    return blocks


def _keep(
    store: Store,
    history: History,
    incident: Incident,
    found: Sequence[Accepted],
    targets: Mapping[Watch, Sequence[StoredAlert]],
    *,
    clock: datetime,
    now: datetime,
) -> list[Accepted]:
    """Keep what was accepted, end its alerts, and tell the audit log, together or not at all."""
    kept: list[Accepted] = []
    with history.write() as connection:
        for one in found:
            number = history.add_acceptance(connection, one.acceptance)
            acceptance = replace(one.acceptance, id=number)
            kept.append(replace(one, acceptance=acceptance))
            said = (
                f"{_whose(_watch(acceptance))}: windows from {acceptance.since:%Y-%m-%d %H:%M} to "
                f"{acceptance.until:%Y-%m-%d %H:%M} are normal until {acceptance.expires_at:%Y-%m-%d %H:%M}: "
                f"{acceptance.reason}"
            )
            history.note(
                connection, "accepted", said, incident=incident.number, who=acceptance.author, at=clock, now=now
            )
            history.drop_detector(connection, _watch(acceptance), FEATURES)
            for stored in targets[_watch(acceptance)]:
                _end(history, connection, stored, why=f"{acceptance.author} accepted it", clock=clock, now=now)
        # The audit log is in another database: it is written last, so that what fails there undoes all of this.
        for one in kept:
            store.registry.record("accept", one.acceptance.policy, _details(one), who=one.acceptance.author)
    return kept


def _end(
    history: History, connection: Connection, stored: StoredAlert, *, why: str, clock: datetime, now: datetime
) -> None:
    before = history.alert(connection, stored.alert.key)
    if not before.firing:
        return
    after, _ = closed(before)
    history.save_alert(connection, stored.watch, stored.rule, after, at=clock, now=now)
    change = Change(before=before, after=after, kept=None, at=clock, clock=clock, now=now, ended=why)
    take(history, connection, change)
    retraining.accept(connection, before.key, now=now)


def _details(one: Accepted) -> dict[str, object]:
    acceptance = one.acceptance
    return {
        "acceptance": acceptance.id,
        "incident": acceptance.incident,
        "stream": _whose(_watch(acceptance)),
        "since": acceptance.since.isoformat(),
        "until": acceptance.until.isoformat(),
        "windows": one.windows,
        "rows": one.rows,
        "expires_at": acceptance.expires_at.isoformat(),
        "reason": acceptance.reason,
    }


def _watch(acceptance: Acceptance) -> Watch:
    return Watch(policy=acceptance.policy, policy_version=0, service=acceptance.service, slice=acceptance.slice)


def _whose(watch: Watch) -> str:
    return f"{watch.service} ({watch.slice})" if watch.slice else watch.service
