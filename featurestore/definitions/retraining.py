"""When a monitor asks for a new model, and of which rows it is to be made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, get_args

from featurestore.definitions.arguments import check_duration, check_flag, check_list, check_text, is_number
from featurestore.definitions.names import check_name, check_unique
from featurestore.errors import DefinitionError, closest
from featurestore.places import remember

Cause = Literal[
    "drift",
    "performance",
    "business_metric",
    "stale_training_data",
    "new_data",
    "configuration_drift",
    "changed_definitions",
]
#: What may ask for a new model by itself.
CAUSES: tuple[str, ...] = get_args(Cause)

_MICROSECOND = timedelta(microseconds=1)
#: Fields of the spec that are lengths of time.
_DURATIONS = ("max_age", "cooldown", "expires_after", "history")


@dataclass(frozen=True, kw_only=True)
class RetrainingPolicy:
    """What makes a monitor send retraining signals, how many at most, who has to agree, and what to train on.

    ``MonitorPolicy(retrain=True)`` is the same as ``retrain=RetrainingPolicy()``.

    Attributes:
        causes: what asks for a new model by itself: any of :data:`CAUSES`. A person may always ask.
        features: the features whose drift is a cause, by the names that they have in the service; none for all.
        least_importance: the share of the importances of all features (0 to 1) that a feature of the model must have
            for its drift to be a cause. Of a model that has none recorded each feature counts.
        metrics: ``business_metric``: metrics of logged outcomes whose mean may fall by that part of it since the model
            was new: ``{"revenue": 0.05}``.
        max_age: ``stale_training_data``: how old the newest row of the training data may be.
        new_rows: ``new_data``: how many rows since the training data are enough; 0 lets ``new_share`` say it alone.
        new_share: the same as a share of the rows of the training data; 0 lets ``new_rows`` say it alone. Both: either.
        cooldown: the least time between two signals of one service.
        budget: the most signals of one service in 91 days; those that a person asks for count and are never refused.
        approval: whether a person has to agree before a signal goes out.
        expires_after: how long a signal waits for that.
        history: how long a period the new training data is of, up to the newest rows whose outcomes are known; None
            for as long a one as the data of the model at hand.
        entity_rows: a SELECT of join keys, request fields, instants and label; over the named FileSources of the
            project, and over ``serving_log``, ``predictions`` and ``outcomes``. "" takes what was served, with what
            came of it as the label.
        dataset: the name of the new training data; "" for the next version of the data at hand.
        routes: names of channels in ``featurestore.toml`` that get the signals; none for those of the policy.
        approval_routes: channels that are asked to agree; none for those that get the signals.

    Raises:
        DefinitionError: a value is none of those.
    """

    causes: Sequence[str] = ("drift", "performance")
    features: Sequence[str] = ()
    least_importance: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    max_age: timedelta = timedelta(days=14)
    new_rows: int = 0
    new_share: float = 0.5
    cooldown: timedelta = timedelta(days=1)
    budget: int = 12
    approval: bool = False
    expires_after: timedelta = timedelta(days=7)
    history: timedelta | None = None
    entity_rows: str = ""
    dataset: str = ""
    routes: Sequence[str] = ()
    approval_routes: Sequence[str] = ()

    def __post_init__(self) -> None:
        remember(self)
        what = "A RetrainingPolicy"
        for names in ("causes", "features", "routes", "approval_routes"):
            listed = check_list(getattr(self, names), what, names)
            for one in listed:
                check_text(one, what, f"a {names.removesuffix('s').replace('_', ' ')}")
            check_unique(listed, what)
            object.__setattr__(self, names, listed)
        for cause in self.causes:
            if cause not in CAUSES:
                raise DefinitionError(
                    f'{what} has the cause "{cause}", which there is not.',
                    hint=closest(cause, CAUSES) or f"It is one of {', '.join(CAUSES)}.",
                )
        check_flag(self.approval, what, "approval")
        for name in ("entity_rows", "dataset"):
            check_text(getattr(self, name), what, name)
        if self.dataset:
            check_name(self.dataset, "a dataset")
        self._check_numbers(what)
        self._check_metrics(what)
        self._check_durations(what)

    def spec(self) -> dict[str, Any]:
        """Return what can change a signal, as JSON values: only what is not as usual."""
        spec: dict[str, Any] = {}
        for one in dataclasses.fields(self):
            value = getattr(self, one.name)
            if value == one.default or value == {}:
                continue
            if one.name in _DURATIONS:
                spec[f"{one.name}_us"] = value // _MICROSECOND
            else:
                spec[one.name] = list(value) if isinstance(value, tuple) else value
        return spec

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> RetrainingPolicy:
        """Return the policy that :meth:`spec` came from."""
        values = {
            name.removesuffix("_us"): value * _MICROSECOND if name.endswith("_us") else value
            for name, value in spec.items()
        }
        return cls(**values)

    def _check_numbers(self, what: str) -> None:
        for name, least, unit in (("new_rows", 0, "rows"), ("budget", 1, "signals in 91 days")):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= 2**53:
                raise DefinitionError(f"{what} has {name}={value!r}.", hint=f"It is a number of {unit}, over {least}.")
        share = self.least_importance
        if not is_number(share) or not 0 <= share <= 1:
            raise DefinitionError(
                f"{what} has least_importance={share!r}.", hint="It is a share of all importances, 0 to 1."
            )
        if not is_number(self.new_share) or not 0 <= self.new_share <= 1000:
            raise DefinitionError(
                f"{what} has new_share={self.new_share!r}.",
                hint="It is a share of the rows of the training data: 0.5 is half as many.",
            )
        if "new_data" in self.causes and not self.new_rows and not self.new_share:
            raise DefinitionError(
                f'{what} has the cause "new_data", and neither new_rows nor new_share says how many are enough.',
                hint="Write new_rows=100_000, or new_share=0.5.",
            )

    def _check_metrics(self, what: str) -> None:
        if not isinstance(self.metrics, Mapping) or not all(isinstance(one, str) and one for one in self.metrics):
            raise DefinitionError(
                f"{what} has metrics={self.metrics!r}, which is not a dict by name.",
                hint='Write metrics={"revenue": 0.05}.',
            )
        for name, share in self.metrics.items():
            if not is_number(share) or not 0 < share < 1:
                raise DefinitionError(
                    f'{what} lets "{name}" fall by {share!r}.', hint="It is a part of its mean, between 0 and 1."
                )
        if bool(self.metrics) != ("business_metric" in self.causes):
            raise DefinitionError(
                f'{what} has metrics={self.metrics!r}, and "business_metric" is '
                f"{'not ' if self.metrics else ''}among its causes.",
                hint='Write causes=["business_metric"], metrics={"revenue": 0.05}.',
            )
        object.__setattr__(self, "metrics", dict(self.metrics))

    def _check_durations(self, what: str) -> None:
        for name in _DURATIONS:
            value = getattr(self, name)
            if name == "history" and value is None:
                continue
            least = timedelta(0) if name == "cooldown" else timedelta(seconds=1)
            check_duration(value, what, name, least=least, hint="Give a length of time, over 0.")
