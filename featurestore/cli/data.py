"""Commands on rows: ingest, quarantine, materialize, dataset, status."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featurestore.cli.completion import names_of
from featurestore.cli.options import HERE, Format, OutputFormat, Repo, open_store, print_json, show_error
from featurestore.errors import DataError, FeatureStoreError

if TYPE_CHECKING:
    import pyarrow as pa

    from featurestore.offline.store import Progress as OnRows
    from featurestore.store import FeatureStore

_SAVE_AS_UTF8 = "Save it as UTF-8."

_dataset = typer.Typer(help="Training datasets.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for command in (ingest, quarantine, materialize, status):
        app.command()(command)
    app.add_typer(_dataset, name="dataset")


@contextmanager
def _rows(text: str) -> Iterator[OnRows]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    # A bar on a terminal, nothing where output is kept: what matters is printed when the step is done.
    columns = (
        SpinnerColumn(),
        TextColumn(text),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(text, total=None)
        yield lambda count: bar.advance(task, count)


def ingest(
    view: Annotated[
        str,
        typer.Argument(
            help="The feature view; all that have a source when not given.", autocompletion=names_of("feature_view")
        ),
    ] = "",
    file: Annotated[Path | None, typer.Argument(help="Parquet or CSV; the view's source when not given.")] = None,
    reason: Annotated[str, typer.Option(help="Why; it stands in the table's history.")] = "",
    load_id: Annotated[str | None, typer.Option(help="The same id twice is one load.")] = None,
    repo: Repo = HERE,
) -> None:
    """Load rows into a view's table; bad rows are quarantined, not lost."""
    with open_store(repo) as store:
        names, failed = [view] if view else _with_source(store), []
        for name in names:
            try:
                with _rows(name) as progress:
                    report = store.ingest(name, file, load_id=load_id, reason=reason, progress=progress)
            except FeatureStoreError as error:
                if view:
                    raise
                # The other views are no worse for it, and their rows are wanted.
                show_error(error)
                failed.append(name)
                continue
            typer.echo(f"{report} ({report.seconds:.1f} s)")
            for note in report.notes:
                typer.echo(f"  note: {note}")
    if failed:
        typer.echo(f"{len(failed)} of {len(names)} views could not be loaded: {', '.join(failed)}.", err=True)
        raise typer.Exit(1)


def quarantine(
    view: Annotated[str, typer.Argument(help="The feature view.", autocompletion=names_of("feature_view"))],
    repo: Repo = HERE,
    output: OutputFormat = Format.text,
) -> None:
    """Show the rows of a view that failed its checks."""
    with open_store(repo) as store:
        rows = store.quarantine(view)
    found = [] if rows is None else rows.to_pylist()
    if output is Format.json:
        print_json(found)
        return
    for row in found:
        reason = row.pop("reason")
        typer.echo(f"{reason}: {', '.join(f'{key}={value}' for key, value in row.items())}")
    typer.echo(f"{len(found):,} rows in quarantine.")


def materialize(
    views: Annotated[
        list[str] | None,
        typer.Argument(help="Feature views; all when none is given.", autocompletion=names_of("feature_view")),
    ] = None,
    repo: Repo = HERE,
) -> None:
    """Copy the newest rows of views into the online store."""
    with open_store(repo) as store:
        for name in views or [one.name for one in store.registry.list("feature_view")]:
            with _rows(name) as progress:
                report = store.materialize(name, progress=progress)
            typer.echo(str(report))


@_dataset.command("create")
def dataset_create(
    name: Annotated[str, typer.Argument(help="The dataset's name.")],
    service: Annotated[str, typer.Option(help="The feature service.", autocompletion=names_of("feature_service"))],
    entities: Annotated[Path, typer.Option(help="Parquet or CSV with join keys, request fields and instants.")],
    label: Annotated[str | None, typer.Option(help="The column that a model is to predict.")] = None,
    timestamp_field: Annotated[str, typer.Option(help="The column of the instants.")] = "event_timestamp",
    repo: Repo = HERE,
) -> None:
    """Join entity rows with a service's features, each at its own instant, and keep the result."""
    with open_store(repo) as store:
        made = store.create_training_dataset(
            name, entity_df=_read(entities), features=service, label=label, timestamp_field=timestamp_field
        )
        manifest = made.manifest
        typer.echo(f"{made.id}: {manifest['rows']:,} rows of {manifest['service']} in {manifest['path']}")
        typer.echo(f"content hash {manifest['content_hash']}")
        for note in manifest["notes"]:
            typer.echo(f"  note: {note}")


@_dataset.command("list")
def dataset_list(repo: Repo = HERE, output: OutputFormat = Format.text) -> None:
    """List the training datasets."""
    with open_store(repo) as store:
        found = store.registry.datasets()
    if output is Format.json:
        print_json([{"id": one.id, **one.manifest} for one in found])
        return
    for one in found:
        manifest, made = one.manifest, f"{one.created_at:%Y-%m-%d %H:%M}"
        typer.echo(f"{one.id:32} {manifest['service']:28} {manifest['rows']:>12,} rows  {made}")
    if not found:
        typer.echo("There is no dataset. Next: featurestore dataset create NAME --service SERVICE --entities FILE")


def status(repo: Repo = HERE, output: OutputFormat = Format.text) -> None:
    """Show what is registered, stored and served."""
    with open_store(repo) as store:
        found = store.status()
    if output is Format.json:
        print_json(found)
        return
    typer.echo(f"project {found['project']}, {found['root']}")
    for view in found["views"]:
        table = "never ingested" if view["loads"] == 0 else f"{view['rows']:,} rows, {view['loads']} loads"
        quarantined = f", {view['quarantined']:,} quarantined" if view["quarantined"] else ""
        typer.echo(f"  view     {view['id']:30} {table}{quarantined}; online {view['online_rows']:,} rows")
    for service in found["services"]:
        aliases = "".join(f", {alias} -> @{version}" for alias, version in service["aliases"].items())
        typer.echo(f"  service  {service['id']:30} {service['features']} features{aliases}")
    for dataset in found["datasets"]:
        typer.echo(f"  dataset  {dataset['id']:30} {dataset['rows']:,} rows")
    for model in found["models"]:
        typer.echo(f"  model    {model['id']:30} of {model['service']}, trained on {model['dataset']}")


def _with_source(store: FeatureStore) -> list[str]:
    names = [one.name for one in store.registry.list("feature_view") if _has_source(one.definition)]
    if not names:
        raise DataError("No feature view with a source to read is registered.", hint="featurestore apply")
    return names


def _has_source(view: Any) -> bool:
    return view.source is not None and view.source.spec()["kind"] != "push"


def _read(file: Path) -> pa.Table:
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    try:
        if file.suffix.lower() != ".csv":
            return pyarrow.parquet.read_table(file)
        table = pyarrow.csv.read_csv(file)
        # Arrow takes a column that is not UTF-8 for bytes, and a name that is not for one that nobody can ask for.
        faulty = [name for name in table.column_names if pyarrow.types.is_binary(table.schema.field(name).type)]
        if faulty:
            raise DataError(f'{file} cannot be read: its column "{faulty[0]}" is not UTF-8 text.', hint=_SAVE_AS_UTF8)
        return table
    except FileNotFoundError:
        raise DataError(f"There is no file {file}.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file} cannot be read: its first line is not UTF-8 text.", hint=_SAVE_AS_UTF8) from error
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"{file} cannot be read: {str(error).splitlines()[0]}", hint="It must be Parquet or CSV."
        ) from error
