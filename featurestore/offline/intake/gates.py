"""Is a load unlike the loads before it? Profiles in, sentences out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.definitions import LoadGate
from featurestore.offline.intake.load_profiles import LoadProfile, Sample, cells_of, value_cells
from featurestore.profiles import Profile, profile
from featurestore.profiles.bins import numbers_of
from featurestore.statistics.stability_index import stability_index

#: Of the intervals; what lies over a limit with its whole interval is not chance.
_CONFIDENCE = 0.999
#: Loads that say how unlike each other in rows the view's loads are.
_LEAST_LOADS = 3
#: Values of a feature that say something of its range and distribution.
_LEAST_VALUES = 100
#: A value this many widths of the known range away from it is told even if it is the only one.
_WILD_WIDTHS = 10
#: How many times further than the loads before it a load's distribution must have moved.
_FURTHER = 1.5


@dataclass(frozen=True)
class Judgement:
    """What came of comparing a load.

    Attributes:
        profile: the load, for those to come.
        anomalies: how it differs from the loads before, a sentence each; empty if it does not.
    """

    profile: LoadProfile
    anomalies: tuple[str, ...]


def judge(
    sample: Sample, *, rows: int, read: int, nulls: Mapping[str, int], history: Sequence[LoadProfile], gate: LoadGate
) -> Judgement:
    """Compare a load with the ones before it.

    Args:
        sample: of the rows that are to be published.
        rows: how many these are.
        read: how many rows came.
        nulls: by feature, in how many of those that came it is null.
        history: the last good loads, oldest first.
        gate: what is compared.
    """
    table = sample.table()
    drawn = profile(table, sample.bins())
    # NaN is counted in the sample alone, nulls in all rows.
    missing = {name: min(1.0, count / (read or 1) + _share_of_nan(drawn, name)) for name, count in nulls.items()}
    beyond = _beyond(table, sample.extremes, history)
    moved = _moved(table, history)
    load = LoadProfile(
        rows=rows,
        missing=missing,
        values={name: int(value_cells(drawn.bins, drawn.counts, name).sum()) for name in drawn.bins.names},
        extremes=sample.extremes,
        beyond=beyond,
        moved={name: one.index for name, one in moved.items()},
        cells=cells_of(drawn),
    )
    if gate.on_anomaly == "ignore" or not history:
        return Judgement(load, ())
    found = [*_rows(load, history, gate), *_missing(load, read, history, gate), *_ranges(load, history, gate)]
    if gate.distribution is not None:
        for name, one in moved.items():
            limit = max(gate.distribution, _FURTHER * _worst(history, "moved", name))
            if one.surely_over(limit):
                found.append(
                    f"{name} is distributed unlike in the load before: a population stability index of "
                    f"{one.index:.2f}, over {limit:.2f}"
                )
    return Judgement(load, tuple(found))


def _rows(load: LoadProfile, history: Sequence[LoadProfile], gate: LoadGate) -> Iterator[str]:
    if gate.rows is None or len(history) < _LEAST_LOADS:
        return
    counts = [one.rows for one in history]
    fewest, most = min(counts) / gate.rows, max(counts) * gate.rows
    # Counts of independent events spread by their root; three times that is chance in one of a thousand.
    if load.rows < fewest - 3 * math.sqrt(fewest) or load.rows > most + 3 * math.sqrt(most):
        yield f"{load.rows:,} rows, where {_last(history)} had {min(counts):,} to {max(counts):,}"


def _missing(load: LoadProfile, read: int, history: Sequence[LoadProfile], gate: LoadGate) -> Iterator[str]:
    if gate.nulls is None:
        return
    for name, share in load.missing.items():
        known = [one for one in history if one.rows and name in one.missing]
        if not known:
            continue
        worst = max(known, key=lambda one: one.missing[name])
        if share - worst.missing[name] <= gate.nulls:  # then the interval, which holds the difference, is not over it
            continue
        # Here, because SciPy takes longer to import than a small load to run, and nearly every load needs none.
        from featurestore.statistics.rate_difference import rate_difference

        grown = rate_difference(
            worst.missing[name], share, reference_size=worst.rows, current_size=read, confidence=_CONFIDENCE
        )
        if grown.low > gate.nulls:
            yield (
                f"{name} is null or NaN in {share:.1%} of the rows, where {_last(history)} had "
                f"{worst.missing[name]:.1%} at most"
            )


def _ranges(load: LoadProfile, history: Sequence[LoadProfile], gate: LoadGate) -> Iterator[str]:
    if gate.ranges is None:
        return
    for name, share in load.beyond.items():
        known = _known_range(name, history)
        if known is None:
            continue
        low, high = known
        mine = load.extremes[name]
        wild = max(low - mine[0], mine[1] - high) > _WILD_WIDTHS * (high - low) > 0
        if wild or _more_beyond(name, load, history, gate.ranges):
            of_rows = f" in {share:.1%} of the rows" if share else ""
            yield (
                f"{name} lies outside of the range of {_last(history)}{of_rows}: it has {mine[0]:g} to {mine[1]:g}, "
                f"where they had {low:g} to {high:g}"
            )


def _more_beyond(name: str, load: LoadProfile, history: Sequence[LoadProfile], limit: float) -> bool:
    """Return whether surely more values lie outside of the range than in the loads before, by more than a limit."""
    sampled, share, worst = load.values[name], load.beyond[name], _worst(history, "beyond", name)
    if sampled < _LEAST_VALUES or share - worst <= limit:
        return False
    from featurestore.statistics.rate_difference import rate_difference  # as in _missing

    before = sum(one.values.get(name, 0) for one in history)
    over = rate_difference(worst, share, reference_size=before, current_size=sampled, confidence=_CONFIDENCE)
    return over.low > limit


def _known_range(name: str, history: Sequence[LoadProfile]) -> tuple[float, float] | None:
    """Return the range of a feature in the loads before; None if they have too few values to say."""
    known = [one.extremes[name] for one in history if name in one.extremes]
    if not known or sum(one.values.get(name, 0) for one in history) < _LEAST_VALUES:
        return None
    return min(low for low, _ in known), max(high for _, high in known)


def _beyond(table: pa.Table, names: Iterable[str], history: Sequence[LoadProfile]) -> dict[str, float]:
    """Return, by numeric feature, the share of values outside of the range of the loads before."""
    found = {}
    for name in names:
        known = _known_range(name, history)
        numbers = numbers_of(table.column(name))
        numbers = numbers[~np.isnan(numbers)]
        if known is not None and len(numbers):
            found[name] = float(np.mean((numbers < known[0]) | (numbers > known[1])))
    return found


@dataclass(frozen=True)
class _Moved:
    """How far the distribution of a feature moved: sampled values in each cell, and their stability index."""

    reference: NDArray[np.int64]
    current: NDArray[np.int64]
    index: float

    def surely_over(self, limit: float) -> bool:
        """Return whether the whole interval of the index lies over a limit."""
        if self.index <= limit:  # its interval begins at it or below
            return False
        # Here, because SciPy takes longer to import than a small load to run, and nearly every load needs none.
        from featurestore.statistics.population_stability import population_stability

        estimate = population_stability(
            self.reference,
            self.current,
            reference_size=float(self.reference.sum()),
            current_size=float(self.current.sum()),
            confidence=_CONFIDENCE,
        )
        return estimate.low > limit


def _moved(table: pa.Table, history: Sequence[LoadProfile]) -> dict[str, _Moved]:
    """Return, by feature, how far it moved since the newest load that has values of it."""
    counted: dict[int, Profile] = {}
    found = {}
    for name in table.column_names:
        for place in range(len(history) - 1, -1, -1):
            if history[place].values.get(name, 0) < _LEAST_VALUES:
                continue
            if place not in counted:
                counted[place] = profile(table, history[place].bins)
            reference = history[place].values_in_bins(name)
            current = value_cells(counted[place].bins, counted[place].counts, name)
            if current.sum() >= _LEAST_VALUES:
                found[name] = _Moved(reference, current, stability_index(reference, current))
            break
    return found


def _share_of_nan(drawn: Profile, name: str) -> float:
    if not drawn.rows or name not in drawn.bins.names:
        return 0.0
    bins = next(one for one in drawn.bins.features if one.name == name)
    return float(drawn.cells(name)[-2] / drawn.rows) if bins.kind == "numeric" else 0.0


def _worst(history: Sequence[LoadProfile], measure: str, name: str) -> float:
    return max((getattr(one, measure).get(name, 0.0) for one in history), default=0.0)


def _last(history: Sequence[LoadProfile]) -> str:
    return f"the last {len(history)} loads" if len(history) > 1 else "the load before"
