"""Commands on definitions: init, plan, apply, list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from featurestore.cli.loading import load_definitions
from featurestore.cli.options import HERE, Format, OutputFormat, Repo, open_store, print_json


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for command in (init, plan, apply, list_):
        app.command(command.__name__.rstrip("_"))(command)


def init(
    folder: Annotated[Path, typer.Argument(help="The folder; made if need be.")] = HERE,
    project: Annotated[str, typer.Option(help="The project's name; the folder's when not given.")] = "",
) -> None:
    """Make a feature store in a folder."""
    from featurestore.store import FeatureStore

    store = FeatureStore.init(folder, project=project)
    typer.echo(f'Feature store "{store.config.project}" is in {store.config.root}.')
    typer.echo("Next: write definitions.py beside featurestore.toml, then: featurestore plan")


def plan(repo: Repo = HERE) -> None:
    """Show what `apply` would change."""
    with open_store(repo) as store:
        _colored(store.plan(load_definitions(store.config)).render())


def apply(
    repo: Repo = HERE,
    allow_breaking: Annotated[
        bool, typer.Option("--allow-breaking", help="Also remove or change fields, types and keys.")
    ] = False,
) -> None:
    """Register the definitions: all of them, or none."""
    with open_store(repo) as store:
        plan = store.apply(load_definitions(store.config), allow_breaking=allow_breaking)
        _colored(plan.render())
        if not plan.is_empty:
            typer.echo("Applied.")


def list_(repo: Repo = HERE, output: OutputFormat = Format.text) -> None:
    """List the registered objects."""
    with open_store(repo) as store:
        found = store.registry.list()
    if output is Format.json:
        print_json(
            [
                {
                    "kind": one.kind,
                    "name": one.name,
                    "version": one.version,
                    "content_hash": one.content_hash,
                    "applied_at": one.applied_at,
                    "applied_by": one.applied_by,
                }
                for one in found
            ]
        )
        return
    for one in found:
        typer.echo(f"{one.kind:24} {one.id:32} {one.applied_at:%Y-%m-%d %H:%M}  {one.applied_by}")
    if not found:
        typer.echo("Nothing is registered. Next: featurestore apply")


_COLORS = {"+": typer.colors.GREEN, "~": typer.colors.YELLOW, "-": typer.colors.RED, "!": typer.colors.RED}


def _colored(text: str) -> None:
    for line in text.splitlines():
        typer.secho(line, fg=_COLORS.get(line.lstrip()[:1]))
