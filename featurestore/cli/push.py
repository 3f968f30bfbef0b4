"""The command for rows that are served at once: push."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featurestore.cli.completion import names_of
from featurestore.cli.options import HERE, Repo, open_store
from featurestore.cli.progress import rows_done
from featurestore.errors import DataError, InvalidRequestError

if TYPE_CHECKING:
    import pyarrow as pa

    from featurestore.store import FeatureStore

#: Rows that are acknowledged together.
_ROWS = 10_000
#: Bytes that are taken at once from a stream: less are what has come by now.
_BYTES = 1 << 20
#: Rejected rows that are shown one by one.
_SHOWN = 20
_USAGE = "featurestore push VIEW FILE, or featurestore push --flush"


def add_to(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command()(push)


def push(
    view: Annotated[str, typer.Argument(help="The feature view.", autocompletion=names_of("feature_view"))] = "",
    file: Annotated[
        Path | None, typer.Argument(help="JSON lines, CSV or Parquet; - reads JSON lines from standard input.")
    ] = None,
    flush: Annotated[
        bool, typer.Option("--flush", help="Bring what was pushed into the offline store; alone, or after the rows.")
    ] = False,
    repo: Repo = HERE,
) -> None:
    """Serve rows at once, and keep them for training; rows that fail a check are shown, and kept nowhere.

    Lines of standard input are pushed as they come. Exits with 1 if a row was rejected.
    """
    if bool(view) != (file is not None):
        raise DataError("A push needs a view and a file.", hint=_USAGE)
    if file is None and not flush:
        raise DataError("There is nothing to push.", hint=_USAGE)
    told = _Told(view)
    with open_store(repo) as store:
        if file is not None:
            started = time.monotonic()
            with rows_done(view) as progress:
                for first, rows in _batches(store, view, file, told):
                    report = store.push(view, rows)
                    told.add(report.view, report.accepted, report.suppressed)
                    for one in report.rejected:
                        told.reject(first[one.row], one.reason)
                    told.notes |= dict.fromkeys(report.notes)
                    progress(report.accepted + len(report.rejected) + report.suppressed)
            told.show(time.monotonic() - started)
        if flush:
            typer.echo(str(store.flush_pushes()))
    if told.rejected:
        raise typer.Exit(1)


class _Told:
    """What is said of a push, put together from its parts."""

    def __init__(self, view: str) -> None:
        self.view = view
        self.accepted = self.suppressed = self.rejected = 0
        self.notes: dict[str, None] = {}

    def add(self, view: str, accepted: int, suppressed: int) -> None:
        self.view = view
        self.accepted += accepted
        self.suppressed += suppressed

    def reject(self, row: int, reason: str) -> None:
        self.rejected += 1
        if self.rejected <= _SHOWN:
            typer.echo(f"row {row}: {reason}", err=True)

    def show(self, seconds: float) -> None:
        if self.rejected > _SHOWN:
            typer.echo(f"... and {self.rejected - _SHOWN:,} rows more", err=True)
        parts = [f"{self.view}: {self.accepted:,} rows pushed"]
        parts += [f"{self.rejected:,} rejected"] * bool(self.rejected)
        parts += [f"{self.suppressed:,} of erased keys dropped"] * bool(self.suppressed)
        typer.echo(f"{', '.join(parts)} ({seconds:.1f} s)")
        for note in self.notes:
            typer.echo(f"  note: {note}")


def _batches(store: FeatureStore, view: str, file: Path, told: _Told) -> Iterator[tuple[list[int], Any]]:
    """Yield rows that are pushed together, with the number of each in the file, from 1."""
    from featurestore.pushing.json_rows import row_of, to_table

    columns = store.pushed_columns(view)
    if str(file) == "-" or file.suffix.lower() in (".json", ".jsonl", ".ndjson"):
        for numbers, lines in _lines(file):
            kept: list[int] = []
            rows: list[dict[str, Any]] = []
            for number, line in zip(numbers, lines, strict=True):
                try:
                    rows.append(row_of(line, columns))
                    kept.append(number)
                except InvalidRequestError as error:
                    told.reject(number, error.message.rstrip(".") + (f". {error.hint}" if error.hint else ""))
            if rows:
                yield kept, to_table(rows, columns)
        return
    first = 1
    for batch in _read(store, view, file):
        for start in range(0, batch.num_rows, _ROWS):
            part = batch.slice(start, _ROWS)
            yield list(range(first, first + part.num_rows)), part
            first += part.num_rows


def _read(store: FeatureStore, view: str, file: Path) -> Iterator[pa.RecordBatch]:
    from featurestore.offline.sources import reading

    definition = store.registry.feature_view(view.rpartition("/")[2]).definition
    what = f'The rows for feature view "{view}"'
    with reading.file_piece(file, definition).read(store.config, what) as reader:
        yield from reader


def _lines(file: Path) -> Iterator[tuple[list[int], list[bytes]]]:
    """Yield lines as they come, with their numbers; empty ones are left out."""
    try:
        descriptor = sys.stdin.fileno() if str(file) == "-" else os.open(file, os.O_RDONLY)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}.") from None
    number, rest = 0, b""
    try:
        while True:
            data = os.read(descriptor, _BYTES)
            *whole, rest = (rest + data).split(b"\n")
            if not data:
                whole, rest = [rest], b""
            numbered = list(enumerate(whole, start=number + 1))
            number += len(whole)
            filled = [(at, line) for at, line in numbered if line.strip()]
            for start in range(0, len(filled), _ROWS):
                part = filled[start : start + _ROWS]
                yield [at for at, _ in part], [line for _, line in part]
            if not data:
                return
    finally:
        if str(file) != "-":
            os.close(descriptor)
