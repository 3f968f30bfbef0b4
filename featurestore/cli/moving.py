"""The commands that take a whole store elsewhere: migrate, and backup."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featurestore.cli.options import HERE, Format, OutputFormat, Repo, open_store, print_json
from featurestore.cli.progress import RowsDone, rows_done

if TYPE_CHECKING:
    from featurestore.moving import Measure, MoveReport, PartReport

_AsJson = Annotated[bool, typer.Option("--json", help="The same as --format json.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command()(migrate)
    group = typer.Typer(help="Backups of the whole store: make, verify and load them.", no_args_is_help=True)
    for command in (create, verify, load):
        group.command()(command)
    app.add_typer(group, name="backup")


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
            progress=_progress(progress),
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
        both = f" (here {one.here.digest[:12] or '-'})" if not report.check and not one.equal else ""
        typer.echo(f"{line}  {one.there.digest[:12] or '-'}{both}{differs}{f'  ({one.note})' if one.note else ''}")
    for note in report.notes:
        typer.echo(f"Note: {note}.")
    if report.check:
        typer.echo("Nothing was changed.")
        return
    if not report.equal:
        typer.echo(
            "Hint: what differs there was written by somebody else. Empty that part of the destination, or name "
            "another one, and run the same command again: online rows are made anew, and the rest is copied."
        )
    held = f"; pushes waited {report.held_seconds * 1000:,.0f} ms" if report.held_seconds else ""
    typer.echo(f"As of {report.point}{held}.")
    for what in report.changed:
        typer.echo(f"Written since: {what}.")


def _counted(part: PartReport, side: Measure) -> str:
    if part.state in ("stays", "nothing"):
        return "-"
    size = f", {side.bytes:,} bytes" if side.bytes else ""
    return f"{side.items:,} {part.unit}{size}"


def _progress(progress: RowsDone) -> Callable[[str, int], object]:
    return lambda _, count: progress(count)


def create(
    place: Annotated[Path, typer.Argument(help="A folder that is not there yet, or a file that ends in .tar.")],
    repo: Repo = HERE,
    as_json: _AsJson = False,
    output: OutputFormat = Format.text,
) -> None:
    """Make a backup of the whole store as of one instant, while serving goes on."""
    from featurestore import config as configuration
    from featurestore.moving import backup

    with rows_done("backup") as progress:
        report = backup.create(configuration.load(repo), place, progress=_progress(progress))
    _print(report, as_json or output is Format.json)


def verify(
    place: Annotated[Path, typer.Argument(help="The backup.")],
    as_json: _AsJson = False,
    output: OutputFormat = Format.text,
) -> None:
    """Read every byte of a backup, and compare it with what was written. Exits with 1 if something is wrong."""
    from featurestore.moving import backup

    found = backup.verify(place)
    if as_json or output is Format.json:
        print_json(asdict(found))
    else:
        typer.echo(
            f"Backup of project {found.project} as of {found.point}: {found.files:,} files, {found.bytes:,} bytes"
        )
        for name, items in found.parts.items():
            typer.echo(f"  {name:10} {items:>14,}")
        for problem in found.problems:
            typer.secho(f"  {problem}", fg=typer.colors.RED)
        typer.echo("Damaged: do not rely on it." if found.problems else "Every file is as it was written.")
    if found.problems:
        raise typer.Exit(1)


def load(
    place: Annotated[Path, typer.Argument(help="The backup.")],
    repo: Repo = HERE,
    as_json: _AsJson = False,
    output: OutputFormat = Format.text,
) -> None:
    """Bring a backup back into an empty place, make the online rows anew, and erase again who was erased since."""
    from featurestore.moving import backup
    from featurestore.moving.suppressing import check_secret, erase_again

    with open_store(repo) as store:
        check_secret(store, place)
        with rows_done("load") as progress:
            report = backup.load(store.config, place, progress=_progress(progress))
        again = erase_again(store, place)
    if again.entered or again.rows:
        said = f"{again.entered:,} keys were erased after it was made; {again.rows:,} rows were erased again"
        report = replace(report, notes=(*report.notes, said))
    _print(report, as_json or output is Format.json)


def _print(report: MoveReport, as_json: bool) -> None:
    if as_json:
        print_json(report.to_json())
    else:
        _show(report)
    if not report.equal:
        raise typer.Exit(1)
