"""What senders count while they send; those of several are added up."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from featurestore.loadtest.histogram import BINS, Counts, bin_of

#: A ramp is judged in so many steps; there are as many slices of time, or a multiple.
STEPS = 20
_MOST_PER_STEP = 15


def slices_of(seconds: float) -> int:
    """Return into how many slices a test of so many seconds is cut: of about a second, if that is not too many."""
    return STEPS * min(_MOST_PER_STEP, max(1, math.ceil(seconds / STEPS)))


@dataclass(kw_only=True)
class Tally:
    """Counts by slice of time.

    Attributes:
        seconds: of the whole schedule.
        scheduled: requests by the slice of their scheduled instant.
        failed: those of them without a response.
        answered: responses by the slice in which they came; the slice after the last has those that came later.
        latencies: of shape (slices, BINS), by the slice of the scheduled instant: from there to the response, or to
            where it was given up.
        lag: of shape (slices, BINS): from when a request could be sent to when it was, which is the sender's own fault.
        codes: by gRPC status.
        row_statuses: of the views of rows, in the responses that were looked into.
        services: what answered, in those responses.
        held: requests that waited because as many as allowed had no response.
        unsent: requests whose turn never came.
        longest: the longest latency, in seconds.
        longest_lag: the longest lag.
    """

    seconds: float
    scheduled: Counts = field(init=False)
    failed: Counts = field(init=False)
    answered: Counts = field(init=False)
    latencies: NDArray[np.int64] = field(init=False)
    lag: NDArray[np.int64] = field(init=False)
    codes: Counter[str] = field(default_factory=Counter)
    row_statuses: Counter[str] = field(default_factory=Counter)
    services: Counter[str] = field(default_factory=Counter)
    held: int = 0
    unsent: int = 0
    longest: float = 0.0
    longest_lag: float = 0.0

    def __post_init__(self) -> None:
        slices = slices_of(self.seconds)
        self.scheduled, self.failed = np.zeros(slices, np.int64), np.zeros(slices, np.int64)
        self.answered = np.zeros(slices + 1, np.int64)
        self.latencies = np.zeros((slices, BINS), np.int64)
        self.lag = np.zeros((slices, BINS), np.int64)

    def slice_at(self, second: float) -> int:
        """Return the slice of an instant of the schedule."""
        return min(int(second / self.seconds * len(self.scheduled)), len(self.scheduled) - 1)

    def send(self, due: float, lag: float) -> None:
        """Count a request that is sent.

        Args:
            due: its scheduled instant.
            lag: seconds that the sender was late for it.
        """
        here = self.slice_at(due)
        self.scheduled[here] += 1
        self.lag[here, bin_of(lag)] += 1
        self.longest_lag = max(self.longest_lag, lag)

    def give_up(self, due: float) -> None:
        """Count a request that is never sent."""
        self.scheduled[self.slice_at(due)] += 1
        self.failed[self.slice_at(due)] += 1
        self.unsent += 1
        self.codes["NOT_SENT"] += 1

    def end(self, due: float, at: float, code: str, *, waited: bool) -> None:
        """Count how a request ended.

        Args:
            due: its scheduled instant.
            at: when it ended, in seconds of the schedule.
            code: the gRPC status.
            waited: whether the time counts: that of a response, or of a wait that was given up. A refusal at once
                would make a server look fast.
        """
        self.codes[code] += 1
        if code == "OK":
            self.answered[self.slice_at(at) if at < self.seconds else -1] += 1
        else:
            self.failed[self.slice_at(due)] += 1
        if waited:
            self.latencies[self.slice_at(due), bin_of(at - due)] += 1
            self.longest = max(self.longest, at - due)

    def add(self, other: Tally) -> None:
        """Add the counts of another sender of the same schedule."""
        for name in ("scheduled", "failed", "answered", "latencies", "lag"):
            total = getattr(self, name)
            total += getattr(other, name)
        for name in ("codes", "row_statuses", "services"):
            getattr(self, name).update(getattr(other, name))
        self.held += other.held
        self.unsent += other.unsent
        self.longest = max(self.longest, other.longest)
        self.longest_lag = max(self.longest_lag, other.longest_lag)
