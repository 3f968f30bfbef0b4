"""Evidence over time: a mixture Shiryaev-Roberts e-detector on frozen bins.

Under "every row's chance to fall into an event is at most its limit" the detector's value grows by at most one a
window in expectation, however the features depend on each other. So with a limit of A on the value there are at least
A windows between false alarms, on average: the budget that a policy sets (Shin, Ramdas and Rinaldo, arXiv 2203.03532).

For each event of a feature (values up to a cut, values over it, one category, not that category, null, unseen ...):

- its limit b is its share in the baseline, plus that share's own error, plus the smallest change that matters;
- each alternative q lies over b; a window with c of n rows in the event multiplies by (q/b)^c ((1-q)/(1-b))^(n-c);
- c and n are divided by the design effect, since rows of one day are hardly independent;
- one block multiplies by at most D + 1, with D the blocks of the baseline. However odd a day is, among D + 1 days that
  differ by chance alone one is the oddest, so no more than that can be said without assuming how odd days can be: no
  single blizzard raises an alarm by itself. (A factor made smaller keeps the guarantee.)

A feature's value is the mean over its events and alternatives, the model's is the mean over features: a mean of
e-detectors is one.
"""

from __future__ import annotations

import base64
import hashlib
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, expit, logit, logsumexp

from featurestore.errors import MonitorError
from featurestore.profiles import Baseline, Bins, FeatureBins, Profile
from featurestore.statistics.design_effect import design_effect, intra_block_correlation
from featurestore.types import microseconds

