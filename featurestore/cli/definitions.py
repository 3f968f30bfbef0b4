"""Commands that change definitions: init, plan, apply, delete."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from featurestore.cli.completion import names_of
from featurestore.cli.options import HERE, PlanFormat, PlanOutputFormat, Repo, open_store, print_colored
from featurestore.cli.progress import rows_done
from featurestore.errors import RegistryError

#: The exit code of ``plan`` where something would change; 0 is nothing to do, 1 an error.
_CHANGES = 2

_Prune = Annotated[
    bool, typer.Option("--prune", help="Remove what the definitions do not name; never datasets or models.")
]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for command in (init, plan, apply, delete):
        app.command()(command)


def init(
    folder: Annotated[Path, typer.Argument(help="The folder; made if need be.")] = HERE,
    project: Annotated[str, typer.Option(help="The project's name; the folder's when not given.")] = "",
) -> None:
    """Make a feature store in a folder."""
    from featurestore.store import FeatureStore

    store = FeatureStore.init(folder, project=project)
    typer.echo(f'Feature store "{store.config.project}" is in {store.config.root}.')
    typer.echo("Next: write definitions.py beside featurestore.toml, then: featurestore plan")


def plan(
    out: Annotated[Path | None, typer.Option("--out", help="Also write the plan to a file, for apply FILE.")] = None,
    prune: _Prune = False,
    repo: Repo = HERE,
    output: PlanOutputFormat = PlanFormat.text,
) -> None:
    """Show what `apply` would change. Exit code: 0 nothing to do, 2 changes, 1 error."""
    from featurestore.definition_files import load_definitions

    with open_store(repo) as store:
        planned = store.plan(load_definitions(store.config), prune=prune)
        if out is not None:
            store.save_plan(planned, out)
    print_colored(planned.render(output.value), output)
    if out is not None and output is PlanFormat.text:
        typer.echo(f"Saved. Next: featurestore apply {shlex.quote(str(out))}")
    if not planned.is_empty:
        raise typer.Exit(_CHANGES)


def apply(
    file: Annotated[
        Path | None, typer.Argument(help="A plan of `plan --out`; the definitions folder when not given.")
    ] = None,
    prune: _Prune = False,
    allow_breaking: Annotated[
        bool, typer.Option("--allow-breaking", help="Also remove or change fields, types and keys.")
    ] = False,
    repo: Repo = HERE,
    output: PlanOutputFormat = PlanFormat.text,
) -> None:
    """Register the definitions: all of them, or none."""
    from featurestore.definition_files import load_definitions

    if file is not None and prune:
        raise typer.BadParameter("--prune belongs to the plan: featurestore plan --prune --out FILE")
    with open_store(repo) as store, rows_done("apply"):  # a new version takes over the rows of the one before
        if file is not None:
            done = store.apply_plan(file, allow_breaking=allow_breaking)
        else:
            done = store.apply(load_definitions(store.config), allow_breaking=allow_breaking, prune=prune)
    print_colored(done.render(output.value), output)
    if output is PlanFormat.text and not done.is_empty:
        typer.echo("Applied.")


def delete(
    name: Annotated[
        str, typer.Argument(help="An object, a model, or a version of a model.", autocompletion=names_of())
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    repo: Repo = HERE,
    output: PlanOutputFormat = PlanFormat.text,
) -> None:
    """Remove an object from the project; its versions can still be read, and applying it again brings it back."""
    with open_store(repo) as store:
        going = store.registry.removal(name)
        used = any(change.users for change in going.changes)
        if not yes and not used:
            if not sys.stdin.isatty():
                raise RegistryError(f'Removing "{name}" was not confirmed.', hint="Where nobody can be asked: --yes")
            print_colored(going.render("text"), PlanFormat.text)
            if not typer.confirm(f'Remove "{name}"?'):
                typer.echo("Nothing was removed.")
                raise typer.Exit(1)
        done = store.delete(name)
    print_colored(done.render(output.value), output)
    if output is PlanFormat.text:
        typer.echo("Removed.")
