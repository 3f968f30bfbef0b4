"""What a load test must reach: ``p99<5ms,errors<0.1%``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from featurestore.errors import ConfigError
from featurestore.loadtest.schedule import seconds_of

_TARGET = re.compile(r"\s*(p\d{1,2}(?:\.\d+)?|max|errors|rate)\s*(<=|>=|<|>)\s*(\S+)\s*")
_HINT = 'For example --target "p99<5ms,errors<0.1%", and after a ramp "rate>=2000".'


@dataclass(frozen=True, kw_only=True)
class Target:
    """One bound.

    Attributes:
        name: a percentile (``p99``), ``max``, ``errors`` or ``rate``.
        text: as it was written.
        bound: seconds, a share, or requests a second.
        inclusive: whether the bound itself is good.
    """

    name: str
    text: str
    bound: float
    inclusive: bool

    @property
    def percent(self) -> float | None:
        """The percentile; 100 for ``max``, None if it is about no latency."""
        if self.name == "max":
            return 100.0
        return float(self.name[1:]) if self.name.startswith("p") else None

    def holds(self, value: float | None) -> bool:
        """Return whether a value reaches it; nothing measured reaches nothing."""
        if value is None:
            return False
        if value == self.bound:
            return self.inclusive
        return value > self.bound if self.name == "rate" else value < self.bound


def parse_targets(text: str) -> tuple[Target, ...]:
    """Return the targets of a text; none of an empty one.

    Raises:
        ConfigError: a part is no target.
    """
    return tuple(_parse(part) for part in text.split(",")) if text.strip() else ()


def _parse(part: str) -> Target:
    found = _TARGET.fullmatch(part)
    if found is None:
        raise ConfigError(f'--target "{part.strip()}" is no target.', hint=_HINT)
    name, sign, value = found.groups()
    if (sign[0] == ">") != (name == "rate"):
        raise ConfigError(f'--target "{part.strip()}" would be reached by what is worse.', hint=_HINT)
    return Target(name=name, text=part.strip(), bound=_bound(name, value, part), inclusive=sign.endswith("="))


def _bound(name: str, value: str, part: str) -> float:
    try:
        if name == "errors":
            return float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
        if name == "rate":
            return float(value)
    except ValueError:
        raise ConfigError(f'--target "{part.strip()}" has no number.', hint=_HINT) from None
    return seconds_of(value, f"--target {name}")
