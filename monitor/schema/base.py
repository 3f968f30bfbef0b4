"""The database's own facts, and what all tables share."""

from __future__ import annotations

from sqlalchemy import Column, MetaData, String, Table

#: Grows with each change of the tables; :mod:`monitor.migrating` has a step for each.
VERSION = 4

metadata = MetaData()

#: Facts about the database itself: ``schema_version``, ``instance`` (its random name).
meta = Table("meta", metadata, Column("key", String, primary_key=True), Column("value", String, nullable=False))
