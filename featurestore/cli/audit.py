"""Commands on the audit log."""

from __future__ import annotations

from typing import Annotated

import typer

from featurestore.cli.options import HERE, Format, OutputFormat, Repo, open_store, print_json


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command()(audit)


def audit(
    repo: Repo = HERE,
    verify: Annotated[bool, typer.Option("--verify", help="Check that no entry was changed or removed.")] = False,
    output: OutputFormat = Format.text,
) -> None:
    """List who changed what, oldest first."""
    with open_store(repo) as store:
        if verify:
            problems = store.registry.verify_audit()
            for problem in problems:
                typer.secho(problem, fg=typer.colors.RED, err=True)
            if problems:
                raise typer.Exit(1)
            typer.echo("The audit log is intact.")
            return
        entries = store.registry.audit()
    if output is Format.json:
        print_json([vars(entry) for entry in entries])
        return
    for entry in entries:
        typer.echo(f"{entry.sequence:>5}  {entry.at:%Y-%m-%d %H:%M:%S}  {entry.who}  {entry.action}  {entry.object}")
