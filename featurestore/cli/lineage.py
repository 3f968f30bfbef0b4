"""The command that shows what is made from what."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from featurestore.cli.completion import names_of
from featurestore.cli.options import HERE, Repo, open_store


class LineageFormat(StrEnum):
    """How lineage is shown."""

    text = "text"
    mermaid = "mermaid"
    json = "json"
    openlineage = "openlineage"


def add_to(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command()(lineage)


def lineage(
    name: Annotated[
        str,
        typer.Argument(
            help="weather, weather@2:temp, flights.arr_delay, a service, a dataset, a model, a policy.",
            autocompletion=names_of(),
        ),
    ],
    up: Annotated[bool, typer.Option("--up", help="Only what it comes from.")] = False,
    down: Annotated[bool, typer.Option("--down", help="Only what comes from it.")] = False,
    depth: Annotated[int | None, typer.Option(min=1, help="How many steps far; all when not given.")] = None,
    repo: Repo = HERE,
    output: Annotated[
        LineageFormat,
        typer.Option("--format", help="text, a mermaid flowchart, json, or openlineage: an event on each line."),
    ] = LineageFormat.text,
) -> None:
    """Show what something comes from and what comes from it, from source columns to models and monitors."""
    with open_store(repo) as store:
        found = store.lineage(name, up=up or not down, down=down or not up, depth=depth)
        typer.echo(found.render(output.value))
