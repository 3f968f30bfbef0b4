"""Which rows a monitor compares with, where those of the newest training dataset are not meant."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from featurestore.definitions.arguments import check_text
from featurestore.errors import DefinitionError
from featurestore.places import remember
from featurestore.types import utc

_DATASET = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*(?:@[1-9][0-9]{0,8})?")


@dataclass(frozen=True, kw_only=True)
class BaselineSource:
    """The rows of a training dataset, or those of a period of serving, as a monitor's baseline.

    A training set that was down-sampled, or that has labelled rows only, is not the traffic: a filter and weights make
    it so. ``BaselineSource(weight="sample_weight")`` weighs the rows of the dataset that would be taken anyhow;
    ``BaselineSource(since="2026-03-01", until="2026-04-01")`` takes what was served in March.

    Attributes:
        dataset: ``delays@1``; None for that of the service version's newest model, else the newest made for it.
        since: the first instant of a period of the stream that is watched; with ``until``, and without ``dataset``.
        until: the first instant after it. The baseline is fitted once the stream is complete up to there, and kept.
        filter: SQL that is true for the rows that count, over any column that they have: ``"label IS NOT NULL"``.
        weight: the column that says how many rows of the traffic each row stands for; "" for one each.

    Raises:
        DefinitionError: both a dataset and a period are named, or half a period, or one that ends before it begins.
        TimestampError: an instant names no time zone.
    """

    dataset: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    filter: str = ""
    weight: str = ""

    def __post_init__(self) -> None:
        remember(self)
        what = "A BaselineSource"
        if self.dataset is not None and (not isinstance(self.dataset, str) or not _DATASET.fullmatch(self.dataset)):
            raise DefinitionError(
                f"{what} has dataset={self.dataset!r}, which names none.", hint='Write its version: dataset="delays@1".'
            )
        for name in ("since", "until"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, utc(getattr(self, name), f"{name} of a BaselineSource"))
        if (self.since is None) != (self.until is None):
            raise DefinitionError(
                f"{what} has half a period: since={self.since}, until={self.until}.",
                hint="Give both, so that the baseline stays the same.",
            )
        if self.since is not None and self.until is not None:
            if self.dataset is not None:
                raise DefinitionError(
                    f"{what} names both a dataset and a period.", hint="Take the dataset, or what was served."
                )
            if self.since >= self.until:
                raise DefinitionError(
                    f"{what} begins at {self.since.isoformat()}, which is not before its end.", hint="Swap them."
                )
        check_text(self.filter, what, "filter")
        check_text(self.weight, what, "weight")

    @property
    def automatic(self) -> bool:
        """Whether it is what there would be without it, or names a dataset whose baseline is stored as it is meant."""
        return self.since is None and not self.filter and not self.weight

    def spec(self) -> dict[str, Any]:
        """Return what can change a decision, as JSON values."""
        return {
            "dataset": self.dataset,
            "since": None if self.since is None else self.since.isoformat(),
            "until": None if self.until is None else self.until.isoformat(),
            "filter": self.filter.strip(),
            "weight": self.weight,
        }

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> BaselineSource:
        """Return the source that :meth:`spec` came from."""
        instants = {
            name: None if spec[name] is None else datetime.fromisoformat(spec[name]) for name in ("since", "until")
        }
        return cls(dataset=spec["dataset"], filter=spec["filter"], weight=spec["weight"], **instants)
