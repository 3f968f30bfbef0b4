"""One more window: limits, state and profile -> state and evidence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from featurestore.errors import MonitorError
from featurestore.profiles import Profile
from featurestore.types import microseconds
from monitor.detector.bounds import design_effect_of
from monitor.detector.events import KINDS, Kind
from monitor.detector.limits import SHARES, Limits
from monitor.detector.state import DetectorState, Evidence, Moved

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: A sum of log ratios from which on a feature is said to have moved somewhere: e times as likely as not.
LEANS = 1.0

#: What a policy's budget may be: one for all kinds together, or one for each.
Budget = float | Mapping[Kind, float]


def step(
    limits: Limits,
    state: DetectorState,
    window: Profile,
    *,
    window_start: datetime,
    rows_per_block: float,
    average_run_length: Budget,
) -> tuple[DetectorState, Evidence]:
    """Return the state and the evidence after one more window.

    With one number A for all kinds, the alarm is raised when the mean of the kinds' values, by their
    :data:`~monitor.detector.SHARES`, reaches A. That mean is an e-detector, and it is never later than each kind at
    A / share by itself would be. All begin afresh after the alarm.

    With a number for each kind, each alarms and begins afresh by itself: at most 1 / A of its windows on average are
    false alarms, and these add up over kinds. Kinds that are not named never alarm.

    Args:
        limits: of the baseline.
        state: after the window before.
        window: the profile of its rows. A window without rows adds nothing and does not count.
        window_start: its start.
        rows_per_block: rows that one block of the baseline's length brings in serving.
        average_run_length: windows between false alarms, on average, at least; of each kind, or of all.

    Raises:
        MonitorError: the state or the window belongs to another baseline, or a run length is not over 0.
    """
    if state.limits_id != limits.id or window.bins.id != limits.bins.id:
        raise MonitorError(
            "The detector's state and the window are not of one baseline.",
            hint="Start a new state for a new baseline: DetectorState.start(limits).",
        )
    budget = _Spent.of(limits, average_run_length)
    if window.rows:
        state = _advance(limits, state, window, window_start, rows_per_block)
    evidence = _evidence(limits, state, budget)
    return (_restarted(limits, state, evidence, budget) if evidence.alarm else state), evidence


@dataclass(frozen=True)
class _Spent:
    """A budget, as shares of one run length; shape (kinds,)."""

    run_length: float
    shares: NDArray[np.float64]
    each: bool

    @classmethod
    def of(cls, limits: Limits, budget: Budget) -> _Spent:
        if isinstance(budget, Mapping):
            if unknown := sorted(set(budget) - set(KINDS)):
                raise MonitorError(f'A budget names kind "{unknown[0]}".', hint=f"Kinds are {', '.join(KINDS)}.")
            rates = np.array([1 / _positive(budget[kind]) if kind in budget else 0.0 for kind in KINDS])
            if not rates.any():
                raise MonitorError("A budget by kind names no kind.", hint="Name one, or give one number for all.")
            return cls(1 / rates.sum(), rates / rates.sum(), each=True)
        shares = np.array([SHARES[kind] if kind in limits.kinds else 0.0 for kind in KINDS])
        return cls(_positive(budget), shares / (shares.sum() or 1.0), each=False)


def _positive(run_length: float) -> float:
    if not run_length > 0:
        raise MonitorError(f"The average run length is {run_length!r}.", hint="It is a number of windows over 0.")
    return float(run_length)


def _advance(
    limits: Limits, state: DetectorState, window: Profile, window_start: datetime, rows_per_block: float
) -> DetectorState:
    start = microseconds(window_start)
    flat, scores = limits.flat, limits.scores
    inside, rows = flat.counted(window.counts)
    counted = scores.counted(window.counts)
    inside[scores.rows] = scores.sums(counted)
    launch = state.launch.seen(limits, start, inside, rows, limits.at(window_start))
    # Limits are known before the window that they are used on.
    weighed = limits.weighed(window_start, state.launch.shift if state.launch.mismatch else None)
    phi = design_effect_of(rows_per_block / window.rows * rows, limits.rho)
    effective, without = (inside / phi)[:, None], ((rows - inside) / phi)[:, None]
    ratios = effective * weighed.inside + without * weighed.outside
    ratios[scores.rows] = scores.log_ratios(weighed.bets, counted) / phi[scores.rows][:, :, None]
    # Windows shorter than a block share what the block may say.
    most = limits.most(phi) * window.rows / rows_per_block
    ratios = np.minimum(ratios, most[:, None])
    with np.errstate(over="ignore", under="ignore"):
        values = _rounded_down((1.0 + state.values.astype(np.float64)) * np.exp(ratios))
    # A sum that has fallen to nothing begins anew: what came before speaks for "no change".
    sums = np.maximum(0.0, state.sums + ratios).astype(np.float32)
    starts = np.where(sums > 0, np.where(state.sums > 0, state.starts, start), 0)
    return DetectorState(limits.id, state.windows + 1, values, sums, starts, launch)


def _rounded_down(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return single precision, towards 0: a value made smaller keeps the guarantee."""
    most = np.finfo(np.float32).max
    single = np.minimum(values, most).astype(np.float32)
    return np.where(single > values, np.nextafter(single, np.float32(0)), single)


