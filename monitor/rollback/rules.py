"""Which action an incident justifies, and by what evidence. Pure: what the rules go by comes as values.

Each rule wants more than the alert: the rows of the load itself must have the fault that rows before it had not; two
versions must have been compared, and the interval of the difference must say which is worse; an alias must have moved
just before the fall, and what it pointed to before must have been well. Where a rule is not sure, people decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from featurestore.statistics.estimate import Estimate
from monitor.performance.intervals import difference, quantile, wilson
from monitor.rollback.values import Deed, Opened, Outlook, Proposal

#: Rules that show in single rows: which load brought the fault can be seen.
OF_ROWS = frozenset({"null spike", "unseen categories", "out of range", "constant"})
#: Rules that say that a model got worse.
OF_VERSIONS = frozenset({"performance"})

#: By how much more of a load's rows must be faulty than of the rows before it, surely.
LEAST_SHARE = 0.01
#: How sure: this share of such intervals hold the true difference.
SURE = 0.999
#: Fewer rows than this show nothing of themselves.
LEAST_ROWS = 30
#: A load may wait so long until a materialization brings it online.
LAG = timedelta(days=1)
#: A fall that begins later than so long after a promotion is not laid at its door.
AFTER_PROMOTION = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class FaultyRows:
    """How many rows of a load have a fault in one feature, and of the rows before it.

    Attributes:
        rows: of the load.
        faulty: of these.
        rows_before: of the table before it.
        faulty_before: of these.
        constant: whether the load has one value alone, where there were others before; the other numbers are 0 then.
    """

    rows: int
    faulty: int = 0
    rows_before: int = 0
    faulty_before: int = 0
    constant: bool = False

    @property
    def surely(self) -> bool:
        """Whether the load brought the fault."""
        if self.rows < LEAST_ROWS:
            return False
        return self.constant or self.more.low > LEAST_SHARE

    @property
    def more(self) -> Estimate:
        """How much greater the share of faulty rows is in the load."""
        reach = quantile(SURE)
        now = wilson(self.faulty / self.rows, self.rows, reach)
        return difference(now, wilson(self.faulty_before / max(self.rows_before, 1), self.rows_before, reach))

    def __str__(self) -> str:
        if self.constant:
            return f"one value in all of its {self.rows:,} rows"
        before = f"{self.faulty_before / self.rows_before:.1%} before" if self.rows_before else "no rows before"
        return f"{self.faulty / self.rows:.1%} of its {self.rows:,} rows, {before}"


@dataclass(frozen=True, kw_only=True)
class LoadFacts:
    """A load of a view, which is in its table.

    Attributes:
        view: the view's name.
        load_id: its id.
        published_at: when its rows came.
        pushed: whether they were pushed: acknowledged one by one, and never taken back as a load.
        faulty: by feature; empty where nobody looked.
    """

    view: str
    load_id: str
    published_at: datetime
    pushed: bool = False
    faulty: Mapping[str, FaultyRows] | None = None


@dataclass(frozen=True, kw_only=True)
class CanaryFacts:
    """A canary.

    Attributes:
        service: the service's name.
        version: its version.
        production: the version that the others get.
        share: of the routing keys, 0 to 1.
        worse: for each metric, what was found, in a sentence, where the canary is surely worse.
        open: the same where it is not.
    """

    service: str
    version: int
    production: int
    share: float
    worse: tuple[str, ...] = ()
    open: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AliasFacts:
    """Where an alias points.

    Attributes:
        service: the service's name.
        alias: ``production``.
        version: where it points.
        before: where it pointed before; None if nowhere.
        moved_at: when it came to point there; None if that is not known.
        before_is_ill: whether the version before has an alert of the same kind that fires.
    """

    service: str
    alias: str
    version: int
    before: int | None
    moved_at: datetime | None
    before_is_ill: bool = False


def suspects(opened: Opened, loads: Sequence[LoadFacts]) -> list[LoadFacts]:
    """Return the loads that may have begun an alert: published shortly before its onset, or since, until it fired."""
    if opened.rule not in OF_ROWS or opened.onset is None or opened.slice:
        return []
    first = opened.onset - max(opened.window, LAG)
    return [one for one in loads if not one.pushed and first <= one.published_at <= opened.since]


def bad_load(opened: Opened, loads: Mapping[str, Sequence[LoadFacts]]) -> Outlook:
    """Return the restore that takes a bad load of each view back, if the fault began with one.

    Args:
        opened: the alert.
        loads: by view, the loads that are in its table, in their order; of those that :func:`suspects` names, with the
            rows that are faulty.
    """
    if opened.rule not in OF_ROWS:
        return Outlook(reason=f'"{opened.rule}" shows in no rows of a load')
    if opened.slice:
        return Outlook(reason="it is about a slice: the load as a whole may be right")
    if opened.onset is None:
        return Outlook(reason="when it began is not known")
    steps: list[dict[str, object]] = []
    told: list[str] = []
    for view in sorted(loads):
        faulty = [one for one in suspects(opened, loads[view]) if _guilty(one)]
        if not faulty:
            continue
        bad = faulty[0]
        place = loads[view].index(bad)
        if place == 0:
            return Outlook(reason=f"{bad.load_id} is the first load of view {view}: there is nothing to go back to")
        going = [one.load_id for one in loads[view][place:] if not one.pushed]
        last = loads[view][place - 1].load_id
        steps.append({"view": view, "last_good": last, "loads": going})
        told.append(f"load {bad.load_id} of view {view} ({_shown(opened, bad)}) is taken back{_with(len(going) - 1)}")
    if not steps:
        return Outlook(reason="no load of its views that came when it began brought the fault")
    names = ", ".join(str(one["view"]) for one in steps)
    taken = ";".join(f"{one['view']}:{_loads(one)[0]}" for one in steps)
    return Outlook(
        proposal=Proposal(
            deed=Deed.RESTORE_LOAD,
            target=f"view{'s' * (len(steps) > 1)} {names}",
            subject=f"{Deed.RESTORE_LOAD}:{taken}",
            summary=f"{'; '.join(told)}, as {opened.service} has {opened.rule} since {opened.onset:%Y-%m-%d %H:%M}",
            details={"steps": steps},
        )
    )


def worse_canary(opened: Opened, canary: CanaryFacts | None) -> Outlook:
    """Return the end of the canary's share, if the incident is the canary's and it is surely worse."""
    if opened.rule not in OF_VERSIONS:
        return Outlook(reason=f'"{opened.rule}" is not about a version')
    if canary is None or opened.service != f"{canary.service}@{canary.version}":
        return Outlook(reason=f"{opened.service} is no canary")
    if canary.share <= 0:
        return Outlook(reason="the canary gets no requests")
    if not canary.worse:
        return Outlook(reason=canary.open[0] if canary.open else "the canary was not compared with production")
    name = canary.service
    return Outlook(
        proposal=Proposal(
            deed=Deed.STOP_CANARY,
            target=f"alias canary of {name}",
            subject=f"{Deed.STOP_CANARY}:{name}@{canary.version}",
            summary=f"the canary {name}@{canary.version} goes from {canary.share:.0%} to 0 %: {canary.worse[0]}",
            details={"service": name, "version": canary.version, "share": canary.share},
        )
    )


def worse_release(opened: Opened, alias: AliasFacts | None) -> Outlook:
    """Return the way back of an alias, if a fall began with its promotion, and where it leads was well."""
    if opened.rule not in OF_VERSIONS:
        return Outlook(reason=f'"{opened.rule}" is not about a version')
    if alias is None or opened.service != f"{alias.service}@{alias.version}":
        return Outlook(reason=f"no alias production points to {opened.service}")
    if alias.before is None:
        return Outlook(reason="the alias has no way back")
    if alias.moved_at is None or opened.onset is None:
        return Outlook(reason="when it began, or when the alias moved, is not known")
    if not alias.moved_at - opened.window <= opened.onset <= alias.moved_at + AFTER_PROMOTION:
        began, moved = f"{opened.onset:%Y-%m-%d %H:%M}", f"{alias.moved_at:%Y-%m-%d %H:%M}"
        return Outlook(reason=f"it began at {began}, not with the promotion of {moved}")
    if alias.before_is_ill:
        return Outlook(reason=f"{alias.service}@{alias.before}, where the way back leads, has the same alert")
    name = alias.service
    return Outlook(
        proposal=Proposal(
            deed=Deed.ROLL_BACK_ALIAS,
            target=f"alias {alias.alias} of {name}",
            subject=f"{Deed.ROLL_BACK_ALIAS}:{alias.alias}:{name}@{alias.version}",
            summary=(
                f"the alias {alias.alias} goes back from {name}@{alias.version} to {name}@{alias.before}: "
                f"{opened.rule} fell from {opened.onset:%Y-%m-%d %H:%M} on, and the alias moved at "
                f"{alias.moved_at:%Y-%m-%d %H:%M}"
            ),
            details={"service": name, "alias": alias.alias, "version": alias.version, "to": alias.before},
        )
    )


def why_held(
    deed: Deed,
    *,
    allowed: Sequence[str],
    enabled: bool,
    replay: str,
    done_today: int,
    per_day: int,
    undone_by: str,
) -> str:
    """Return why an action is only proposed; "" if it may be done.

    Args:
        deed: what to do.
        allowed: what the policy allows.
        enabled: whether ``[actions]`` lets the monitor act at all.
        replay: the name of the rehearsal, or "".
        done_today: actions of the policy in the last 24 hours.
        per_day: how many it allows.
        undone_by: who took the same back before, or "".
    """
    if replay:
        return "a rehearsal changes nothing"
    if str(deed) not in allowed:
        return f'the policy does not allow it: actions=["{deed}"]'
    if not enabled:
        return "featurestore.toml does not allow it: [actions] enabled = true"
    if undone_by:
        return f"{undone_by} has taken the same back before"
    if done_today >= per_day:
        return f"the policy allows {per_day} in 24 hours, and so many were done"
    return ""


def _guilty(load: LoadFacts) -> bool:
    return any(one.surely for one in (load.faulty or {}).values())


def _loads(step: Mapping[str, object]) -> list[str]:
    found = step["loads"]
    return [str(one) for one in found] if isinstance(found, list) else []


def _shown(opened: Opened, load: LoadFacts) -> str:
    sure = {name: one for name, one in (load.faulty or {}).items() if one.surely}
    first = max(sure, key=lambda name: (sure[name].constant, sure[name].faulty / sure[name].rows))
    more = f" and {len(sure) - 1} more" if len(sure) > 1 else ""
    return f"{opened.rule} of {first} in {sure[first]}{more}"


def _with(others: int) -> str:
    return f" with the {others} load{'s' * (others > 1)} after it" if others else ""
