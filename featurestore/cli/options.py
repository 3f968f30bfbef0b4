"""Options that several commands share.

The modules of the command line import the libraries that do the work inside the commands that need them: ``--help`` and
completion in the shell are to answer at once.
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from featurestore.store import FeatureStore

Repo = Annotated[Path, typer.Option("--repo", "-C", help="The folder with featurestore.toml.")]
HERE = Path()


class Format(StrEnum):
    """How a command prints its result."""

    text = "text"
    json = "json"


OutputFormat = Annotated[Format, typer.Option("--format", help="text, or json for programs.")]


def open_store(repo: Path, replay: str = "") -> FeatureStore:
    """Return the feature store of a folder.

    Raises:
        ConfigError: there is none, or its settings are wrong.
    """
    from featurestore.store import FeatureStore

    return FeatureStore(repo, replay=replay)


def print_json(value: Any) -> None:
    """Print a value as JSON; instants as ISO 8601."""
    typer.echo(json.dumps(value, indent=2, default=str))
