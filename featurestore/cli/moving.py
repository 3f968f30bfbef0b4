"""The commands that take a whole store elsewhere: migrate, and backup."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featurestore.cli.options import HERE, Format, OutputFormat, Repo, print_json
from featurestore.cli.progress import rows_done

if TYPE_CHECKING:
    from featurestore.moving import Measure, MoveReport, PartReport

_AsJson = Annotated[bool, typer.Option("--json", help="The same as --format json.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command()(migrate)


def migrate(
    to: Annotated[Path, typer.Option(help="The destination's settings: a TOML file, or a folder with one.")],
    only: Annotated[
        list[str] | None, typer.Option(help="Only this part, or these, with commas: registry,tables.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only say what would be copied.")] = False,
    repo: Repo = HERE,
    as_json: _AsJson = False,
    output: OutputFormat = Format.text,
) -> None:
    """Copy a whole store to other backends, and compare both sides; a run that was killed is gone on with.

    The store may be used meanwhile; what was written since is told of, and the same command copies it. Exits with 1
    then, or if the sides differ.
    """
    from featurestore import config as configuration
    from featurestore.moving import Move

    source, target = configuration.load(repo), configuration.load(to)
    parts = [name.strip() for one in only or () for name in one.split(",") if name.strip()]
    with rows_done("migrate") as progress:
        move = Move(
            source=source,
            target=target,
            names=(str(repo), str(to)),
            only=parts,
            progress=lambda _, count: progress(count),
        )
        report = move.check() if check else move.run()
    if as_json or output is Format.json:
        print_json(report.to_json())
    else:
        _show(report)
        if report.changed:
            typer.echo("Run the same command again, best when nothing writes: only this is copied then.")
    if report.changed or not report.equal:
        raise typer.Exit(1)


def _show(report: MoveReport) -> None:
    typer.echo(f"{'part':10} {'state':9} {'here':>26} {'there':>26}  digest")
    for one in report.parts:
        differs = "" if report.check or one.holds else "  DIFFERS"
        there = "" if report.check else _counted(one, one.there)
        line = f"{one.part:10} {one.state.value:9} {_counted(one, one.here):>26} {there:>26}"
        typer.echo(f"{line}  {one.there.digest[:12] or '-'}{differs}{f'  ({one.note})' if one.note else ''}")
    for note in report.notes:
        typer.echo(f"Note: {note}.")
    if report.check:
        typer.echo("Nothing was changed.")
        return
    typer.echo(f"As of {report.point}; pushes waited {report.held_seconds * 1000:,.0f} ms.")
    for what in report.changed:
        typer.echo(f"Written since: {what}.")


def _counted(part: PartReport, side: Measure) -> str:
    if part.state in ("stays", "nothing"):
        return "-"
    size = f", {side.bytes:,} bytes" if side.bytes else ""
    return f"{side.items:,} {part.unit}{size}"
