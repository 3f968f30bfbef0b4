"""A monitor policy: what is watched, how often it may be wrong, and who hears of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from featurestore.definitions.arguments import (
    check_duration,
    check_flag,
    check_list,
    check_mapping,
    check_text,
    is_number,
)
from featurestore.definitions.names import check_name, check_unique
from featurestore.definitions.service import FeatureService
from featurestore.errors import DefinitionError
from featurestore.places import remember


@dataclass(frozen=True, kw_only=True)
class MonitorPolicy:
    """How one service is watched.

    Attributes:
        name: its name in the project.
        service: the service whose serving log is watched.
        window: the length of one window of the log; windows start at multiples of it since 1970, UTC.
        average_run_length: windows between false alarms, on average, at least: the false-alarm budget. One a
            quarter with hourly windows is 2160.
        smallest_change: the smallest change of a probability that matters, between 0 and 1.
        effect_threshold: the least effect (0 to 1; see docs/glossary.md) of which anyone is told.
        routes: names of channels in ``featurestore.toml``.
        retrain: whether an alarm also sends a retraining signal.
        description: for people.
        owner: for people.
        tags: for people.

    Raises:
        DefinitionError: a number is outside its range.
    """

    name: str
    service: FeatureService
    window: timedelta = timedelta(hours=1)
    average_run_length: float = 2160
    smallest_change: float = 0.02
    effect_threshold: float = 0.1
    routes: Sequence[str] = ()
    retrain: bool = True
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        remember(self)
        check_name(self.name, "a monitor policy")
        what = f'Monitor policy "{self.name}"'
        if not isinstance(self.service, FeatureService):
            raise DefinitionError(f"{what} watches {self.service!r}, which is not a FeatureService.")
        check_duration(
            self.window, what, "window", least=timedelta(seconds=1), hint="A window lasts a second to 100 years."
        )
        if not is_number(self.average_run_length) or not 1 < self.average_run_length < math.inf:
            raise DefinitionError(
                f"{what} has average_run_length={self.average_run_length!r}.", hint="It is a number of windows, over 1."
            )
        for name in ("smallest_change", "effect_threshold"):
            value = getattr(self, name)
            if not is_number(value) or not 0 < value < 1:
                raise DefinitionError(f"{what} has {name}={value!r}.", hint="It is a number between 0 and 1.")
        routes = check_list(self.routes, what, "routes")
        for route in routes:
            check_text(route, what, "a route")
        check_unique(routes, what)
        check_flag(self.retrain, what, "retrain")
        for name in ("description", "owner"):
            check_text(getattr(self, name), what, name)
        object.__setattr__(self, "routes", routes)
        object.__setattr__(self, "tags", check_mapping(self.tags, what, "tags"))

    def spec(self) -> dict[str, Any]:
        """Return what can change a decision, as JSON values; the service, which has versions itself, counts by name."""
        return {
            "name": self.name,
            "service": self.service.name,
            "window_us": self.window // timedelta(microseconds=1),
            "average_run_length": self.average_run_length,
            "smallest_change": self.smallest_change,
            "effect_threshold": self.effect_threshold,
            "routes": list(self.routes),
            "retrain": self.retrain,
        }

    def notes(self) -> dict[str, Any]:
        """Return what only people read."""
        return {"description": self.description, "owner": self.owner, "tags": dict(self.tags)}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], notes: Mapping[str, Any], service: FeatureService) -> MonitorPolicy:
        """Return the policy that :meth:`spec` and :meth:`notes` came from."""
        values = dict(spec)
        window = timedelta(microseconds=values.pop("window_us"))
        values.pop("service")
        return cls(service=service, window=window, **values, **notes)