def _evidence(limits: Limits, state: DetectorState, budget: _Spent) -> Evidence:
    log_limit = math.log(budget.run_length)
    flat = limits.flat
    if not state.windows or not len(flat.groups):
        return Evidence(0.0, log_limit, state.windows, False, {}, None)
    means = np.add.reduceat(state.values.astype(np.float64).mean(axis=1) * flat.weights, flat.groups)
    of_kind = flat.kinds[flat.groups]
    by_kind = np.bincount(of_kind, means * limits.group_weights, len(KINDS))
    value = float(budget.shares @ by_kind)
    parts = budget.shares * by_kind / budget.run_length
    if budget.each:
        alarmed = parts >= 1
    else:
        alarmed = np.zeros(len(KINDS), bool)
        if value >= budget.run_length:
            # One of them at least has its even part of it.
            alarmed = parts >= parts.sum() / max(1, int((budget.shares > 0).sum()))
    alarms = tuple(KINDS[at] for at in np.argsort(-parts, kind="stable").tolist() if alarmed[at])
    strongest = state.sums.max(axis=1)
    onset = _onset(state, strongest, np.isin(flat.kinds, np.flatnonzero(alarmed)) if alarms else None)
    features, kinds = _by_feature(limits, means)
    with np.errstate(divide="ignore"):
        logs = np.log(by_kind)
        limit_of = log_limit - np.log(budget.shares)  # infinite for a kind without a share
    launch = bool(alarms) and not state.launch.mismatch and onset is not None and state.launch.includes(limits, onset)
    return Evidence(
        log_value=math.log(value) if value > 0 else -math.inf,
        log_limit=log_limit,
        windows=state.windows,
        alarm=bool(alarms),
        features=features,
        onset=None if onset is None else _instant(onset),
        kinds=kinds,
        log_values={kind: float(logs[KINDS.index(kind)]) for kind in limits.kinds},
        log_limits={kind: float(limit_of[KINDS.index(kind)]) for kind in limits.kinds},
        alarms=alarms,
        directions=_directions(limits, state, strongest),
        launch=launch,
    )


def _by_feature(limits: Limits, means: NDArray[np.float64]) -> tuple[dict[str, float], dict[Kind, dict[str, float]]]:
    flat = limits.flat
    with np.errstate(divide="ignore"):
        logs = np.log(means).tolist()
    kinds: dict[Kind, dict[str, float]] = {kind: {} for kind in limits.kinds}
    features: dict[str, float] = {}
    names = limits.bins.names
    # Kinds of a feature are in order, and drift is the first.
    for log, feature, kind in zip(
        logs, flat.features[flat.groups].tolist(), flat.kinds[flat.groups].tolist(), strict=True
    ):
        name = names[feature]
        kinds[KINDS[kind]][name] = log
        features.setdefault(name, log)
    return features, kinds


def _onset(state: DetectorState, strongest: NDArray[np.float32], among: NDArray[np.bool_] | None) -> int | None:
    chosen = strongest if among is None else np.where(among, strongest, 0)
    event = int(chosen.argmax())
    if not chosen[event] > 0:
        return None
    return int(state.starts[event, int(state.sums[event].argmax())])


def _directions(limits: Limits, state: DetectorState, strongest: NDArray[np.float32]) -> dict[str, Moved]:
    found: dict[str, Moved] = {}
    groups = limits.flat.groups
    # A score names no cells; it is asked only through the cuts beside it.
    strongest = np.where(limits.flat.score, np.float32(0), strongest)
    largest = np.maximum.reduceat(strongest, groups)
    for at in np.flatnonzero(largest >= LEANS).tolist():
        name = limits.bins.names[int(limits.flat.features[groups[at]])]
        # Kinds of a feature are in order, and drift is the first.
        if name in found:
            continue
        row = int(groups[at]) + int(np.argmax(strongest[groups[at] : groups[at] + _width(groups, at, len(strongest))]))
        one = limits.features[name].events[row - limits.places[name].start]
        began = int(state.starts[row, int(state.sums[row].argmax())])
        found[name] = Moved(one.kind, _instant(began), float(strongest[row]), one.direction, (one.start, one.stop))
    return found


def _width(groups: NDArray[np.int64], at: int, end: int) -> int:
    return (int(groups[at + 1]) if at + 1 < len(groups) else end) - int(groups[at])


def _restarted(limits: Limits, state: DetectorState, evidence: Evidence, budget: _Spent) -> DetectorState:
    """Return the state after an alarm: what has alarmed begins afresh; what was seen at launch is kept."""
    launch = state.launch.recentred(limits) if evidence.launch else state.launch
    # Limits that allow the launch make other detectors: all of them begin anew.
    if not budget.each or evidence.launch:
        return replace(DetectorState.start(limits), launch=launch)
    going = ~np.isin(limits.flat.kinds, [KINDS.index(kind) for kind in evidence.alarms])[:, None]
    return replace(
        state,
        values=np.where(going, state.values, np.float32(0)),
        sums=np.where(going, state.sums, np.float32(0)),
        starts=np.where(going, state.starts, 0),
        launch=launch,
    )


def _instant(microseconds_since: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds_since)
