"""Names that the shell completes.

Whoever presses a key waits for this, so that it opens no feature store: it asks the registry's table of objects, and
reads it only. Where anything is wrong there is nothing to complete, and nothing is said.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import typer

from featurestore import config as configuration

_MOST = 200
_NAMES = (
    "SELECT name, kind FROM objects WHERE project = :project AND removed_at IS NULL "
    "AND substr(name, 1, :length) = :begin ORDER BY name"
)
_VERSIONS = "SELECT version, applied_by FROM versions WHERE project = :project AND name = :begin ORDER BY version"

_SQLITE = "sqlite:///"


def names_of(*kinds: str) -> Callable[[typer.Context, str], list[tuple[str, str]]]:
    """Return a function that completes the names of objects of these kinds, or of all; after ``@`` their versions."""

    def complete(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
        name, at, _ = incomplete.partition("@")
        try:
            config = configuration.load(ctx.params.get("repo") or Path())
            url = config.database_url(config.registry)
            rows = _rows(url, _VERSIONS if at else _NAMES, {"project": config.project, "begin": name})
        except Exception:  # noqa: BLE001 - an error would be written into the line that somebody types
            return []
        if at:
            found = [(f"{name}@{version}", f"by {who}") for version, who in rows]
        else:
            found = [(known, kind) for known, kind in rows if not kinds or kind in kinds]
        return [one for one in found if one[0].startswith(incomplete)][:_MOST]

    return complete


def _rows(url: str, query: str, values: dict[str, str]) -> list[tuple[str, str]]:
    bound = {**values, "length": len(values["begin"])}
    if url.startswith(_SQLITE):
        file = f"file:{quote(url.removeprefix(_SQLITE))}?mode=ro"
        with closing(sqlite3.connect(file, uri=True, timeout=0.2)) as connection:
            return connection.execute(query, bound).fetchall()
    from sqlalchemy import create_engine, make_url, text

    engine = create_engine(make_url(url).update_query_dict({"connect_timeout": "2"}))
    try:
        with engine.connect() as server:
            return [(str(row[0]), str(row[1])) for row in server.execute(text(query), bound)]
    finally:
        engine.dispose()
