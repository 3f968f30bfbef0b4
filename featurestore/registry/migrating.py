"""The registry's database, brought up to date when it is opened."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, inspect, select, text

from featurestore.database import Database
from featurestore.errors import RegistryError
from featurestore.registry.schema import metadata

#: The newest step in ``migrations/versions``; it stands here so that opening need not import Alembic.
REVISION = "0005"

#: Names Alembic's table, so that another part's migrations can share a database.
VERSION_TABLE = "registry_revision"

#: As Alembic makes it.
_versions = Table(
    VERSION_TABLE,
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc"),
)

_MIGRATIONS = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 7_305_217_441
_HINT = 'Write registry = "sqlite:///data/registry.db" in featurestore.toml, or a postgresql+psycopg URL.'


def open_database(url: str) -> Database:
    """Open a registry's database and migrate it if it is older than this release.

    Args:
        url: a SQLAlchemy URL; ``sqlite:///data/registry.db`` or ``postgresql+psycopg://...``.

    Raises:
        RegistryError: the URL is not one, the database cannot be opened, or a newer release has changed its schema.
    """
    database = Database(url, what="registry", error=RegistryError, hint=_HINT)
    try:
        with database.read() as connection:
            current = _is_current(database, connection)
        if not current:
            _migrate(database)
    except BaseException:
        database.close()
        raise
    return database


def _is_current(database: Database, connection: Connection) -> bool:
    stored = _revision(connection)
    if stored > REVISION:
        raise RegistryError(
            f"The registry {database.name} has schema {stored}, of a newer release; this one knows up to {REVISION}.",
            hint="Upgrade the featurestore package here.",
        )
    return stored == REVISION


def _migrate(database: Database) -> None:
    database.enable_write_ahead_log()
    # The transaction is the lock: a second process waits here, then finds nothing left to do.
    with database.write() as connection:
        if database.dialect == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        if _is_current(database, connection):
            return
        if _revision(connection):
            _upgrade(connection)
        else:
            # Step by step it would be the same, and take four times as long; a test compares the two.
            metadata.create_all(connection, checkfirst=False)
            _versions.create(connection, checkfirst=True)
            connection.execute(_versions.insert().values(version_num=REVISION))


def _upgrade(connection: Connection) -> None:
    # Imported here because it takes 0.3 s, which every command would pay.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes.update(connection=connection, version_table=VERSION_TABLE)
    command.upgrade(config, "head")


def _revision(connection: Connection) -> str:
    if not inspect(connection).has_table(VERSION_TABLE):
        return ""
    stored: str | None = connection.execute(select(_versions.c.version_num)).scalar()
    return stored or ""
