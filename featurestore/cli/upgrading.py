"""The command that brings stores to this release's formats: upgrade."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from featurestore.cli.asking import confirmed
from featurestore.cli.options import HERE, Format, OutputFormat, Repo, print_json

if TYPE_CHECKING:
    from featurestore.upgrading import Stored

_COLORS = {"behind": typer.colors.YELLOW, "newer": typer.colors.YELLOW, "fault": typer.colors.RED}
_BACKUP = "First a backup: featurestore backup create FILE."


def add_to(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command()(upgrade)


def upgrade(
    check: Annotated[bool, typer.Option("--check", help="Only say what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, at a terminal either.")] = False,
    repo: Repo = HERE,
    output: OutputFormat = Format.text,
) -> None:
    """Say which format every store has, and bring those that are behind to this release's.

    Servers of the release before go on meanwhile. What is interrupted is gone on with by the next upgrade.
    With --check exits with 2 if something is to be done; with 1 if a store cannot be used by this release.
    """
    from featurestore.upgrading import State, look
    from featurestore.upgrading import upgrade as bring_up

    found = look(repo)
    behind = [one for one in found if one.state is State.behind]
    faults = sum(one.state is State.fault for one in found)
    if output is Format.text:
        for one in found:
            _show(one)
    changed: list[tuple[Stored, Stored]] = []
    if not check and behind and not faults:
        if output is Format.text:
            typer.echo(_BACKUP)
        if not yes and sys.stdin.isatty() and not confirmed("Upgrade now?", err=output is Format.json):
            typer.echo("Nothing was changed.", err=output is Format.json)
            return
        found = bring_up(repo, told=lambda before, after: changed.append((before, after)))
        faults = sum(one.state is State.fault for one in found)
    if output is Format.json:
        done = [{"store": one.store, "from": one.found, "to": other.found} for one, other in changed]
        print_json({"stores": [asdict(one) for one in found], "upgraded": done})
    else:
        _say(check=check, behind=len(behind), faults=faults, changed=changed)
    if faults:
        raise typer.Exit(1)
    if check and behind:
        raise typer.Exit(2)


def _show(one: Stored) -> None:
    has = f"format {one.found}" if one.found else ""
    typer.secho(f"{one.store:18} {has:14} {one.state.value:8} {one.what}", fg=_COLORS.get(one.state.value))
    if one.hint:
        typer.echo(f"{'':42} {one.hint}")


def _say(*, check: bool, behind: int, faults: int, changed: list[tuple[Stored, Stored]]) -> None:
    for before, after in changed:
        typer.echo(f"The {before.store} is upgraded from {before.found} to {after.found}.")
    if faults:
        typer.echo(f"{faults:,} at fault; nothing {'would be' if check else 'was'} changed.")
    elif not behind:
        typer.echo("All is of this release: nothing to do.")
    elif check:
        typer.echo(f"{behind:,} to upgrade. {_BACKUP} Then: featurestore upgrade")
