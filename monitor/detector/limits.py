"""What "nothing changed" allows: for each event the most that its probability may be."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from featurestore.errors import MonitorError
from featurestore.profiles import Baseline, Bins
from featurestore.statistics.design_effect import design_effect
from monitor.detector.bounds import design_effect_of, likeness, upper_limits
from monitor.detector.events import KINDS, Event, Flat, Kind, events_of, flatten
from monitor.detector.phases import Phases, hour_of_week
from monitor.detector.scores import (
    DIRECTIONS,
    FEWEST,
    Scores,
    edges,
    score_events,
    score_likeness,
    score_limits,
    scores_of,
)

#: How far the alternatives lie over an event's limit, in log odds.
ALTERNATIVES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
#: Blocks from which on it can be known that blocks do not differ by themselves.
KNOWN_BLOCKS = 30
#: The design effect from which on blocks surely differ by themselves.
SURE = 1.5
#: Shares of the budget; those of kinds that no feature has an event of go to the others.
SHARES: Mapping[Kind, float] = {"drift": 0.6, "nulls": 0.1, "nan": 0.1, "range": 0.1, "unseen": 0.1}


@dataclass(frozen=True)
class FeatureLimits:
    """The events of one feature, and what is allowed of each.

    Attributes:
        events: only those whose limit leaves room for an alternative, sorted by kind.
        limits: the most that each event's probability may be without a change that matters, over all hours; shape
            (events,).
        rho: how alike rows of one block are: the largest over the events.
        rows: what the feature's baseline is worth in independent rows.
        phases: 24 or 168 when there are limits for each hour of the day or week, else 1.
        scores: the scores of a number's runs of cells, shape (scores, runs); None where there are none.
        score_rho: how alike rows of one block are by their scores.
        steady: whether one window of a day may be held against another: it does not follow the clock, or limits do.
        never: which events no row of the baseline was in, shape (events,).
    """

    events: tuple[Event, ...]
    limits: NDArray[np.float64]
    rho: float
    rows: float
    phases: int = 1
    scores: NDArray[np.float64] | None = None
    score_rho: float = 0.0
    steady: bool = True
    never: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))


@dataclass(frozen=True)
class Limits:
    """What "nothing changed" allows, for each feature; ``fit_limits`` makes it.

    Attributes:
        bins: the bins of the baseline.
        features: by name; those that have no event with room for an alternative give no evidence.
        blocks: blocks of the baseline that have rows.
        block: the length of one.
        smallest_change: of a probability, that matters.
        delta: the chance that some limit lies under the truth, for lack of baseline rows.
        window: the length of the windows that have limits by the hour; None when there are none.
        weights: of each feature in the mean; equal where none are given.
        rhythms: by name, limits by the hour for those features that have a rhythm.
    """

    bins: Bins
    features: Mapping[str, FeatureLimits]
    blocks: int
    block: timedelta
    smallest_change: float
    delta: float
    window: timedelta | None = None
    weights: Mapping[str, float] | None = None
    rhythms: Mapping[str, Phases] = field(default_factory=dict)

    @cached_property
    def watched(self) -> tuple[str, ...]:
        """The features that can give evidence."""
        return tuple(name for name, one in self.features.items() if len(one.limits))

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds that some feature can give evidence of."""
        found = np.unique(self.flat.kinds[self.flat.groups])
        return tuple(KINDS[at] for at in found.tolist())

    @cached_property
    def flat(self) -> Flat:
        """The events of all features, end to end; all arrays over events are in this order."""
        return flatten(self.bins, [list(self.features[name].events) for name in self.bins.names])

    @cached_property
    def pooled(self) -> NDArray[np.float64]:
        """The limit of each event over all hours, shape (events,)."""
        return np.concatenate([np.zeros(0), *(self.features[name].limits for name in self.bins.names)])

    @cached_property
    def rho(self) -> NDArray[np.float64]:
        """How alike rows of one block are, beyond the rhythm where there are limits by the hour; shape (events,)."""
        return np.concatenate([np.zeros(0), *(self._rhos(name) for name in self.bins.names)])

    def _rhos(self, name: str) -> NDArray[np.float64]:
        one = self.features[name]
        rho = self.rhythms[name].rho if name in self.rhythms else one.rho
        return np.array([rho if event.score is None else one.score_rho for event in one.events])

    def most(self, phi: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the most that a block may add to the logarithm of a value, shape (events,).

        ln(D + 1) where blocks differ by themselves. Where D blocks have differed no more than independent rows do, the
        likelihood ratio says what an odd block is worth, and the cap rises without end. Not so for what is no value: a
        source may be as steady as can be on sixty days and fail on one, and that tells nothing of how often it fails;
        unless none of those days has a single null or NaN: the first ones then are a piece of news by themselves.

        Args:
            phi: of each event, shape (events,).
        """
        if self.blocks < KNOWN_BLOCKS:
            return np.full(phi.shape, math.log(self.blocks + 1))
        own = np.where(self._sure, np.minimum(1.0, (phi - 1) / (SURE - 1)), 1.0)
        most: NDArray[np.float64] = np.divide(
            math.log(self.blocks + 1), own, out=np.full(phi.shape, np.inf), where=own > 0
        )
        return most

    @cached_property
    def _sure(self) -> NDArray[np.bool_]:
        steady = np.array([self.features[name].steady for name in self.bins.names], bool)
        never = np.concatenate([np.zeros(0, bool), *(self.features[name].never for name in self.bins.names)])
        news = never & np.isin(self.flat.kinds, [KINDS.index("nulls"), KINDS.index("nan")])
        sure: NDArray[np.bool_] = steady[self.flat.features] & ((self.flat.kinds == KINDS.index("drift")) | news)
        return sure

    @cached_property
    def scores(self) -> Scores:
        """The scores of all features."""
        chosen = [name for name in self.bins.names if any(one.score is not None for one in self.features[name].events)]
        width = max((self._scores_of(name).shape[1] for name in chosen), default=0)
        rows, runs, values = [], [], []
        for name in chosen:
            one, first = self._scores_of(name), self.bins.slices[name].start
            events = self.features[name].events
            rows.append([self.places[name].start + at for at, event in enumerate(events) if event.score is not None])
            ends = first + edges(self.bins.features[self.bins.positions[name]].values)
            missing = width - one.shape[1]
            runs.append(np.pad(ends, (0, missing), mode="edge"))
            values.append(np.pad(one, ((0, 0), (0, missing))))
        count, some = len(DIRECTIONS), len(chosen)
        return Scores(
            np.array(rows, np.int64).reshape(some, count),
            np.array(runs, np.int64).reshape(some, width + 1),
            np.array(values, np.float64).reshape(some, count, width),
            np.asarray(ALTERNATIVES),
        )

    def _scores_of(self, name: str) -> NDArray[np.float64]:
        found = self.features[name].scores
        return np.zeros((len(DIRECTIONS), 0)) if found is None else found

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits: a detector's state belongs to limits with this id."""
        weights = sorted((self.weights or {}).items())
        given = (self.bins.id, self.blocks, self.smallest_change, self.delta, self.window, weights)
        digest = hashlib.sha256(" ".join(map(repr, given)).encode())
        digest.update(self.pooled.tobytes() + self.rho.tobytes() + self.flat.start.tobytes())
        for one in self.rhythms.values():
            digest.update(one.rhythm.counts.tobytes())
        return digest.hexdigest()[:16]

    def share_of(self, name: str) -> float:
        """Return a feature's weight in the mean."""
        return 1.0 if self.weights is None else self.weights.get(name, 0.0)

    @cached_property
    def group_weights(self) -> NDArray[np.float64]:
        """The weight of each run of one feature and kind among those of its kind, shape (groups,); they add up to 1."""
        groups = self.flat.groups
        own = np.array([self.share_of(name) for name in self.bins.names])[self.flat.features[groups]]
        kinds = self.flat.kinds[groups]
        total = np.bincount(kinds, own, len(KINDS))[kinds]
        weights: NDArray[np.float64] = np.divide(own, total, out=np.zeros(len(own)), where=total > 0)
        return weights

    @cached_property
    def _hours(self) -> dict[int, NDArray[np.float64]]:
        return {}

    @cached_property
    def _weighed(self) -> dict[bytes, Weighed]:
        return {}

    def at(self, start: datetime) -> NDArray[np.float64]:
        """Return the limits of the window that starts then, shape (events,)."""
        if not self.rhythms:
            return self.pooled
        hour = hour_of_week(start)
        if hour not in self._hours:
            self._hours[hour] = np.concatenate([one.limits(hour) for one in self.rhythms.values()])
        limits = self.pooled.copy()
        limits[self._clocked] = self._hours[hour]
        return limits

    @cached_property
    def _clocked(self) -> NDArray[np.int64]:
        places = [np.arange(self.places[name].start, self.places[name].stop) for name in self.rhythms]
        return np.concatenate([np.zeros(0, np.int64), *places])

    def weighed(self, start: datetime, shift: NDArray[np.float64] | None = None) -> Weighed:
        """Return what rows count for in the window that starts then, with limits widened by ``shift``."""
        key = (b"" if shift is None else shift.tobytes()) + start.isoformat().encode() * bool(self.rhythms)
        if key not in self._weighed:
            limits = self.at(start)
            if shift is not None:
                limits = np.minimum(1.0, limits + shift)
            self._weighed.clear()  # what is asked for next is almost always the same
            b = np.where(limits < 1, limits, 0.5)[:, None]
            odds = logit(b) + np.asarray(ALTERNATIVES)
            room = (limits < 1)[:, None]
            inside, outside = np.log(expit(odds) / b), np.log(expit(-odds) / (1 - b))
            bets = self._bets if shift is None else self.scores.bets(limits[self.scores.rows])
            self._weighed[key] = Weighed(np.where(room, inside, 0.0), np.where(room, outside, 0.0), bets)
        return self._weighed[key]

    @cached_property
    def _bets(self) -> NDArray[np.float64]:
        return self.scores.bets(self.pooled[self.scores.rows])

    @cached_property
    def places(self) -> Mapping[str, slice]:
        """Where each feature's events are in arrays over events."""
        ends = np.cumsum([len(one.limits) for one in self.features.values()]).tolist()
        return {
            name: slice(end - len(one.limits), end)
            for (name, one), end in zip(self.features.items(), ends, strict=True)
        }


@dataclass(frozen=True, eq=False)
class Weighed:
    """What a row adds to the logarithm of a value.

    Attributes:
        inside: of a row inside each event, shape (events, alternatives).
        outside: of one outside.
        bets: of a row by its cell, for scores; see :meth:`Scores.bets`.
    """

    inside: NDArray[np.float64]
    outside: NDArray[np.float64]
    bets: NDArray[np.float64]


def fit_limits(
    baseline: Baseline,
    *,
    smallest_change: float,
    delta: float = 0.05,
    window: timedelta | None = None,
    weights: Mapping[str, float] | None = None,
) -> Limits:
    """Return the limits that a baseline allows.

    Args:
        baseline: the training data; its blocks say how alike rows of one block are.
        smallest_change: of a probability, that matters; what lies within it never alarms, at any number of rows.
        delta: the chance that some limit lies under the truth, for lack of baseline rows.
        window: the length of the windows to judge. Features with a rhythm then have limits for each hour of the day or
            week; without it all hours are judged alike.
        weights: how much each feature counts in the mean, such as its importance to the model: one that weighs ten
            times another alarms by a tenth of the evidence. Features that are not named weigh nothing.

    Raises:
        MonitorError: a weight is negative or no number, or all are zero.
    """
    if weights is not None and not (
        all(math.isfinite(one) and one >= 0 for one in weights.values())
        and sum(weights.get(name, 0.0) for name in baseline.bins.names) > 0
    ):
        raise MonitorError(
            "The weights of the features are not numbers from zero up, of which one is over it.",
            hint="Give each feature a weight such as its importance, or give none.",
        )
    count = len(baseline.bins.features)
    counts = np.array([part.counts for _, part in baseline.blocks]).reshape(len(baseline.blocks), -1)
    totals = np.array([part.rows for _, part in baseline.blocks], np.float64)
    # What a unit of a block's counts is worth in rows: 1 without weights.
    worth = np.divide(baseline.sizes, totals, out=np.zeros(len(totals)), where=totals > 0)
    kish = baseline.size / max(1.0, float(totals.sum()))
    features, rhythms = {}, {}
    for one in baseline.bins.features:
        events = events_of(one)
        order = sorted(range(len(events)), key=lambda at: KINDS.index(events[at].kind))
        events = [events[at] for at in order]
        cells = counts[:, baseline.bins.slices[one.name]].astype(np.float64)
        hits, bases = _hits(events, cells, one.values)
        rho = max(likeness(hits[:, chosen] * worth[:, None], base * worth) for chosen, base in _by_base(events, bases))
        base = bases.sum(axis=0)
        shares = np.divide(hits.sum(axis=0), base, out=np.zeros(len(events)), where=base > 0)
        mean = base * kish / max(1, len(totals))
        sizes = base * kish / design_effect_of(mean, rho)
        limits = upper_limits(events, shares, sizes, delta / count, smallest_change)
        rhythm = baseline.rhythms.get(one.name) if window is not None else None
        room = limits < 1
        kept = [event for event, has in zip(events, room, strict=True) if has]
        limits, never = limits[room], (shares == 0)[room]
        phases, scores, score_rho = None, None, 0.0
        if rhythm is not None and window is not None and kept:
            phases = Phases(
                rhythm=rhythm,
                events=tuple(kept),
                pooled=limits,
                values=len(one.labels) - (one.cells - one.values),
                window=window,
                scale=kish,
                delta=delta / count,
                smallest_change=smallest_change,
            )
            if phases.sets > 1:
                rhythms[one.name] = phases
        ranked = np.add.reduceat(cells[:, : one.values], edges(one.values)[:-1], axis=1)
        inside = ranked.sum(axis=0)
        # Ranks are those of all hours: a feature that follows the clock is judged by its cuts.
        if one.kind == "numeric" and (inside > 0).sum() >= FEWEST and one.name not in rhythms:
            scores = scores_of(inside)
            here = ranked * worth[:, None]
            score_rho = score_likeness(scores, here, here.sum(axis=1))
            size = float(inside.sum()) * kish
            size /= float(design_effect(size / max(1, len(totals)), score_rho))
            bounds = score_limits(scores, inside, size, delta / count, smallest_change)
            drift = sum(event.kind == "drift" for event in kept)
            kept[drift:drift] = score_events(one.values)
            limits, never = np.insert(limits, drift, bounds), np.insert(never, drift, np.zeros(len(bounds), bool))
        features[one.name] = FeatureLimits(
            events=tuple(kept),
            limits=limits,
            rho=rho,
            rows=baseline.size / float(design_effect(baseline.size / max(1, len(totals)), rho)),
            phases=rhythm.phases if rhythm is not None and one.name in rhythms else 1,
            scores=scores,
            score_rho=score_rho,
            steady=one.name not in baseline.rhythms or phases is not None,
            never=never,
        )
    return Limits(
        bins=baseline.bins,
        features=features,
        blocks=len(baseline.blocks),
        block=baseline.block,
        smallest_change=smallest_change,
        delta=delta,
        window=window if rhythms else None,
        weights=None if weights is None else dict(weights),
        rhythms=rhythms,
    )


def _hits(
    events: list[Event], cells: NDArray[np.float64], values: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return, by block, the rows in each event and those it is counted out of; both (blocks, events)."""
    upto = np.concatenate([np.zeros((len(cells), 1)), np.cumsum(cells, axis=1)], axis=1)
    bases = np.stack([upto[:, -1 if one.out_of_rows else values] for one in events], axis=1)
    inside = np.stack([upto[:, one.stop] - upto[:, one.start] for one in events], axis=1)
    fewer = np.array([one.direction == "fewer" for one in events])
    return np.where(fewer, bases - inside, inside), bases


def _by_base(events: list[Event], bases: NDArray[np.float64]) -> list[tuple[NDArray[np.bool_], NDArray[np.float64]]]:
    out = np.array([one.out_of_rows for one in events])
    return [(chosen, bases[:, int(np.flatnonzero(chosen)[0])]) for chosen in (out, ~out) if chosen.any()]
