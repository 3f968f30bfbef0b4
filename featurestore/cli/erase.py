"""The command for a person's right: erase."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featurestore.cli.asking import confirmed
from featurestore.cli.completion import names_of
from featurestore.cli.options import HERE, Format, OutputFormat, Repo, open_store, print_json
from featurestore.cli.progress import rows_done
from featurestore.errors import DataError

if TYPE_CHECKING:
    from featurestore.erasure import ErasureReport


def add_to(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command()(erase)


def erase(
    entity: Annotated[str, typer.Argument(help="The entity: user.", autocompletion=names_of("entity"))],
    request: Annotated[str, typer.Option(help="Whose wish it is, without the key: GDPR-123. The audit log keeps it.")],
    key: Annotated[
        list[str] | None, typer.Option(help="A join key and its value: user_id=17; one option for each join key.")
    ] = None,
    keys_file: Annotated[
        Path | None, typer.Option(help="Parquet or CSV with a column for each join key and a row for each member.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be erased.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    lift: Annotated[bool, typer.Option("--lift", help="Let loads bring rows of these keys again.")] = False,
    repo: Repo = HERE,
    output: OutputFormat = Format.text,
) -> None:
    """Erase all rows of a member of an entity, everywhere, and let no load bring them back.

    Shows what would go, and asks; without a terminal --yes is needed, as nothing brings the rows back.
    Exits with 1 if a writer at work may still hold rows: run the same command again when it has ended.
    """
    keys = _keys(key or [], keys_file)
    with open_store(repo) as store:
        if lift:
            if dry_run:
                raise DataError("--lift erases nothing, so there is nothing to try.", hint="Leave out --dry-run.")
            lifted = store.lift_erasure(entity, keys, request=request)
            typer.echo(f"{lifted:,} of {len(keys):,} keys were kept out; loads may bring their rows again.")
            return
        if not yes and not dry_run:
            with rows_done(f"look for {entity}"):
                told = store.erase(entity, keys, request=request, dry_run=True)
            if output is Format.text:
                _say(told)
            if not confirmed("Erase these rows for good?", err=output is Format.json):
                typer.echo("Nothing was changed.", err=output is Format.json)
                return
        with rows_done(f"erase {entity}"):
            report = store.erase(entity, keys, request=request, dry_run=dry_run)
    if output is Format.json:
        print_json(report.to_json())
    else:
        _say(report)
        if dry_run:
            typer.echo("Nothing was changed.")
    if not report.finished and not report.dry_run:
        raise typer.Exit(1)


def _say(report: ErasureReport) -> None:
    would = "would be erased" if report.dry_run else "erased"
    typer.echo(
        f"{report.entity}, {_counted(report.keys, 'key')}, request {report.request}: "
        f"{_counted(report.rows, 'row')} {would}"
    )
    for one in report.places:
        waiting = f"; {one.waiting:,} files of writers at work are not looked into yet" if one.waiting else ""
        typer.echo(f"  {one.place:26} {one.rows:>10,} rows in {one.files:,} files{waiting}")
    for note in report.notes:
        typer.echo(f"  note: {note}")
    for sentence in report.not_reached:
        typer.echo(f"  not reached: {sentence}")
    if not report.dry_run and not report.finished:
        typer.echo("Not finished: run the same command again when these writers have ended.", err=True)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _keys(options: list[str], file: Path | None) -> list[dict[str, Any]]:
    if bool(options) == (file is not None):
        raise DataError("Name the keys by --key or by --keys-file.", hint="featurestore erase user --key user_id=17")
    if file is not None:
        return _read(file)
    found: dict[str, str] = {}
    for option in options:
        name, equals, value = option.partition("=")
        # What was written may be the key: it stands in no message.
        if not equals or not name.strip():
            raise DataError("A --key is not of the form NAME=VALUE.", hint="--key user_id=17")
        if name.strip() in found:
            raise DataError(
                f'--key names "{name.strip()}" twice.', hint="Several members go into a file: --keys-file FILE."
            )
        found[name.strip()] = value
    return [found]


def _read(file: Path) -> list[dict[str, Any]]:
    import csv

    import pyarrow
    import pyarrow.parquet

    try:
        if file.suffix.lower() != ".csv":
            rows: list[dict[str, Any]] = pyarrow.parquet.read_table(file).to_pylist()
            return rows
        # As texts: 017 is a key of its own where keys are texts.
        with file.open(encoding="utf-8-sig", newline="") as opened:
            return [{name: value for name, value in row.items() if name is not None} for row in csv.DictReader(opened)]
    except FileNotFoundError:
        raise DataError(f"There is no file {file}.") from None
    except (UnicodeDecodeError, csv.Error, pyarrow.ArrowException, OSError):
        raise DataError(f"{file} cannot be read.", hint="It must be Parquet, or CSV in UTF-8.") from None
