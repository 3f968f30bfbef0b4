"""Commands on rollout: promote, rollback."""

from __future__ import annotations

from typing import Annotated

import typer

from featurestore.cli.options import HERE, Repo, open_store


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for command in (promote, rollback):
        app.command()(command)


def promote(
    service: Annotated[str, typer.Argument(help="A version: flight_delay@2.")],
    alias: Annotated[str, typer.Option("--to", help="The alias.")] = "production",
    repo: Repo = HERE,
) -> None:
    """Point an alias to a version of a service."""
    from featurestore.registry import current_user

    with open_store(repo) as store:
        promoted = store.registry.promote(service, alias=alias, who=current_user())
        typer.echo(f"{alias} of {promoted.name} is now {promoted.id}.")


def rollback(
    service: Annotated[str, typer.Argument(help="The service.")],
    alias: Annotated[str, typer.Option("--alias", help="The alias.")] = "production",
    repo: Repo = HERE,
) -> None:
    """Point an alias back to the version before."""
    from featurestore.registry import current_user

    with open_store(repo) as store:
        back = store.registry.rollback(service, alias=alias, who=current_user())
        typer.echo(f"{alias} of {back.name} is back at {back.id}.")
