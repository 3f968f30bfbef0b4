"""When requests are to be sent. Nothing that a server does moves these instants: that is what makes the loop open.

The expected number of requests until t is a*t + (b - a)*t^2 / (2*T) for a rate that goes from a to b in T seconds; the
k-th request is sent where that is k, or for Poisson arrivals where it is the sum of k exponential variables.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featurestore.errors import ConfigError

_CHUNK = 1024
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
#: A second of this is more than any process sends.
_MOST_RATE = 1e6
_MOST_SECONDS = 86_400.0


def seconds_of(text: str, option: str) -> float:
    """Return the seconds of ``30s``, ``500ms``, ``2m`` or ``1h``.

    Args:
        text: what was written.
        option: where, for the message.

    Raises:
        ConfigError: it is no duration, or none that is over 0 and up to a day.
    """
    found = _DURATION.fullmatch(text.strip())
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0 < seconds <= _MOST_SECONDS:
        raise ConfigError(f'{option} "{text}" is no duration up to a day.', hint="Write it as 30s, 500ms, 2m or 1h.")
    return seconds


def rate_of(text: str, option: str) -> float:
    """Return a number of requests a second.

    Raises:
        ConfigError: it is none that is over 0 and up to a million.
    """
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate <= _MOST_RATE:
        raise ConfigError(f'{option} "{text}" is no rate.', hint="Write requests a second, over 0: 500.")
    return rate


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Requests over time.

    Attributes:
        first: requests a second at the beginning.
        last: at the end; another one than ``first`` makes a ramp.
        seconds: from beginning to end.
        poisson: whether requests come independently of one another, as those of many users do; else evenly spaced.
    """

    first: float
    last: float
    seconds: float
    poisson: bool = True

    @classmethod
    def ramp(cls, text: str, *, poisson: bool = True) -> Schedule:
        """Return the schedule of ``FROM:TO:DURATION``: ``100:5000:60s``.

        Raises:
            ConfigError: it is none.
        """
        parts = text.split(":")
        if len(parts) != 3:
            raise ConfigError(f'--ramp "{text}" is no ramp.', hint="Write FROM:TO:DURATION, such as 100:5000:60s.")
        first, last = (rate_of(one, "--ramp") for one in parts[:2])
        return cls(first=first, last=last, seconds=seconds_of(parts[2], "--ramp"), poisson=poisson)

    @property
    def is_ramp(self) -> bool:
        """Whether the rate changes."""
        return self.first != self.last

    @property
    def expected(self) -> float:
        """The expected number of requests."""
        return (self.first + self.last) / 2 * self.seconds

    def rate_at(self, second: float) -> float:
        """Return the requests a second that are asked for at an instant."""
        return self.first + (self.last - self.first) * second / self.seconds

    def __str__(self) -> str:
        arrivals = "Poisson arrivals" if self.poisson else "evenly spaced"
        rate = f"{self.first:,g} to {self.last:,g}" if self.is_ramp else f"{self.first:,g}"
        return f"{rate} requests/s for {self.seconds:g} s, {arrivals}"

    def instants(self, part: int = 0, parts: int = 1, *, seed: int = 0) -> Iterator[float]:
        """Yield the instants at which one of several senders sends, in seconds since the beginning, in order.

        Args:
            part: which of the senders, from 0.
            parts: how many there are; together they send what the schedule asks for.
            seed: of the Poisson arrivals.
        """
        random = np.random.default_rng([seed, part])
        done = 0.0 if self.poisson else float(part - parts)
        while True:
            steps = random.exponential(size=_CHUNK) if self.poisson else np.ones(_CHUNK)
            counts = done + np.cumsum(steps * parts)
            done = float(counts[-1])
            within = counts[counts < self.expected]
            yield from self._when(within).tolist()
            if len(within) < _CHUNK:
                return

    def _when(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        slope = (self.last - self.first) / self.seconds
        # The quadratic formula in the form that does not cancel, which also holds where the slope is 0.
        root = np.sqrt(np.maximum(self.first**2 + 2 * slope * counts, 0.0))
        found: NDArray[np.float64] = 2 * counts / (self.first + root)
        return found
