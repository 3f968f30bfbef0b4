"""What is different in one training dataset from another, as values and as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from featurestore.markup import Printed

#: What a manifest says of how a dataset was made, under the word that people read.
_SAID = {
    "service": "service",
    "label": "label",
    "timestamp_field": "instants",
    "as_of": "as of",
    "known_at": "known at",
    "full_feature_names": "full names",
    "split": "split",
    "hyperparameters": "hyperparameters",
    "git_commit": "git commit",
}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Something that a manifest says otherwise; None where one does not say it."""

    what: str
    old: Any
    new: Any


@dataclass(frozen=True, kw_only=True)
class RowsDiff:
    """Entity rows, known by their keys and their instant; a row that comes twice counts twice.

    Attributes:
        added: rows that only the new dataset has.
        removed: rows that only the old one has.
        common: rows that both have.
    """

    added: int
    removed: int
    common: int


@dataclass(frozen=True, kw_only=True)
class ColumnDiff:
    """A column that both datasets have, and whose values are not all the same.

    Attributes:
        name: the column.
        changed: common rows whose value is another one; None where rows cannot be told apart.
        compared: common rows that were looked at: those whose keys and instant come once in each.
        population_stability: the index over bins of the old rows, nulls left out; None where a side has only nulls,
            or the type has no bins.
        null_rate: of the old rows, and of the new ones.
        mean: of the finite numbers of each; None where there are none, or the field is tagged ``pii``.
    """

    name: str
    changed: int | None
    compared: int
    population_stability: float | None
    null_rate: tuple[float, float]
    mean: tuple[float | None, float | None]


@dataclass(frozen=True, kw_only=True)
class DatasetDiff(Printed):
    """What is different in one dataset from another.

    Attributes:
        old: ``delays@1``.
        new: ``delays@2``.
        same: whether their rows are the same, by their hashes.
        count: how many rows the old one has, and the new one.
        rows: which rows; None where the two have not the same keys.
        definitions: what the manifests say otherwise.
        added: columns that only the new one has, with their types.
        removed: columns that only the old one has.
        retyped: columns with another type: the old and the new one.
        columns: columns with other values.
    """

    old: str
    new: str
    same: bool
    count: tuple[int, int]
    rows: RowsDiff | None
    definitions: tuple[Difference, ...]
    added: Mapping[str, str]
    removed: Mapping[str, str]
    retyped: Mapping[str, tuple[str, str]]
    columns: tuple[ColumnDiff, ...]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"~ {self.old} -> {self.new}" + (" (the same rows)" if self.same else "")
        rows = f"  rows         {self.count[0]:,} -> {self.count[1]:,}"
        if self.rows is None:
            yield f"{rows}; they cannot be told apart: the datasets have not the same keys"
        else:
            yield f"{rows}: {self.rows.added:,} added, {self.rows.removed:,} removed, {self.rows.common:,} common"
        for one in self.definitions:
            yield f"~ {one.what:12} {_shown(one.old)} -> {_shown(one.new)}"
        for sign, columns in (("+", self.added), ("-", self.removed)):
            for name, dtype in columns.items():
                yield f"{sign} column       {name} ({dtype})"
        for name, (before, after) in self.retyped.items():
            yield f"~ column       {name}: {before} -> {after}"
        width = max((len(one.name) for one in self.columns), default=0)
        for column in self.columns:
            yield f"~ values       {column.name:{width}}  {', '.join(_about(column))}"


def definitions_differ(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Return what two manifests, of any format, say otherwise of how the datasets were made."""
    found: list[tuple[str, Any, Any]] = [(word, old.get(key), new.get(key)) for key, word in _SAID.items()]
    for kind, word in (("views", "view"), ("on_demand_views", "on-demand")):
        found += [
            (word, _version(name, old[kind].get(name)), _version(name, new[kind].get(name)))
            for name in dict.fromkeys([*old[kind], *new[kind]])
        ]
    found += [
        (f"table of {name}", _table(old["views"][name]), _table(new["views"][name]))
        for name in old["views"]
        if name in new["views"]
    ]
    packages = [one["environment"]["packages"] for one in (old, new)]
    found += [
        (f"package {name}", packages[0].get(name), packages[1].get(name))
        for name in sorted({*packages[0], *packages[1]}, key=str.lower)
    ]
    return tuple(
        Difference(what=what, old=before, new=after)
        for what, before, after in found
        if (before or None) != (after or None)
    )


def _table(about: Mapping[str, Any]) -> str:
    return f"{about['storage_id']} at version {about['table_version']}"


def _version(name: str, about: Mapping[str, Any] | None) -> str | None:
    return None if about is None else f"{name}@{about['version']}"


def _shown(value: Any) -> str:
    if value in (None, "", {}):
        return "none"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)


def _about(column: ColumnDiff) -> Iterator[str]:
    if column.changed is not None and column.compared:
        yield f"{column.changed:,} of {column.compared:,} common rows changed"
    if column.population_stability is not None:
        yield f"PSI {column.population_stability:.3f}"
    if column.null_rate[0] or column.null_rate[1]:
        yield f"null {column.null_rate[0]:.1%} -> {column.null_rate[1]:.1%}"
    if None not in column.mean:
        yield f"mean {column.mean[0]:.6g} -> {column.mean[1]:.6g}"
