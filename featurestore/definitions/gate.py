"""When a load is unlike the loads before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from featurestore.definitions.arguments import is_number
from featurestore.errors import DefinitionError
from featurestore.places import remember

OnAnomaly = Literal["warn", "quarantine", "reject", "ignore"]

#: The least and the greatest value of each measure.
_RANGES: Mapping[str, tuple[float, float]] = {
    "rows": (1, 1_000_000),
    "nulls": (0, 1),
    "ranges": (0, 1),
    "distribution": (0, 1_000),
}


@dataclass(frozen=True, kw_only=True)
class LoadGate:
    """What a load is compared in with the view's last loads, and what becomes of one that differs.

    A load is anomalous where it differs by more than a measure allows **and** by more than the last loads differed from
    each other. So a view whose days are unlike each other is soon quiet, and small loads raise nothing: each measure
    takes off what chance explains. A measure that is None is not taken.

    The gate decides whether rows get in and never which values they have, so a change of it makes no new version.

    Attributes:
        on_anomaly: ``warn`` publishes the load and says it in the report, the table's log and the audit. With
            ``reject`` and ``quarantine`` readers keep the last good snapshot until someone accepts the rows
            (``accept_anomalies=True``): ``reject`` takes none of them, and they have to come again; ``quarantine``
            keeps all of them aside, with the reason. ``ignore`` does not compare.
        rows: how many times more rows than the largest, or fewer than the smallest of the last loads; from the fourth
            load on.
        nulls: by how much the share of nulls and NaN in a feature may grow over the largest of the last loads.
        ranges: the share of a numeric feature's values that may lie outside of the range of the last loads.
        distribution: the population stability index of a feature against the last load, over cells of equal share of
            that load; 0.1 is called a slight change and 0.25 a large one (Siddiqi, 2006).
        history: how many of the last loads it is compared with.

    Raises:
        DefinitionError: a number is outside its range.
    """

    on_anomaly: OnAnomaly = "warn"
    rows: float | None = 2.0
    nulls: float | None = 0.1
    ranges: float | None = 0.01
    distribution: float | None = 0.25
    history: int = 20

    def __post_init__(self) -> None:
        remember(self)
        if self.on_anomaly not in ("warn", "quarantine", "reject", "ignore"):
            raise DefinitionError(
                f"A load gate has on_anomaly={self.on_anomaly!r}.",
                hint='It is "warn", "quarantine", "reject" or "ignore".',
            )
        for name, (least, greatest) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and (not is_number(value) or not least <= value <= greatest):
                raise DefinitionError(
                    f"A load gate has {name}={value!r}.",
                    hint=f"It is a number from {least:,} to {greatest:,}, or None not to measure it.",
                )
        if type(self.history) is not int or not 1 <= self.history <= 1_000:
            raise DefinitionError(f"A load gate has history={self.history!r}.", hint="It is a number from 1 to 1,000.")

    def notes(self) -> dict[str, Any]:
        """Return what was set, as JSON values; :meth:`from_notes` reads it back."""
        usual = {one.name: one.default for one in fields(self)}
        return {name: value for name, value in asdict(self).items() if value != usual[name]}

    @classmethod
    def from_notes(cls, notes: Mapping[str, Any]) -> LoadGate:
        """Return the gate that :meth:`notes` came from."""
        return cls(**notes)