#: How far the alternatives lie over an event's limit, in log odds.
ALTERNATIVES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class FeatureLimits:
    """The events of one feature.

    Attributes:
        events: which cells are in each event, shape (events, cells), of booleans; only those whose limit leaves room
            for an alternative.
        limits: the most that each event's probability may be without a change that matters, shape (events,).
        rho: how alike rows of one block are: the largest over the events.
        rows: what the feature's baseline is worth in independent rows.
    """

    events: NDArray[np.bool_]
    limits: NDArray[np.float64]
    rho: float
    rows: float

    @cached_property
    def _weights(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Log likelihood ratio of a row inside and of one outside each event, shape (events, alternatives)."""
        b = self.limits[:, None]
        odds = logit(b) + np.asarray(ALTERNATIVES)
        return np.log(expit(odds) / b), np.log(expit(-odds) / (1 - b))

    def log_ratios(self, cells: NDArray[np.int64], phi: float, most: float) -> NDArray[np.float64]:
        """Return what a window adds to each detector's logarithm, at most ``most``; shape (events, alternatives)."""
        inside = (self.events @ cells)[:, None] / phi
        outside = cells.sum() / phi - inside
        up, down = self._weights
        ratios: NDArray[np.float64] = np.minimum(inside * up + outside * down, most)
        return ratios


@dataclass(frozen=True)
class Limits:
    """What "nothing changed" allows, for each feature; :func:`fit_limits` makes it.

    Attributes:
        bins: the bins of the baseline.
        features: by name; those that have no event with room for an alternative have none, and give no evidence.
        blocks: blocks of the baseline that have rows.
    """

    bins: Bins
    features: Mapping[str, FeatureLimits]
    blocks: int

    @cached_property
    def watched(self) -> tuple[str, ...]:
        """The features that can give evidence."""
        return tuple(name for name, one in self.features.items() if len(one.limits))

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits: a detector's state belongs to limits with this id."""
        digest = hashlib.sha256(f"{self.bins.id} {self.blocks}".encode())
        for one in self.features.values():
            digest.update(np.packbits(one.events).tobytes() + one.limits.tobytes())
        return digest.hexdigest()[:16]


def fit_limits(baseline: Baseline, *, smallest_change: float, delta: float = 0.05) -> Limits:
    """Return the limits that a baseline allows.

    Args:
        baseline: the training data; its blocks say how alike rows of one block are.
        smallest_change: of a probability, that matters; what lies within it never alarms, at any number of rows.
        delta: the chance that some limit lies under the truth, for lack of baseline rows.
    """
    count = len(baseline.bins.features)
    whole = baseline.whole
    features = {}
    for one in baseline.bins.features:
        events, distribution = _events(one)
        hits = np.array([events @ part.cells(one.name) for _, part in baseline.blocks]).reshape(-1, len(events))
        rows = np.array([part.rows for _, part in baseline.blocks], np.float64)
        rho = float(intra_block_correlation(hits, rows).max(initial=0.0))
        size = whole.rows / float(design_effect(whole.rows / max(1, len(rows)), rho))
        shares = (events @ whole.cells(one.name)) / max(1, whole.rows)
        limits = _limits(shares, distribution, size, delta / count, smallest_change)
        room = limits < 1
        features[one.name] = FeatureLimits(events[room], limits[room], rho, size)
    return Limits(baseline.bins, features, len(baseline.blocks))


def _events(one: FeatureBins) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the cells of each event, and which events are read off the distribution function."""
    cells = one.cells
    single = np.eye(cells, dtype=bool)
    if one.kind == "numeric":
        upto = np.array([np.arange(cells) <= cut for cut in one.events], bool).reshape(-1, cells)
        over = ~upto
        over[:, one.values :] = False
        present = np.arange(cells) < one.values
        rest = np.vstack([present, single[one.values :]])
        events = np.vstack([upto, over, rest])
        return events, np.arange(len(events)) < 2 * len(one.events)
    values = single[: one.values]
    present = (np.arange(cells) < one.values)[None, :]
    others = present & ~values if one.kind == "categorical" else np.zeros((0, cells), bool)
    events = np.vstack([values, others, single[one.values :], present])
    return events, np.zeros(len(events), bool)


def _limits(
    shares: NDArray[np.float64], distribution: NDArray[np.bool_], size: float, delta: float, smallest_change: float
) -> NDArray[np.float64]:
    """Return pi + r + eps: share, its own error, and the smallest change (of a cell: the share, where it is smaller).

    r is the lesser of two bounds that hold together with probability 1 - delta: Clopper and Pearson's for each event,
    which is the sharper one in the tails, and that of Dvoretzky, Kiefer and Wolfowitz for the distribution function.
    """
    if size <= 0:
        return np.ones(len(shares))
    hits = shares * size  # need not be whole
    exact = betaincinv(hits + 1, np.maximum(size - hits, 1e-12), 1 - delta / 2 / len(shares))
    uniform = np.where(distribution, shares + math.sqrt(math.log(4 / delta) / (2 * size)), 1.0)
    room = np.where(distribution, smallest_change, np.minimum(smallest_change, shares))
    limits: NDArray[np.float64] = np.minimum(1.0, np.minimum(exact, uniform) + room)
    # Every row is in it already: no more can be.
    limits[shares >= 1] = 1.0
    return limits


@dataclass(frozen=True)
class DetectorState:
    """What a detector remembers between windows: plain, small, and enough to go on after a restart.

    Attributes:
        limits_id: the limits it belongs to.
        windows: windows since the start, or since the last alarm.
        log_values: by feature, the logarithm of each detector's value, shape (events, alternatives); minus infinity
            at the start.
        sums: by feature, the largest sum of each detector's latest log ratios, over where to begin (Page's CUSUM).
        starts: by feature, the window where that sum begins, in microseconds since 1970.
    """

    limits_id: str
    windows: int
    log_values: Mapping[str, NDArray[np.float64]]
    sums: Mapping[str, NDArray[np.float64]]
    starts: Mapping[str, NDArray[np.int64]]

    @classmethod
    def start(cls, limits: Limits) -> DetectorState:
        """Return the state before the first window."""
        shapes = {name: (len(limits.features[name].limits), len(ALTERNATIVES)) for name in limits.watched}
        return cls(
            limits_id=limits.id,
            windows=0,
            log_values={name: np.full(shape, -np.inf) for name, shape in shapes.items()},
            sums={name: np.zeros(shape) for name, shape in shapes.items()},
            starts={name: np.zeros(shape, np.int64) for name, shape in shapes.items()},
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; :meth:`from_dict` reads them back exactly."""
        return {
            "limits": self.limits_id,
            "windows": self.windows,
            "log_values": {name: _packed(values, "<f8") for name, values in self.log_values.items()},
            "sums": {name: _packed(values, "<f8") for name, values in self.sums.items()},
            "starts": {name: _packed(values, "<i8") for name, values in self.starts.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DetectorState:
        """Return the state that :meth:`to_dict` came from."""
        return cls(
            limits_id=values["limits"],
            windows=values["windows"],
            log_values={name: _unpacked(text, "<f8") for name, text in values["log_values"].items()},
            sums={name: _unpacked(text, "<f8") for name, text in values["sums"].items()},
            starts={name: _unpacked(text, "<i8") for name, text in values["starts"].items()},
        )


@dataclass(frozen=True)
class Evidence:
    """What speaks against "nothing changed" after a window.

    Attributes:
        log_value: natural logarithm of the model's value; 0 as long as no window has been judged.
        log_limit: natural logarithm of the average run length.
        windows: windows since the start, or since the last alarm, this one included.
        alarm: whether the value has reached the limit.
        features: natural logarithm of each watched feature's value.
        onset: start of the first window that is likely different: the maximum-likelihood estimate of the detector
            that saw most; None when none of them leans towards a change.
    """

    log_value: float
    log_limit: float
    windows: int
    alarm: bool
    features: Mapping[str, float]
    onset: datetime | None


def step(
    limits: Limits,
    state: DetectorState,
    window: Profile,
    *,
    window_start: datetime,
    rows_per_block: float,
    average_run_length: float,
) -> tuple[DetectorState, Evidence]:
    """Return the state and the evidence after one more window; after an alarm the state is a fresh one.

    Args:
        limits: of the baseline.
        state: after the window before.
        window: the profile of its rows. A window without rows adds nothing and does not count.
        window_start: its start.
        rows_per_block: rows that one block of the baseline's length brings in serving.
        average_run_length: windows between false alarms, on average, at least.

    Raises:
        MonitorError: the state or the window belongs to another baseline.
    """
    if state.limits_id != limits.id or window.bins.id != limits.bins.id:
        raise MonitorError(
            "The detector's state and the window are not of one baseline.",
            hint="Start a new state for a new baseline: DetectorState.start(limits).",
        )
    if window.rows:
        state = _advance(limits, state, window, microseconds(window_start), rows_per_block)
    evidence = _evidence(state, math.log(average_run_length))
    return (DetectorState.start(limits) if evidence.alarm else state), evidence


def _advance(limits: Limits, state: DetectorState, window: Profile, start: int, rows_per_block: float) -> DetectorState:
    # Windows shorter than a block share what the block may say.
    most = math.log(limits.blocks + 1) * window.rows / rows_per_block
    values, sums, starts = {}, {}, {}
    for name in limits.watched:
        one = limits.features[name]
        phi = float(design_effect(rows_per_block, one.rho))
        ratios = one.log_ratios(window.cells(name), phi, most)
        values[name] = np.logaddexp(0.0, state.log_values[name]) + ratios
        # A sum that has fallen to nothing begins anew: what came before speaks for "no change".
        sums[name] = np.maximum(0.0, state.sums[name]) + ratios
        starts[name] = np.where(state.sums[name] <= 0, start, state.starts[name])
    return DetectorState(limits.id, state.windows + 1, values, sums, starts)


def _evidence(state: DetectorState, log_limit: float) -> Evidence:
    if not state.windows or not state.log_values:
        return Evidence(0.0, log_limit, state.windows, False, {}, None)
    features = {name: float(logsumexp(each)) - math.log(each.size) for name, each in state.log_values.items()}
    log_value = float(logsumexp(list(features.values()))) - math.log(len(features))
    name = max(state.sums, key=lambda one: float(state.sums[one].max()))
    strongest = int(state.sums[name].argmax())
    onset = None
    if state.sums[name].flat[strongest] > 0:
        onset = _EPOCH + timedelta(microseconds=int(state.starts[name].flat[strongest]))
    return Evidence(log_value, log_limit, state.windows, log_value >= log_limit, features, onset)


def _packed(values: NDArray[Any], dtype: str) -> dict[str, Any]:
    data = zlib.compress(values.astype(dtype).tobytes())
    return {"shape": list(values.shape), "data": base64.b64encode(data).decode()}


def _unpacked(packed: Mapping[str, Any], dtype: str) -> NDArray[Any]:
    data = zlib.decompress(base64.b64decode(packed["data"]))
    return np.frombuffer(data, dtype).reshape(packed["shape"])
