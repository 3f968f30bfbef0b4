"""Commands that bring rows in: ingest, and what became of the rows that failed its checks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featurestore.cli.completion import names_of
from featurestore.cli.options import HERE, Format, OutputFormat, Repo, open_store, print_json, show_error
from featurestore.cli.progress import rows_done
from featurestore.errors import DataError, FeatureStoreError

if TYPE_CHECKING:
    from featurestore.definitions import FeatureView
    from featurestore.offline.intake.ingest import IngestReport
    from featurestore.store import FeatureStore


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for command in (ingest, quarantine):
        app.command()(command)


def ingest(
    view: Annotated[
        str,
        typer.Argument(
            help="The feature view; all that have a source when not given.", autocompletion=names_of("feature_view")
        ),
    ] = "",
    file: Annotated[Path | None, typer.Argument(help="Parquet or CSV; the view's source when not given.")] = None,
    reason: Annotated[str, typer.Option(help="Why; it stands in the table's history.")] = "",
    load_id: Annotated[
        str | None, typer.Option(help="The same id twice is one load; a file has one by its content.")
    ] = None,
    accept_anomalies: Annotated[
        bool, typer.Option("--accept-anomalies", help="The rows are right, however unlike the last loads they are.")
    ] = False,
    repo: Repo = HERE,
) -> None:
    """Load rows into a view's table; bad rows are quarantined, not lost."""
    with open_store(repo) as store:
        names, failed = [view] if view else _with_source(store), []
        for name in names:
            try:
                with rows_done(name) as progress:
                    report = store.ingest(
                        name,
                        file,
                        load_id=load_id,
                        reason=reason,
                        progress=progress,
                        accept_anomalies=accept_anomalies,
                    )
            except FeatureStoreError as error:
                if view:
                    raise
                # The other views are no worse for it, and their rows are wanted.
                show_error(error)
                failed.append(name)
                continue
            _show(report)
    if failed:
        typer.echo(f"{len(failed)} of {len(names)} views could not be loaded: {', '.join(failed)}.", err=True)
        raise typer.Exit(1)


def quarantine(
    view: Annotated[str, typer.Argument(help="The feature view.", autocompletion=names_of("feature_view"))],
    limit: Annotated[int | None, typer.Option(min=1, help="Show at most so many rows.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write them to this Parquet or CSV file instead.")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Check them again, and publish those that pass now.")] = False,
    accept_anomalies: Annotated[
        bool, typer.Option("--accept-anomalies", help="With --retry: also loads that were kept aside as a whole.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why they are tried again; it stands in the table's history.")] = "",
    repo: Repo = HERE,
    output: OutputFormat = Format.text,
) -> None:
    """Show the rows of a view that failed its checks, or try them again.

    Values of fields tagged pii are not shown; --out writes them.
    """
    from featurestore.offline.join.writing import check_target, write_file

    if out is not None:
        check_target(out, folders=False)
    with open_store(repo) as store:
        if retry:
            with rows_done(view) as progress:
                report = store.reingest_quarantine(
                    view, reason=reason, progress=progress, accept_anomalies=accept_anomalies
                )
            _show(report)
            typer.echo(f"{store.quarantined_rows(view):,} rows in quarantine.")
            return
        with rows_done(view):
            rows = store.quarantine(view, limit=limit)
            total = store.quarantined_rows(view)
            if out is not None and rows is not None:
                write_file(iter([rows]), rows.schema, out)
        personal = {one.name for one in _view_of(store, view).schema if one.pii}
    if out is not None:
        if rows is not None:
            typer.echo(f"{rows.num_rows:,} of {total:,} rows in quarantine written to {out}.")
        else:
            typer.echo("0 rows in quarantine; nothing was written.")
        return
    found = [] if rows is None else [_without(personal, row) for row in rows.to_pylist()]
    if output is Format.json:
        print_json(found)
        return
    for row in found:
        why = row.pop("reason")
        typer.echo(f"{why}: {_cells(row)}")
    shown = f"; {len(found):,} are shown" if len(found) < total else ""
    typer.echo(f"{total:,} rows in quarantine{shown}.")


def _view_of(store: FeatureStore, view: str) -> FeatureView:
    from featurestore.definitions import FeatureView

    found = store.get(view).definition
    assert isinstance(found, FeatureView)  # noqa: S101 - its quarantine was read
    return found


def _without(personal: set[str], row: dict[str, Any]) -> dict[str, Any]:
    """Return a row without what is about persons, also where it could not be read."""
    from featurestore.offline.intake.checks import UNREADABLE

    shown = {name: "(pii)" if name in personal and value is not None else value for name, value in row.items()}
    if any(f"{name}=" in (row.get(UNREADABLE) or "") for name in personal):
        shown[UNREADABLE] = "(pii)"
    return shown


def _cells(row: dict[str, Any]) -> str:
    from featurestore.definitions.names import CREATED_TIMESTAMP
    from featurestore.offline.intake.checks import UNREADABLE

    told = row.pop(UNREADABLE, None)
    if row.get(CREATED_TIMESTAMP) is None:
        row.pop(CREATED_TIMESTAMP, None)
    cells = ", ".join(f"{name}={value}" for name, value in row.items())
    return f"{cells}; as it came: {told}" if told else cells


def _show(report: IngestReport) -> None:
    from featurestore.offline.intake.held import how_to_accept

    typer.echo(f"{report} ({report.seconds:.1f} s)")
    for one in (report, *report.also):
        for anomaly in one.anomalies:
            typer.echo(f"  unlike the loads before: {anomaly}")
        if accept := how_to_accept(one.view, one.reasons):
            typer.echo(f"  {accept}")
        if one.anomalies and one.written:
            undo = f"featurestore restore {one.view} --to LOAD|INSTANT"
            typer.echo(f"  the rows are published; if they are wrong: {undo}")
        for note in one.notes:
            typer.echo(f"  note: {note}")


def _with_source(store: FeatureStore) -> list[str]:
    names = [one.name for one in store.registry.list("feature_view") if _has_source(one.definition)]
    if not names:
        raise DataError("No feature view with a source to read is registered.", hint="featurestore apply")
    return names


def _has_source(view: Any) -> bool:
    return view.source is not None and view.source.spec()["kind"] != "push"
