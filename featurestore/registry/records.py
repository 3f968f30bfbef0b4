"""What the registry hands out: plain values, free of SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from featurestore.definitions import Definition

D = TypeVar("D", bound=Definition, covariant=True)


@dataclass(frozen=True, kw_only=True)
class Registered(Generic[D]):
    """One immutable version of a definition.

    Attributes:
        project: the namespace.
        kind: ``entity``, ``feature_view``, ``on_demand_feature_view``, ``feature_service`` or ``monitor_policy``.
        name: the object's name, unique in the project over all kinds.
        version: counts from 1 within this registry.
        content_hash: identifies the version between registries.
        definition: the object as it was applied.
        pins: the versions of the definitions that it refers to, by name: a view's entities, an on-demand view's
            inputs, a service's views (stored and on-demand), a policy's service.
        applied_at: when this version was first applied.
        applied_by: who applied it.
    """

    project: str
    kind: str
    name: str
    version: int
    content_hash: str
    definition: D
    pins: Mapping[str, int] = field(default_factory=dict)
    applied_at: datetime
    applied_by: str

    @property
    def id(self) -> str:
        """``weather@1``."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, kw_only=True)
class Load:
    """One published load of rows into a table.

    Attributes:
        load_id: the same id twice is one load.
        storage_id: the table.
        order: position among the table's loads in commit order, from 1; it breaks ties between rows.
        table_version: the Delta version that published it.
        published_at: ``ingested_at`` of its rows.
        rows_read: rows that came in; written + quarantined.
        rows_written: rows published.
        rows_quarantined: rows kept aside.
        reasons: rows per reason of quarantine.
        author: who loaded.
    """

    load_id: str
    storage_id: str
    order: int
    table_version: int
    published_at: datetime
    rows_read: int
    rows_written: int
    rows_quarantined: int
    reasons: Mapping[str, int]
    author: str


@dataclass(frozen=True, kw_only=True)
class DatasetRecord:
    """One immutable version of a training dataset; ``manifest`` says how it was made."""

    name: str
    version: int
    manifest: Mapping[str, Any]
    created_at: datetime
    created_by: str

    @property
    def id(self) -> str:
        """``delays_2013q1@1``."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """One trained model: what it was trained on and how well it did."""

    name: str
    version: int
    service: str
    dataset: str
    hyperparameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    git_commit: str
    created_at: datetime
    created_by: str

    @property
    def id(self) -> str:
        """``flight_delay_ridge@1``."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """One change: who did what to which object, when; ``hash`` covers it and the entry before."""

    sequence: int
    at: datetime
    who: str
    action: str
    object: str
    details: Mapping[str, Any]
    previous_hash: str
    hash: str


@dataclass(frozen=True, kw_only=True)
class Materialization:
    """One finished copy of a table's newest rows to the online store.

    Attributes:
        storage_id: the table.
        table_version: its Delta version that was read.
        until: rows with later event times were left out.
        counts: rows by what became of them (``read``, ``written``, ``older``, ``expired``, ``rejected``).
        finished_at: when it was done.
        author: who ran it.
    """

    storage_id: str
    table_version: int
    until: datetime
    counts: Mapping[str, int]
    finished_at: datetime
    author: str
