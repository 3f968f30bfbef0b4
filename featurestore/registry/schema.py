"""The registry's tables.

Instants are integers, microseconds since 1970 in UTC, and structured values are JSON text, so that SQLite and
PostgreSQL keep them alike. The same tables are built step by step in ``migrations/``; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

#: One row a project. Every writer locks it first, so that numbers given within a project have no gaps; the audit
#: log's head stands here too, so that a log whose tail was cut off is noticed.
projects = Table(
    "projects",
    metadata,
    Column("project", String(100), primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("audit_sequence", BigInteger, nullable=False),
    Column("audit_hash", String(64), nullable=False),
)

objects = Table(
    "objects",
    metadata,
    Column("project", String(100), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("current_version", Integer, nullable=False),
    Column("removed_at", BigInteger),
)

versions = Table(
    "versions",
    metadata,
    Column("project", String(100), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("content_hash", String(64), nullable=False),
    Column("spec", Text, nullable=False),
    Column("notes", Text, nullable=False),
    Column("pins", Text, nullable=False),
    Column("applied_at", BigInteger, nullable=False),
    Column("applied_by", Text, nullable=False),
    ForeignKeyConstraint(["project", "name"], ["objects.project", "objects.name"], name="fk_versions_objects"),
    UniqueConstraint("project", "name", "content_hash", name="uq_versions_content_hash"),
)

#: A stack for each alias: the highest position is where it points, the one below is where a rollback leads. An alias
#: may stand for a share of the requests for a service's bare name, between 0 and 1.
aliases = Table(
    "aliases",
    metadata,
    Column("project", String(100), primary_key=True),
    Column("service", String(100), primary_key=True),
    Column("alias", String(100), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    Column("share", Float, nullable=False, server_default="1"),
    Column("moved_at", BigInteger, nullable=False, server_default="0"),
    Column("moved_by", Text, nullable=False, server_default=""),
    ForeignKeyConstraint(
        ["project", "service", "version"],
        ["versions.project", "versions.name", "versions.version"],
        name="fk_aliases_versions",
    ),
)

#: Promotions that wait for somebody else's approval, and what became of them.
promotions = Table(
    "promotions",
    metadata,
    Column("project", String(100), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("service", String(100), nullable=False),
    Column("version", Integer, nullable=False),
    Column("alias", String(100), nullable=False),
    Column("share", Float, nullable=False),
    Column("state", String(20), nullable=False),
    Column("requested_at", BigInteger, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("decided_at", BigInteger),
    Column("decided_by", Text),
    ForeignKeyConstraint(
        ["project", "service", "version"],
        ["versions.project", "versions.name", "versions.version"],
        name="fk_promotions_versions",
    ),
)

#: People and machines that prove who they are by a key; for all projects of the registry.
identities = Table(
    "identities",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("public_key", String(100), nullable=False),
    Column("added_at", BigInteger, nullable=False),
    Column("added_by", Text, nullable=False),
    Column("revoked_at", BigInteger),
)

#: What callers of the server show. A digest is SHA-256 of the whole token, which stands nowhere; ``services`` and
#: ``views`` are empty where a token is not limited to some. A name that was revoked or has expired may be given again.
tokens = Table(
    "tokens",
    metadata,
    Column("project", String(100), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("token_id", String(20), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("services", Text, nullable=False),
    Column("views", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("expiry_entered_at", BigInteger),
    UniqueConstraint("token_id", name="uq_tokens_token_id"),
)

#: An owner's leave for another project to use one of its views.
consents = Table(
    "consents",
    metadata,
    Column("project", String(100), primary_key=True),
    Column("view", String(100), primary_key=True),
    Column("consumer", String(100), primary_key=True),
    Column("given_at", BigInteger, nullable=False),
    Column("given_by", Text, nullable=False),
    ForeignKeyConstraint(["project", "view"], ["objects.project", "objects.name"], name="fk_consents_objects"),
)

loads = Table(
    "loads",
    metadata,
    Column("project", String(100), primary_key=True),
    Column("storage_id", String(200), primary_key=True),
    Column("load_id", String(200), primary_key=True),
    Column("load_order", BigInteger, nullable=False),
    Column("table_version", BigInteger, nullable=False),
    Column("published_at", BigInteger, nullable=False),
    Column("rows_read", BigInteger, nullable=False),
    Column("rows_written", BigInteger, nullable=False),
    Column("rows_quarantined", BigInteger, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("rows_suppressed", BigInteger, nullable=False, server_default="0"),
    Column("withdrawn_at", BigInteger),
    UniqueConstraint("project", "storage_id", "load_order", name="uq_loads_order"),
)

#: Whom a load may not bring back: keys of erased people as keyed hashes.
suppressions = Table(
    "suppressions",
    metadata,
    Column("project", String(100), primary_key=True),
    Column("join_keys", String(400), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("request", String(100), nullable=False),
    Column("erased_at", BigInteger, nullable=False),
    Column("erased_by", Text, nullable=False),
)

#: Files of tables that an erasure has written anew: what was pinned under the old name is read under the new one.
rewritten_files = Table(
    "rewritten_files",
    metadata,
    Column("project", String(100), primary_key=True),
    Column("storage_id", String(200), primary_key=True),
    Column("file", String(400), primary_key=True),
    Column("replaced_by", String(400)),
    Column("rows_erased", BigInteger, nullable=False),
    Column("request", String(100), nullable=False),
)

materializations = Table(
    "materializations",
    metadata,
    Column("project", String(100), primary_key=True),
    Column("storage_id", String(200), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("table_version", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("counts", Text, nullable=False),
    Column("finished_at", BigInteger, nullable=False),
    Column("author", Text, nullable=False),
)

datasets = Table(
    "datasets",
    metadata,
    Column("project", String(100), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("manifest", Text, nullable=False),
    Column("removed_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("project", String(100), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("service", String(100), nullable=False),
    Column("service_version", Integer, nullable=False),
    Column("dataset", String(100), nullable=False),
    Column("dataset_version", Integer, nullable=False),
    Column("hyperparameters", Text, nullable=False),
    Column("metrics", Text, nullable=False),
    Column("git_commit", String(100), nullable=False),
    Column("feature_importances", Text, nullable=False, server_default="{}"),
    Column("environment", Text, nullable=False, server_default="{}"),
    Column("evaluation", Text, nullable=False, server_default="{}"),
    Column("importance_intervals", Text, nullable=False, server_default="{}"),
    Column("reference_performance", Text, nullable=False, server_default="{}"),
    Column("removed_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    ForeignKeyConstraint(
        ["project", "service", "service_version"],
        ["versions.project", "versions.name", "versions.version"],
        name="fk_models_versions",
    ),
    ForeignKeyConstraint(
        ["project", "dataset", "dataset_version"],
        ["datasets.project", "datasets.name", "datasets.version"],
        name="fk_models_datasets",
    ),
)

audit = Table(
    "audit",
    metadata,
    Column("project", String(100), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("action", String(40), nullable=False),
    Column("object", String(300), nullable=False),
    Column("details", Text, nullable=False),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    # Which versions an alias has left lately is asked at each load, and a log of loads gets long.
    Index("ix_audit_action", "project", "action", "at"),
)
