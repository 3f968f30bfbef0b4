"""The command that looks at a whole configuration: doctor."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from featurestore.cli.options import HERE, Format, OutputFormat, Repo, print_json

if TYPE_CHECKING:
    from featurestore.doctor import Finding

_COLORS = {"warning": typer.colors.YELLOW, "fault": typer.colors.RED}


def add_to(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command()(doctor)


def doctor(
    repo: Repo = HERE,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    output: OutputFormat = Format.text,
) -> None:
    """Look at everything that featurestore.toml names, and say what is wrong with it and what to do.

    Nothing is changed, and no message is sent. Exits with 1 if something is at fault; warnings alone are 0.
    """
    from featurestore.doctor import State, examine

    found = examine(repo)
    faults, warnings = (sum(one.state is state for one in found) for state in (State.fault, State.warning))
    if as_json or output is Format.json:
        print_json({"findings": [asdict(one) for one in found], "faults": faults, "warnings": warnings})
    else:
        for one in found:
            _show(one)
        things = f"{len(found):,} thing{'s' * (len(found) != 1)}"
        typer.echo(f"{things} looked at: {faults:,} at fault, {warnings:,} with a warning.")
    if faults:
        raise typer.Exit(1)


def _show(one: Finding) -> None:
    typer.secho(f"{one.state.value:8} {one.about}: {one.what}", fg=_COLORS.get(one.state.value))
    if one.hint:
        typer.echo(f"{'':8} {one.hint}")
