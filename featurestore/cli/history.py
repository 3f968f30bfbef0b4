"""Commands on features at an instant: get-historical, score."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from featurestore.cli.completion import names_of
from featurestore.cli.options import (
    HERE,
    Format,
    OutputFormat,
    Repo,
    checked_query,
    instant,
    open_store,
    print_json,
    warn_of_low_disk,
)
from featurestore.cli.progress import rows_done
from featurestore.errors import DataError


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command("get-historical")(get_historical)
    app.command()(score)


class KnownAt(StrEnum):
    """From when on a feature row counts."""

    row = "row"


_Service = Annotated[
    str,
    typer.Argument(help="A feature service: flight_delay, flight_delay@2.", autocompletion=names_of("feature_service")),
]
_Sql = Annotated[
    str, typer.Option(metavar="QUERY", help="A SELECT that gives them, over the named FileSources of the project.")
]
_Out = Annotated[Path, typer.Option(help="Where the rows go: .parquet, .csv, or a folder for a Delta table.")]


def get_historical(
    service: _Service,
    out: _Out,
    entities: Annotated[
        Path | None, typer.Option(help="Parquet or CSV with join keys, request fields and instants.")
    ] = None,
    sql: _Sql = "",
    start: Annotated[
        str, typer.Option(metavar="INSTANT", help="Instead of entity rows: every row of the views from then on ...")
    ] = "",
    end: Annotated[str, typer.Option(metavar="INSTANT", help="... and before then: 2013-02-01T00:00:00Z.")] = "",
    timestamp_field: Annotated[str, typer.Option(help="The column of the instants.")] = "event_timestamp",
    as_of: Annotated[
        str, typer.Option(metavar="INSTANT", help="As if asked then: rows that were ingested later do not count.")
    ] = "",
    known_at: Annotated[
        KnownAt | None,
        typer.Option(help="row: a feature row counts from when it was known, not from when it was true."),
    ] = None,
    full_feature_names: Annotated[
        bool, typer.Option("--full-feature-names", help="Name features by their views too: weather__temp.")
    ] = False,
    with_status: Annotated[
        bool, typer.Option("--with-status", help="Add whether values are there, and when they were true.")
    ] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show what was read, and where the time went.")] = False,
    repo: Repo = HERE,
    output: OutputFormat = Format.text,
) -> None:
    """Join entity rows with a service's features, each at its own instant, and write the result."""
    from featurestore.offline.join.writing import check_target

    check_target(out)
    given = _given(entities, sql)
    hint = "Pass --entities FILE, or --sql QUERY, or both --start and --end."
    if given is not None and (start or end):
        raise DataError("Rows to ask for are given twice, as entity rows and as a range of time.", hint=hint)
    if given is None and not (start and end):
        missing = "no entity rows" if not (start or end) else "no end" if start else "no start"
        raise DataError(f'There are no rows to ask "{service}" for: {missing}.', hint=hint)
    with open_store(repo) as store:
        warn_of_low_disk(store, out.absolute())
        found = store.get_historical_features(
            given,
            service,
            timestamp_field=timestamp_field,
            with_status=with_status,
            full_feature_names=full_feature_names,
            as_of=instant(as_of, "--as-of"),
            known_at=None if known_at is None else "row",
            start=instant(start, "--start"),
            end=instant(end, "--end"),
        )
        with rows_done(service):
            found.write(out)
        explanation = found.explain() if explain else None
        if output is Format.json:
            shown: dict[str, Any] = {} if explanation is None else {"explain": explanation.to_json()}
            _print_json(found.service, len(found), out, found.notes, **shown)
            return
        _print(f"{len(found):,} rows of {found.service} in {out}", found.notes)
        if explanation is not None:
            typer.echo(str(explanation))


def score(
    service: _Service,
    out: Annotated[Path, typer.Option(help="Where the rows go: .parquet or .csv.")],
    entities: Annotated[Path | None, typer.Option(help="Parquet or CSV with join keys and request fields.")] = None,
    sql: _Sql = "",
    at: Annotated[str, typer.Option(metavar="INSTANT", help="The instant; now when not given.")] = "",
    log: Annotated[bool, typer.Option("--log/--no-log", help="Whether the rows go into the serving log.")] = True,
    request_id: Annotated[str, typer.Option(help="Names the batch in the serving log; made up when not given.")] = "",
    replay: Annotated[str, typer.Option(metavar="NAME", help="In a rehearsal, by its clock and into its log.")] = "",
    repo: Repo = HERE,
    output: OutputFormat = Format.text,
) -> None:
    """Look a batch up without a server: a service's features at one instant, logged as a server logs them."""
    from featurestore.offline.join.writing import check_target

    check_target(out, folders=False)
    with open_store(repo, replay) as store, rows_done(service):
        warn_of_low_disk(store, out.absolute())
        given = _given(entities, sql)
        found = store.get_batch_features(service, given, at=instant(at, "--at"), log=log, request_id=request_id)
        found.write(out)
    if output is Format.json:
        about = {"request_id": found.request_id, "served_at": found.served_at, "logged": found.logged}
        _print_json(found.service, len(found), out, found.notes, **about)
        return
    when = f"{found.served_at:%Y-%m-%d %H:%M:%S} UTC" + (", REPLAY" if replay else "")
    _print(
        f"{len(found):,} rows of {found.service} at {when} in {out}; {found.logged:,} logged as {found.request_id}",
        found.notes,
    )


def _given(entities: Path | None, sql: str) -> Path | str | None:
    if entities is not None and sql:
        raise DataError("Entity rows are given twice.", hint="Pass --entities or --sql.")
    return checked_query(sql) or entities


def _print(line: str, notes: tuple[str, ...]) -> None:
    typer.echo(line)
    for note in notes:
        typer.echo(f"  note: {note}")


def _print_json(service: str, rows: int, out: Path, notes: tuple[str, ...], **more: Any) -> None:
    print_json({"service": service, "rows": rows, "path": str(out), "notes": list(notes), **more})
