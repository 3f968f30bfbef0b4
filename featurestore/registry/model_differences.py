"""What is different in one recorded model from another: what it was trained on and with, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from featurestore import markup
from featurestore.definitions import FeatureService
from featurestore.registry.differences import Difference
from featurestore.registry.records import DatasetRecord, ModelRecord


class Numbers(NamedTuple):
    """A number of both models.

    Attributes:
        name: ``rmse``, or a feature.
        a: of the first; None where it has none.
        b: of the second.
        a_interval: around ``a``, where it is known.
        b_interval: around ``b``.
    """

    name: str
    a: float | None
    b: float | None
    a_interval: tuple[float, float] | None = None
    b_interval: tuple[float, float] | None = None

    @property
    def change(self) -> float | None:
        """By how much the second is larger; None where one of them is not known."""
        return None if self.a is None or self.b is None else self.b - self.a


@dataclass(frozen=True, kw_only=True)
class Made:
    """One model, with what it was made of.

    Attributes:
        model: its record.
        service: the version of the service whose features it takes.
        dataset: what it was trained on; its rows may have been removed since.
    """

    model: ModelRecord
    service: FeatureService
    dataset: DatasetRecord

    @property
    def features(self) -> list[str]:
        """The names of its features, in order."""
        return [one.name for fields in self.service.outputs.values() for one in fields]


@dataclass(frozen=True, kw_only=True)
class ModelComparison:
    """Two models side by side.

    Attributes:
        a: the first.
        b: the second.
        metrics: at training, of either.
        importances: of features, the most important of either first.
        hyperparameters: those that differ.
        features_added: that the second takes, and the first does not.
        features_removed: the other way round.
        dataset: what differs in the manifests of their datasets: rows, instants, label, split, hashes.
        evaluation: what differs in how predictions meet outcomes.
        environment: packages of which they had different versions.
    """

    a: Made
    b: Made
    metrics: tuple[Numbers, ...]
    importances: tuple[Numbers, ...]
    hyperparameters: tuple[Difference, ...]
    features_added: tuple[str, ...]
    features_removed: tuple[str, ...]
    dataset: tuple[Difference, ...] = field(default=())
    evaluation: tuple[Difference, ...] = field(default=())
    environment: tuple[Difference, ...] = field(default=())

    def _repr_html_(self) -> str:
        """What a notebook shows: numbers side by side, then what else differs."""
        numbers = [
            (what, one.name, _shown(one.a), _shown(one.b), _shown(one.change, "+"))
            for what, many in (("metric", self.metrics), ("importance", self.importances))
            for one in many
        ]
        others = [
            (what, one.path, str(one.old), str(one.new), "")
            for what in ("hyperparameters", "dataset", "evaluation", "environment")
            for one in getattr(self, what)
        ]
        others += [("feature", name, "", "taken", "") for name in self.features_added]
        others += [("feature", name, "taken", "", "") for name in self.features_removed]
        titles = ("", "", self.a.model.id, self.b.model.id, "change")
        caption = f"{self.a.model.id} and {self.b.model.id}"
        return markup.text_of(markup.table(titles, [*numbers, *others], caption=caption))


#: What of a manifest tells two datasets apart for people.
_OF_DATASETS = (
    "rows",
    "first_instant",
    "last_instant",
    "label",
    "as_of",
    "known_at",
    "split",
    "service_hash",
    "content_hash",
)


def compare_models(a: Made, b: Made) -> ModelComparison:
    """Return what is different in the second model from the first.

    Args:
        a: the first.
        b: the second.
    """
    one, other = a.model, b.model
    mine, its = a.features, b.features
    return ModelComparison(
        a=a,
        b=b,
        metrics=tuple(
            Numbers(name, one.metrics.get(name), other.metrics.get(name)) for name in _names(one.metrics, other.metrics)
        ),
        importances=_importances(one, other),
        hyperparameters=_differences(one.hyperparameters, other.hyperparameters),
        features_added=tuple(name for name in its if name not in mine),
        features_removed=tuple(name for name in mine if name not in its),
        dataset=_differences(_facts(a.dataset), _facts(b.dataset)),
        evaluation=_differences(one.evaluation.to_dict(), other.evaluation.to_dict()),
        environment=_differences(one.environment, other.environment),
    )


def _importances(a: ModelRecord, b: ModelRecord) -> tuple[Numbers, ...]:
    found = [
        Numbers(
            name,
            a.feature_importances.get(name),
            b.feature_importances.get(name),
            a.importance_intervals.get(name),
            b.importance_intervals.get(name),
        )
        for name in _names(a.feature_importances, b.feature_importances)
    ]
    # By size: the importance of a linear model's feature may be below 0.
    return tuple(sorted(found, key=lambda one: -max(abs(value) for value in (one.a, one.b) if value is not None)))


def _shown(value: float | None, sign: str = "-") -> str:
    return "" if value is None else f"{value:{sign}.4g}"


def _facts(dataset: DatasetRecord) -> dict[str, Any]:
    return {name: dataset.manifest.get(name) for name in _OF_DATASETS}


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Difference, ...]:
    return tuple(
        Difference(path=name, old=a.get(name), new=b.get(name)) for name in _names(a, b) if a.get(name) != b.get(name)
    )


def _names(a: Iterable[str], b: Iterable[str]) -> list[str]:
    """Return the names of both, those of the first in their order, and then those of the second alone."""
    return list(dict.fromkeys([*a, *b]))
