"""Freshness: how old is what is served, do loads and materializations still come, how old is what was trained on?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from monitor.quality.finding import Finding, Rule, Verdict

#: Rows of a window before their ages are judged.
LEAST_ROWS = 20
#: A share of rows at which serving counts as broken.
BROKEN_SHARE = 0.5
#: Whatever comes regularly has stopped when it is late by so many times its longest interval, and by this at least.
LATE_TIMES, LATE_AT_LEAST = 2.0, timedelta(hours=1)
#: What is waited for where no interval is known, if the view has no TTL.
UNKNOWN_INTERVAL = timedelta(days=1)
#: Intervals before there is a rhythm.
LEAST_INTERVALS = 3


@dataclass(frozen=True, kw_only=True)
class ServedAges:
    """How old the rows of one use of a view were that one window served.

    Attributes:
        view: the use's name.
        rows: entity rows that were served.
        present: those that had a row within the TTL.
        outside: those whose row was older than the TTL, and whose values were therefore not served.
        over_limit: those with a row older than the limit that the ages are compared with, the TTL or the policy's.
        median_age: of the rows that were found, in seconds; None if none was.
        greatest_age: the same.
        newest: the newest event time among them.
    """

    view: str
    rows: int
    present: int
    outside: int
    over_limit: int
    median_age: float | None
    greatest_age: float | None
    newest: datetime | None


@dataclass(frozen=True, kw_only=True)
class ViewLedger:
    """What the ledgers say of a view's rows.

    Attributes:
        view: the view's name.
        ttl: after which its rows are not served; None for ever.
        loads: when each load was published, ascending; not those of pushes.
        materialized: when each materialization ended, ascending.
        unmaterialized_since: when the oldest load was published that no materialization has read; None if all are read.
        pushed: whether it takes pushes, which need no materialization.
    """

    view: str
    ttl: timedelta | None
    loads: tuple[datetime, ...]
    materialized: tuple[datetime, ...]
    unmaterialized_since: datetime | None
    pushed: bool = False


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What a service version is compared with.

    Attributes:
        dataset: ``delays@1``.
        model: the model that was trained on it; "" if none is recorded.
        newest: the instant of its newest row; None where its manifest does not say.
    """

    dataset: str
    model: str
    newest: datetime | None


def stale_features(
    windows: Sequence[tuple[datetime, Sequence[ServedAges]]],
    *,
    threshold: float,
    limits: Mapping[str, timedelta | None],
) -> tuple[Finding, ...]:
    """Return a finding for each use of a view: were too many rows of the last window older than they may be?

    Some keys are always stale: users who do not come back. So the share counts beyond what it was in all earlier
    windows together.

    Args:
        windows: start of each window and the ages in it, ascending; the last one is judged.
        threshold: the share of rows over their limit, beyond the usual one, of which anyone is told.
        limits: by use, how old a row may be; None or absent for any age.
    """
    if not windows:
        return ()
    return tuple(_stale(one, windows, threshold, limits.get(one.view)) for one in windows[-1][1])


def _stale(
    one: ServedAges,
    windows: Sequence[tuple[datetime, Sequence[ServedAges]]],
    threshold: float,
    limit: timedelta | None,
) -> Finding:
    before = [each for _, ages in windows[:-1] for each in ages if each.view == one.view]
    earlier = sum(each.rows for each in before)
    usual = sum(each.over_limit for each in before) / earlier if earlier else 0.0
    share = one.over_limit / one.rows if one.rows else 0.0
    over = share - usual >= threshold
    onset: datetime | None = None
    verdict: Verdict = "ok"
    if limit is None or one.rows < LEAST_ROWS:
        verdict = "not enough data"
        said = (
            f'Rows of "{one.view}" may be of any age: it has no TTL, and no limit was set.'
            if limit is None
            else f'{one.rows} rows of "{one.view}" were served, too few to judge their ages.'
        )
    elif over:
        verdict = "severe" if share >= BROKEN_SHARE else "drift"
        onset = _onset(one.view, windows, usual + threshold)
        median = f", {_duration(timedelta(seconds=one.median_age))} in the median" if one.median_age is not None else ""
        nulls = " Their values were not served at all." if one.outside else ""
        said = (
            f'{one.over_limit:,} of {one.rows:,} served rows of "{one.view}" ({share:.0%}; {usual:.0%} before) are '
            f"older than {_duration(limit)}{median}.{nulls} Look whether its loads and its materialization still run: "
            "featurestore status."
        )
    else:
        said = f'{share:.0%} of served rows of "{one.view}" are over {_duration(limit)} old; {usual:.0%} were before.'
    return Finding(
        rule="stale_features",
        kind="view",
        subject=one.view,
        verdict=verdict,
        value=share if limit is not None else None,
        threshold=min(1.0, usual + threshold),
        unit="share",
        onset=onset,
        sentence=said,
        views=(one.view,),
    )


