"""The registry's database, brought up to date.

A file of SQLite is one machine's: who opens it brings it up to date, and nobody has to know. A server has others, who
may not be ready: there it waits for ``featurestore upgrade``.

The number of a schema grows with every step, also with one that a release before need not know of: a column with a
default, a table. So that servers of two neighbouring releases work side by side, the database also says from which
number on a release may use it, :data:`READABLE_FROM`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, inspect, select, text

from featurestore import __version__, formats
from featurestore.database import Database
from featurestore.errors import RegistryError
from featurestore.registry.schema import metadata

#: The newest step in ``migrations/versions``; it stands here so that opening need not import Alembic.
REVISION = "0005"

#: The oldest schema whose releases may read and write these tables. A step that only adds leaves it as it is; one that
#: takes away what they use raises it, and comes no sooner than with the release after the last that used it.
READABLE_FROM = "0005"

#: Names Alembic's table, so that another part's migrations can share a database.
VERSION_TABLE = "registry_revision"

#: As Alembic makes it, and what releases before have to know; it passes over that.
_versions = Table(
    VERSION_TABLE,
    MetaData(),
    Column("version_num", String(32), nullable=False),
    Column("readable_from", String(32)),
    Column("release", String(32)),
    PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc"),
)
_SAID = (_versions.c.readable_from, _versions.c.release)

_MIGRATIONS = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 7_305_217_441
_HINT = 'Write registry = "sqlite:///data/registry.db" in featurestore.toml, or a postgresql+psycopg URL.'


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a registry's database says of its schema.

    Attributes:
        name: its URL without its password.
        revision: its newest step; "" where there are no tables yet.
        readable_from: the oldest schema whose releases may use it.
        release: which one brought it there; "" where it does not say.
        shared: whether others than this machine may use it.
    """

    name: str
    revision: str
    readable_from: str
    release: str
    shared: bool

    @property
    def is_readable(self) -> bool:
        """Whether this release may use it as it is, or bring it up to date."""
        return self.readable_from <= REVISION

    def refusal(self) -> RegistryError:
        """Return what is raised where it is not."""
        return RegistryError(
            f"The registry {self.name} has schema {self.revision}, of "
            f"{f'release {self.release}' if self.release else 'a newer release'}; this one, {__version__}, knows up to "
            f"{REVISION}.",
            hint=formats.upgrade_to(self.release),
        )


def open_database(url: str, *, upgrade: bool = False) -> Database:
    """Open a registry's database; one in a file is migrated if it is older than this release.

    Args:
        url: a SQLAlchemy URL; ``sqlite:///data/registry.db`` or ``postgresql+psycopg://...``.
        upgrade: whether to migrate one on a server too.

    Raises:
        RegistryError: the URL is not one, the database cannot be opened, a newer release has changed its schema, or it
            is on a server and older.
    """
    database = Database(url, what="registry", error=RegistryError, hint=_HINT)
    try:
        with database.read() as connection:
            current = _is_current(database, connection, upgrade=upgrade)
        if not current:
            _migrate(database, upgrade=upgrade)
    except BaseException:
        database.close()
        raise
    return database


def found_schema(url: str) -> Found:
    """Return what a registry's database says of its schema. Nothing is made and nothing is changed.

    Raises:
        RegistryError: the URL is not one, or the database cannot be opened.
    """
    prefix = "sqlite:///"
    if url.startswith(prefix) and not Path(url.removeprefix(prefix)).exists():  # opening would make it
        return Found(name=url, revision="", readable_from="", release="", shared=False)
    database = Database(url, what="registry", error=RegistryError, hint=_HINT)
    try:
        with database.read() as connection:
            return _found(database, connection)
    finally:
        database.close()


def _is_current(database: Database, connection: Connection, *, upgrade: bool) -> bool:
    found = _found(database, connection)
    if not found.is_readable:
        raise found.refusal()
    if "" < found.revision < REVISION and found.shared and not upgrade:
        raise RegistryError(
            f"The registry {database.name} has schema {found.revision}, of an older release; this one, {__version__}, "
            f"needs {REVISION}.",
            hint="Bring it up to date first: featurestore upgrade. Servers of the release before go on meanwhile.",
        )
    return found.revision >= REVISION


def _found(database: Database, connection: Connection) -> Found:
    revision = _revision(connection)
    readable_from, release = revision, ""
    if revision > REVISION:
        there = {one["name"] for one in inspect(connection).get_columns(VERSION_TABLE)}
        if there.issuperset(one.name for one in _SAID):
            said = connection.execute(select(*_SAID)).one()
            readable_from, release = said.readable_from or revision, said.release or ""
    shared = database.dialect != "sqlite"
    return Found(name=database.name, revision=revision, readable_from=readable_from, release=release, shared=shared)


def _migrate(database: Database, *, upgrade: bool) -> None:
    database.enable_write_ahead_log()
    # The transaction is the lock: a second process waits here, then finds nothing left to do.
    with database.write() as connection:
        if database.dialect == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        if _is_current(database, connection, upgrade=upgrade):
            return
        if _revision(connection):
            _upgrade(connection)
            _say(connection)
        else:
            # Step by step it would be the same, and take four times as long; a test compares the two.
            metadata.create_all(connection, checkfirst=False)
            _versions.create(connection, checkfirst=True)
            connection.execute(_versions.insert().values(version_num=REVISION, **_facts()))


def _upgrade(connection: Connection) -> None:
    # Imported here because it takes 0.3 s, which every command would pay.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes.update(connection=connection, version_table=VERSION_TABLE)
    command.upgrade(config, "head")


def _say(connection: Connection) -> None:
    """Write what releases before have to know; their tables of versions have no columns for it."""
    there = {one["name"] for one in inspect(connection).get_columns(VERSION_TABLE)}
    for one in _SAID:
        if one.name not in there:
            connection.execute(text(f"ALTER TABLE {VERSION_TABLE} ADD COLUMN {one.name} VARCHAR(32)"))
    connection.execute(_versions.update().values(**_facts()))


def _facts() -> dict[str, str]:
    return {"readable_from": READABLE_FROM, "release": __version__}


def _revision(connection: Connection) -> str:
    if not inspect(connection).has_table(VERSION_TABLE):
        return ""
    stored: str | None = connection.execute(select(_versions.c.version_num)).scalar()
    return stored or ""
