"""The database's own facts, and what all tables share."""

from __future__ import annotations

from sqlalchemy import Column, MetaData, String, Table

#: Grows with each change of the tables; :mod:`monitor.migrating` has a step for each.
VERSION = 4

#: The oldest version whose releases may read and write these tables; see
#: :data:`featurestore.registry.migrating.READABLE_FROM`.
READABLE_FROM = 4

metadata = MetaData()

#: Facts about the database itself: ``schema_version``, ``readable_from``, ``release`` (that brought it there),
#: ``instance`` (its random name).
meta = Table("meta", metadata, Column("key", String, primary_key=True), Column("value", String, nullable=False))
