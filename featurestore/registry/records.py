"""What the registry hands out: plain values, free of SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

from featurestore.definitions import Definition, Evaluation

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
        decode: returns the definition.
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
    decode: Callable[[], D] = field(repr=False, compare=False)
    pins: Mapping[str, int] = field(default_factory=dict)
    applied_at: datetime
    applied_by: str

    @cached_property
    def definition(self) -> D:
        """The object as it was applied; decoded when first asked for, because most lists are read for the names."""
        return self.decode()

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
        rows_read: rows that came in; written + quarantined + suppressed.
        rows_written: rows published.
        rows_quarantined: rows kept aside.
        reasons: rows per reason of quarantine.
        author: who loaded.
        withdrawn_at: when a restore took its rows out again; None if they are in.
        rows_suppressed: rows dropped, because they are of someone who was erased.
        reason: why it was loaded, where the commit was asked for it; the ledger does not keep it.
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
    withdrawn_at: datetime | None = None
    rows_suppressed: int = 0
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class DatasetRecord:
    """One immutable version of a training dataset; ``manifest`` says how it was made.

    ``removed_at`` says when its rows were removed; None if they are there.
    """

    name: str
    version: int
    manifest: Mapping[str, Any]
    created_at: datetime
    created_by: str
    removed_at: datetime | None = None

    @property
    def id(self) -> str:
        """``delays_2013q1@1``."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """One recorded version of a :class:`featurestore.Model`; ``service`` and ``dataset`` name versions.

    ``reference_performance`` is how it did when it was new, as the monitor measured it; empty while nothing is known.
    """

    name: str
    version: int
    service: str
    dataset: str
    hyperparameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    feature_importances: Mapping[str, float]
    environment: Mapping[str, str]
    git_commit: str
    created_at: datetime
    created_by: str
    evaluation: Evaluation = field(default_factory=Evaluation)
    importance_intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    reference_performance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """``flight_delay_ridge@1``."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """One change: who did what to which object, when; ``hash`` covers it and the entry before.

    Attributes:
        sequence: its place in the project's log, from 1.
        at: when.
        who: the name that was proved, or a user and host marked as unverified.
        origin: from where: ``host``, and ``program`` (``featurestore`` is the command line); empty in entries of
            releases that did not keep it.
        action: what was done.
        object: to what.
        details: how; what it was before and after.
        previous_hash: of the entry before.
        hash: over all of that.
    """

    sequence: int
    at: datetime
    who: str
    origin: Mapping[str, str] = field(default_factory=dict)
    action: str
    object: str
    details: Mapping[str, Any]
    previous_hash: str
    hash: str


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A name that a person or machine proves by a key.

    Attributes:
        name: the name that stands in the audit log.
        public_key: ``ed25519:`` and base64.
        added_at: when it was added, the last time.
        added_by: who added it.
        revoked_at: when it lost its standing; None if it has it.
    """

    name: str
    public_key: str
    added_at: datetime
    added_by: str
    revoked_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Token:
    """What a caller of the server shows, as the registry keeps it: its hash, and how far it reaches.

    Attributes:
        name: what people call it.
        id: the public part of the token: ``fs_<id>_...``.
        digest: SHA-256 of the whole token, in hexadecimal.
        scopes: of :data:`featurestore.registry.tokens.SCOPES`.
        services: the feature services that it may read, and whose signals it may see; empty for all.
        views: the feature views that it may push to; empty for all.
        created_at: when it was made.
        created_by: who made it.
        expires_at: from when on it is not valid; None if it does not expire.
        revoked_at: when it was revoked; None if it was not.
    """

    name: str
    id: str
    digest: str = field(repr=False)
    scopes: tuple[str, ...]
    services: tuple[str, ...]
    views: tuple[str, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None

    def state(self, now: datetime) -> Literal["valid", "expired", "revoked"]:
        """Return what it is worth at an instant."""
        if self.revoked_at is not None:
            return "revoked"
        return "valid" if self.expires_at is None or now < self.expires_at else "expired"


@dataclass(frozen=True, kw_only=True)
class Alias:
    """Where an alias of a service points.

    Attributes:
        service: the service's name.
        alias: ``production``, ``canary`` or any other.
        version: the version that it points to.
        share: of a canary, the share of the routing keys that it gets, 0 to 1; 1 of any other.
        moved_at: when it came to point there, or got its share; None if a release that kept no time moved it.
        moved_by: who moved it.
        before: where a rollback leads, step by step.
    """

    service: str
    alias: str
    version: int
    share: float
    moved_at: datetime | None
    moved_by: str
    before: tuple[int, ...]

    @property
    def id(self) -> str:
        """``flight_delay@3``."""
        return f"{self.service}@{self.version}"


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """A promotion that needs somebody else's approval, and what became of it.

    Attributes:
        number: counts from 1 in the project.
        service: the service's name.
        version: the version that is to be promoted.
        alias: the alias that is to point there.
        share: of a canary, the share that it is to get.
        state: ``pending``, ``approved`` (the alias has moved) or ``rejected``.
        requested_at: when.
        requested_by: who asked.
        decided_at: when it was approved or rejected; None while it is pending.
        decided_by: who has approved so far, or who rejected it.
    """

    number: int
    service: str
    version: int
    alias: str
    share: float
    state: Literal["pending", "approved", "rejected"]
    requested_at: datetime
    requested_by: str
    decided_at: datetime | None
    decided_by: tuple[str, ...]

    @property
    def id(self) -> str:
        """``flight_delay@3``."""
        return f"{self.service}@{self.version}"


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
