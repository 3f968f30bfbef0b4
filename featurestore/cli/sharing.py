"""Commands on views of other projects: share, unshare, shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from featurestore.cli.completion import names_of
from featurestore.cli.options import HERE, Format, OutputFormat, Repo, open_store, print_json

if TYPE_CHECKING:
    from featurestore.registry import Consent

_View = Annotated[str, typer.Argument(help="The view.", autocompletion=names_of("feature_view"))]
_With = Annotated[str, typer.Option("--with", metavar="PROJECT", help="The other project.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for command in (share, unshare, shares):
        app.command()(command)


def share(view: _View, consumer: _With, repo: Repo = HERE) -> None:
    """Let another project of the registry use a view; we go on feeding what it uses."""
    with open_store(repo) as store:
        done = store.share(view, with_project=consumer)
        known = consumer in store.registry.projects()
    typer.echo(f'Project "{done.consumer}" may use {done.view}: SharedView("{done.reference}") in its definitions.')
    if not known:
        typer.echo(f'No project "{done.consumer}" has applied anything to this registry yet.')


def unshare(view: _View, consumer: _With, repo: Repo = HERE) -> None:
    """Withdraw the leave; refused while the other project uses the view."""
    with open_store(repo) as store:
        done = store.unshare(view, with_project=consumer)
    typer.echo(f'Project "{done.consumer}" may not use {done.view} any more.')


def shares(repo: Repo = HERE, output: OutputFormat = Format.text) -> None:
    """List which views are shared: ours with others, and theirs with us."""
    with open_store(repo) as store:
        found = store.shares()
        project = store.config.project
    if output is Format.json:
        print_json([vars(one) | {"reference": one.reference} for one in found])
        return
    for one in found:
        typer.echo(_line(one, project))
    if not found:
        typer.echo("No view is shared. Next: featurestore share VIEW --with PROJECT")


def _line(one: Consent, project: str) -> str:
    who = f"ours, with {one.consumer}" if one.owner == project else f"of {one.owner}, with us"
    used = f"used by {', '.join(one.users)}" if one.users else "not used"
    return f"{one.reference:32} {who:28} since {one.given_at:%Y-%m-%d %H:%M} by {one.given_by}  {used}"