def _onset(view: str, windows: Sequence[tuple[datetime, Sequence[ServedAges]]], limit: float) -> datetime | None:
    onset: datetime | None = None
    for start, ages in reversed(windows):
        mine = [one for one in ages if one.view == view and one.rows]
        if mine and mine[0].over_limit / mine[0].rows < limit:
            break
        onset = start
    return onset


def stopped_ingestion(one: ViewLedger, *, now: datetime) -> Finding:
    """Return whether loads of a view have stopped: none for twice the longest of the last intervals, and an hour."""
    rhythm = _longest(one.loads)
    limit = None if rhythm is None else max(LATE_AT_LEAST, rhythm * LATE_TIMES)
    waited = now - one.loads[-1] if one.loads else None
    late = limit is not None and waited is not None and waited > limit
    if late and waited is not None and rhythm is not None:
        said = (
            f'"{one.view}" was last loaded {_duration(waited)} ago; it never took more than {_duration(rhythm)}. Look '
            "at what loads it, and at its source."
        )
    elif limit is not None:
        said = f'"{one.view}" is loaded as often as it used to be.'
    else:
        said = f'How often "{one.view}" is loaded is not known yet.'
    return _of_ledger("stopped_ingestion", one, late, limit, waited, said, one.loads[-1] if late else None)


def stopped_materialization(one: ViewLedger, *, now: datetime) -> Finding:
    """Return whether loaded rows of a view wait too long to come online.

    Too long is twice the longest interval between the last materializations, an hour at least; where fewer than four
    are known, the view's TTL, or else a day.
    """
    rhythm = _longest(one.materialized)
    limit = (one.ttl or UNKNOWN_INTERVAL) if rhythm is None else max(LATE_AT_LEAST, rhythm * LATE_TIMES)
    since = one.unmaterialized_since
    waited = timedelta(0) if since is None else now - since
    late = since is not None and waited > limit
    known: timedelta | None = limit if one.loads or one.materialized else None
    if late:
        last = (
            f"the last one ended {_duration(now - one.materialized[-1])} ago" if one.materialized else "there was none"
        )
        said = (
            f'Rows of "{one.view}" that were loaded {_duration(waited)} ago are not online: no materialization has '
            f"read them, {last}. Run it: featurestore materialize {one.view}; and look at what should."
        )
    elif known is None:
        said = f'"{one.view}" was never loaded, so nothing waits to come online.'
    else:
        said = f'Loaded rows of "{one.view}" come online in time.'
    return _of_ledger("stopped_materialization", one, late, known, waited, said, since if late else None)


def _of_ledger(
    rule: Rule,
    one: ViewLedger,
    late: bool,
    limit: timedelta | None,
    waited: timedelta | None,
    said: str,
    onset: datetime | None,
) -> Finding:
    verdict: Verdict = "not enough data" if limit is None else "drift" if late else "ok"
    # Rows are not served past their TTL, so it is only then that something breaks.
    if late and one.ttl is not None and waited is not None and waited > one.ttl:
        verdict = "severe"
    return Finding(
        rule=rule,
        kind="view",
        subject=one.view,
        verdict=verdict,
        value=None if waited is None else waited.total_seconds(),
        threshold=None if limit is None else limit.total_seconds(),
        unit="seconds",
        onset=onset,
        sentence=said,
        views=(one.view,),
    )


def stale_training_data(one: TrainingData, *, limit: timedelta, now: datetime) -> Finding:
    """Return whether the newest row that a model was trained on is too old."""
    age = None if one.newest is None else now - one.newest
    old = age is not None and age > limit
    of_model = f", on which model {one.model} was trained," if one.model else ""
    if age is None:
        said = f"The manifest of dataset {one.dataset} does not say of when its rows are."
    elif old:
        said = f"The newest row of dataset {one.dataset}{of_model} is {_duration(age)} old. Make a newer one."
    else:
        said = f"The newest row of dataset {one.dataset} is {_duration(age)} old."
    return Finding(
        rule="stale_training_data",
        kind="dataset",
        subject=one.dataset,
        verdict="not enough data" if age is None else "drift" if old else "ok",
        value=None if age is None else age.total_seconds(),
        threshold=limit.total_seconds(),
        unit="seconds",
        onset=one.newest + limit if old and one.newest is not None else None,
        sentence=said,
    )


def _longest(instants: Sequence[datetime]) -> timedelta | None:
    """Return the longest interval between instants; None where too few are known to speak of a rhythm."""
    intervals = [after - before for before, after in pairwise(instants)]
    return max(intervals) if len(intervals) >= LEAST_INTERVALS else None


def _duration(length: timedelta) -> str:
    """Return a length of time as people say it, rounded down."""
    seconds = int(length.total_seconds())
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:,} {unit}"
    return f"{seconds:,} s"
