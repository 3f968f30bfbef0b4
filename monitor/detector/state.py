"""What a detector remembers between windows, and what it says after one."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore import formats
from featurestore.errors import MonitorError
from monitor.detector.events import Direction, Kind
from monitor.detector.launch import Launch
from monitor.detector.limits import ALTERNATIVES, Limits

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: 1 was a state by feature, without kinds.
_FORMAT = 2


@dataclass(frozen=True, eq=False)
class DetectorState:
    """What a detector remembers between windows: plain, small, and enough to go on after a restart.

    Arrays are of shape (events, alternatives), with the events in the order of :attr:`Limits.flat`.

    Attributes:
        limits_id: the limits it belongs to; "" when it was read from a format that is no longer known.
        windows: windows since the start, or since the last alarm.
        values: the value of each detector, from 0 on. In single precision, rounded towards 0: the budget is kept.
        sums: the largest sum of each detector's latest log ratios, over where to begin (Page's CUSUM).
        starts: the window where that sum begins, in microseconds since 1970; 0 where the sum is nothing.
        launch: what was seen in the first days.
    """

    limits_id: str
    windows: int
    values: NDArray[np.float32]
    sums: NDArray[np.float32]
    starts: NDArray[np.int64]
    launch: Launch

    @classmethod
    def start(cls, limits: Limits) -> DetectorState:
        """Return the state before the first window."""
        shape = (len(limits.pooled), len(ALTERNATIVES))
        return cls(
            limits_id=limits.id,
            windows=0,
            values=np.zeros(shape, np.float32),
            sums=np.zeros(shape, np.float32),
            starts=np.zeros(shape, np.int64),
            launch=Launch.start(len(limits.pooled)),
        )

    @property
    def first(self) -> datetime | None:
        """Start of the first window that was judged against these limits; None before it."""
        return None if self.launch.first is None else _EPOCH + timedelta(microseconds=self.launch.first)

    @property
    def launched(self) -> bool:
        """Whether a launch mismatch was found, so that limits allow what was seen at launch as well."""
        return self.launch.mismatch

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; :meth:`from_dict` reads them back exactly."""
        return {
            "format": _FORMAT,
            "limits": self.limits_id,
            "windows": self.windows,
            "values": _packed(self.values, "<f4"),
            "sums": _packed(self.sums, "<f4"),
            "starts": _packed(self.starts, "<i8"),
            "launch": {
                "first": self.launch.first,
                "period": self.launch.period,
                "windows": self.launch.windows,
                "mismatch": self.launch.mismatch,
                "end": self.launch.end,
            }
            | {name: _packed(getattr(self.launch, name), "<f8") for name in Launch.ARRAYS},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DetectorState:
        """Return the state that :meth:`to_dict` came from.

        One of an older format belongs to no limits: start anew, as for a new baseline.

        Raises:
            MonitorError: it is of a newer format. Who began anew would forget what a newer monitor has seen.
        """
        if values.get("format", 1) > _FORMAT:
            raise formats.newer("The state of a detector", values["format"], _FORMAT, error=MonitorError)
        if values.get("format") != _FORMAT:
            empty = np.zeros((0, len(ALTERNATIVES)))
            none = (empty.astype(np.float32), empty.astype(np.float32), empty.astype(np.int64))
            return cls("", 0, *none, Launch.start(0))
        launch = values["launch"]
        return cls(
            limits_id=values["limits"],
            windows=values["windows"],
            values=_unpacked(values["values"], "<f4"),
            sums=_unpacked(values["sums"], "<f4"),
            starts=_unpacked(values["starts"], "<i8"),
            launch=Launch(
                launch["first"],
                launch["end"],
                launch["period"],
                launch["windows"],
                launch["mismatch"],
                *(_unpacked(launch[name], "<f8") for name in Launch.ARRAYS),
            ),
        )


@dataclass(frozen=True)
class Moved:
    """What of a feature has most likely changed: its detector with the largest sum of log ratios.

    Attributes:
        kind: drift, unless only another kind leans towards a change.
        onset: start of the first window that is likely different.
        log_ratio: the sum of log ratios since then.
        direction: ``up`` and ``down`` of numbers, ``more`` or ``fewer`` rows of one cell.
        cells: the cells of ``Profile.cells``, the first and the last and one, that got more rows (``fewer``: lost).
    """

    kind: Kind
    onset: datetime
    log_ratio: float
    direction: Direction
    cells: tuple[int, int]


@dataclass(frozen=True)
class Evidence:
    """What speaks against "nothing changed" after a window.

    Attributes:
        log_value: natural logarithm of the model's value, the mean over kinds by their shares of the budget; 0 as long
            as no window has been judged.
        log_limit: natural logarithm of the average run length; with one for each kind, of that of all together.
        windows: windows since the start, or since the last alarm, this one included.
        alarm: whether the value has reached the limit; with one for each kind, whether one of them has.
        features: natural logarithm of each watched feature's value: of drift, where its values can give evidence, else
            of what can.
        onset: start of the first window that is likely different: the maximum-likelihood estimate of the detector
            that saw most, among the kinds that alarm if some do; None when none of them leans towards a change.
        kinds: natural logarithm of each feature's value, by kind.
        log_values: natural logarithm of each kind's value, the mean over its features.
        log_limits: natural logarithm of what each kind alarms at by itself.
        alarms: the kinds that alarm, the surest first.
        directions: by feature, what of it has most likely changed; features that hardly lean anywhere have none.
        launch: whether the alarm is a launch mismatch: the difference is there since the first block of rows that was
            judged against this baseline. It is said once for a state; what comes later is judged against what was seen
            at launch as well.
    """

    log_value: float
    log_limit: float
    windows: int
    alarm: bool
    features: Mapping[str, float]
    onset: datetime | None
    kinds: Mapping[Kind, Mapping[str, float]] = field(default_factory=dict)
    log_values: Mapping[Kind, float] = field(default_factory=dict)
    log_limits: Mapping[Kind, float] = field(default_factory=dict)
    alarms: tuple[Kind, ...] = ()
    directions: Mapping[str, Moved] = field(default_factory=dict)
    launch: bool = False


def _packed(values: NDArray[Any], dtype: str) -> dict[str, Any]:
    data = zlib.compress(values.astype(dtype).tobytes())
    return {"shape": list(values.shape), "data": base64.b64encode(data).decode()}


def _unpacked(packed: Mapping[str, Any], dtype: str) -> NDArray[Any]:
    data = zlib.decompress(base64.b64decode(packed["data"]))
    return np.frombuffer(data, dtype).reshape(packed["shape"])
