"""Options that several commands share.

The modules of the command line import the libraries that do the work inside the commands that need them: ``--help`` and
completion in the shell are to answer at once.
"""

from __future__ import annotations

import json
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featurestore.errors import DataError, FeatureStoreError

if TYPE_CHECKING:
    from featurestore.registry import Registry
    from featurestore.store import FeatureStore

Repo = Annotated[Path, typer.Option("--repo", "-C", help="The folder with featurestore.toml.")]
HERE = Path()


class Format(StrEnum):
    """How a command prints its result."""

    text = "text"
    json = "json"


class PlanFormat(StrEnum):
    """How a command prints what is different."""

    text = "text"
    markdown = "markdown"
    json = "json"


PlanOutputFormat = Annotated[
    PlanFormat, typer.Option("--format", help="text, markdown for a pull request, or json for programs.")
]
OutputFormat = Annotated[Format, typer.Option("--format", help="text, or json for programs.")]


def open_store(repo: Path, replay: str = "") -> FeatureStore:
    """Return the feature store of a folder.

    Raises:
        ConfigError: there is none, or its settings are wrong.
    """
    from featurestore.store import FeatureStore

    return FeatureStore(repo, replay=replay)


def all_views(store: FeatureStore) -> list[str]:
    """Return the names of a store's feature views; where it has none, say so."""
    names = [one.name for one in store.registry.list("feature_view")]
    if not names:
        typer.echo("There is no feature view. Next: featurestore apply")
    return names


def warn_of_low_disk(store: FeatureStore, place: Path | None = None) -> None:
    """Say, before rows are written, if the disk of a place has little room; that of the tables when none is given."""
    from featurestore.offline.places import local_folder
    from featurestore.offline.tables.disk import low_disk

    offline = store.config.offline
    said = low_disk(place or local_folder(store.config), offline.low_disk_mb)
    if said is not None:
        typer.secho(f"Warning: {said}", err=True, fg=typer.colors.YELLOW)


def open_registry_of(repo: Path) -> Registry:
    """Return the registry of a feature store's folder, without the stores of rows, which take longer to import.

    Raises:
        ConfigError: there is none, or its settings are wrong.
        RegistryError: it cannot be opened.
    """
    from featurestore import config as configuration
    from featurestore.registry import open_registry

    config = configuration.load(repo)
    return open_registry(config.database_url(config.registry), config.project)


def checked_query(sql: str) -> str:
    """Return the query of ``--sql``; the store would take another text for the path of a file.

    Raises:
        DataError: it is no query.
    """
    if sql and (sql.upper().split() or [""])[0] not in ("SELECT", "WITH"):
        raise DataError(f'The query of --sql, "{sql}", is none.', hint="It begins with SELECT or WITH.")
    return sql


def instant(text: str, option: str) -> datetime | None:
    """Return the instant that an option names; None if the option is not given.

    Raises:
        TimestampError: it is no instant, or names no time zone.
    """
    from featurestore.types import utc

    return utc(text, option) if text else None


_COLORS = {"+": typer.colors.GREEN, "~": typer.colors.YELLOW, "-": typer.colors.RED, "!": typer.colors.RED}


def print_colored(text: str, output: PlanFormat) -> None:
    """Print a plan or a difference; what is for people's eyes is coloured by the sign of each line."""
    for line in text.splitlines():
        typer.secho(line, fg=_COLORS.get(line.lstrip()[:1]) if output is PlanFormat.text else None)


def show_error(error: FeatureStoreError) -> None:
    """Print a user's mistake: the sentence, and what to do."""
    typer.secho(f"Error: {error.sentence}", err=True, fg=typer.colors.RED)
    if error.hint:
        typer.echo(f"Hint: {error.hint}", err=True)


def print_json(value: Any) -> None:
    """Print a value as JSON; instants as ISO 8601."""
    typer.echo(json.dumps(value, indent=2, default=_json))


def _json(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
