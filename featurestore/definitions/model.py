"""A trained model, as it is entered in the registry."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from featurestore.definitions.arguments import check_mapping, check_text, is_number
from featurestore.definitions.evaluation import Evaluation
from featurestore.definitions.names import check_name
from featurestore.errors import DefinitionError, closest

#: The most that the registry keeps of one.
_COMMIT = 100


@dataclass(frozen=True, kw_only=True)
class Model:
    """What was trained, on what, and how well it did.

    Attributes:
        name: its name in the project; each record makes its next version.
        service: the service whose features it takes: ``flight_delay@1``.
        dataset: the dataset that it was trained on: ``delays_2013q1@1``.
        hyperparameters: as JSON values.
        metrics: finite numbers by name.
        feature_importances: finite numbers by feature, over any of the service's features; the monitor's alerts put
            the features that matter first.
        git_commit: the code that trained it.
        environment: what it was trained with: versions by package, or whatever else its author wants to find again.
        evaluation: what it predicts, and how its predictions meet their outcomes.
        importance_intervals: low and high end by feature, of any of ``feature_importances``.

    Raises:
        DefinitionError: a name cannot be one, a number is not finite, an interval has no importance or does not hold
            it, or the commit is none.
    """

    name: str
    service: str
    dataset: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    feature_importances: Mapping[str, float] = field(default_factory=dict)
    git_commit: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    evaluation: Evaluation = field(default_factory=Evaluation)
    importance_intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.name, "a model")
        what = f'Model "{self.name}"'
        for text in ("service", "dataset", "git_commit"):
            check_text(getattr(self, text), what, text)
        if len(self.git_commit) > _COMMIT or not self.git_commit.isprintable():
            raise DefinitionError(
                f"{what} has a git_commit that names none.", hint="Give its hash: git rev-parse HEAD prints it."
            )
        if not isinstance(self.hyperparameters, Mapping):
            raise DefinitionError(
                f"{what} has hyperparameters={self.hyperparameters!r}, which is not a dict.",
                hint='Write hyperparameters={"alpha": 1.0}.',
            )
        object.__setattr__(self, "hyperparameters", dict(self.hyperparameters))
        for numbers in ("metrics", "feature_importances"):
            object.__setattr__(self, numbers, finite_numbers(getattr(self, numbers), what, numbers))
        intervals = checked_intervals(self.importance_intervals, self.feature_importances, what)
        object.__setattr__(self, "importance_intervals", intervals)
        if not isinstance(self.evaluation, Evaluation):
            raise DefinitionError(
                f"{what} has evaluation={self.evaluation!r}, which is no Evaluation.",
                hint='Write evaluation=Evaluation(task="binary").',
            )
        object.__setattr__(self, "environment", check_mapping(self.environment, what, "environment"))


def finite_numbers(value: object, what: str, argument: str) -> dict[str, float]:
    """Return a copy of a mapping of texts to finite numbers.

    Raises:
        DefinitionError: it is something else.
    """
    if not isinstance(value, Mapping):
        raise DefinitionError(
            f"{what} has {argument}={value!r}, which is not a dict.", hint=f'Write {argument}={{"name": 0.5}}.'
        )
    for name, number in value.items():
        # NumPy's numbers are what training code has at hand; they count as the floats that they are.
        plain = number.item() if hasattr(number, "item") else number
        if not isinstance(name, str) or not is_number(plain) or not math.isfinite(plain):
            raise DefinitionError(
                f"{what} has {name!r}: {number!r} in its {argument}, which is not a finite number by name.",
                hint="Leave out what could not be computed.",
            )
    return {name: float(number) for name, number in value.items()}


def checked_intervals(value: object, numbers: Mapping[str, float], what: str) -> dict[str, tuple[float, float]]:
    """Return a copy of a mapping of names to the two ends of an interval around the number of that name.

    Raises:
        DefinitionError: it is something else, a name has no number, or its number lies outside.
    """
    if not isinstance(value, Mapping):
        raise DefinitionError(
            f"{what} has importance_intervals={value!r}, which is not a dict.",
            hint='Write importance_intervals={"name": (0.4, 0.6)}.',
        )
    found = {}
    for name, ends in value.items():
        if name not in numbers:
            raise DefinitionError(
                f"{what} has an interval of {name!r}, which has no importance.", hint=closest(str(name), numbers)
            )
        try:
            low, high = (float(one) for one in ends)
        except (TypeError, ValueError):
            low = high = math.nan
        if not (math.isfinite(low) and math.isfinite(high) and low <= numbers[name] <= high):
            raise DefinitionError(
                f"{what} has {ends!r} as the interval of {name!r}, whose importance is {numbers[name]!r}.",
                hint="Give two finite numbers, with the importance between them.",
            )
        found[name] = (low, high)
    return found
