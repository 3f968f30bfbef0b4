"""Commands on training datasets: dataset create, list, show, reproduce, diff."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featurestore.cli.completion import names_of
from featurestore.cli.options import (
    HERE,
    Format,
    OutputFormat,
    PlanFormat,
    Repo,
    checked_query,
    open_registry_of,
    open_store,
    print_colored,
    print_json,
    warn_of_low_disk,
)
from featurestore.cli.progress import rows_done

if TYPE_CHECKING:
    from featurestore.definitions import Split
    from featurestore.registry import DatasetRecord


_Dataset = Annotated[str, typer.Argument(help="A dataset: delays, the newest version, or delays@1.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    group = typer.Typer(help="Training datasets.", no_args_is_help=True)
    for command in (create, list_, show, reproduce, diff):
        group.command(command.__name__.rstrip("_"))(command)
    app.add_typer(group, name="dataset")


def create(
    name: Annotated[str, typer.Argument(help="The dataset's name; each call makes its next version.")],
    service: Annotated[str, typer.Option(help="The feature service.", autocompletion=names_of("feature_service"))],
    entities: Annotated[
        Path | None, typer.Option(help="Parquet or CSV with join keys, request fields and instants.")
    ] = None,
    sql: Annotated[
        str, typer.Option(metavar="QUERY", help="Instead, a SELECT over the named FileSources of the project.")
    ] = "",
    start: Annotated[
        str, typer.Option(metavar="INSTANT", help="Instead of entity rows: every row of the views from then on ...")
    ] = "",
    end: Annotated[str, typer.Option(metavar="INSTANT", help="... and before then: 2013-02-01T00:00:00Z.")] = "",
    label: Annotated[str | None, typer.Option(help="The column that a model is to predict.")] = None,
    timestamp_field: Annotated[str, typer.Option(help="The column of the instants.")] = "event_timestamp",
    as_of: Annotated[
        str, typer.Option(metavar="INSTANT", help="As if asked then: rows that were ingested later do not count.")
    ] = "",
    known_at: Annotated[
        str, typer.Option(metavar="row", help="row: a feature row counts from when it was known, not from its event.")
    ] = "",
    full_feature_names: Annotated[
        bool, typer.Option("--full-feature-names", help="Name features by their views too: weather__temp.")
    ] = False,
    split: Annotated[
        str,
        typer.Option(
            metavar="SPLIT",
            help="time:test=2013-12-01T00:00:00Z, time:train=0.8,test=0.2, key:train=0.8,test=0.2, "
            "group(COLUMN):train=0.8,test=0.2 or row:train=0.8,test=0.2; a part validation, too.",
        ),
    ] = "",
    seed: Annotated[int, typer.Option(help="Of a split by key, group or row.")] = 0,
    hyperparameters: Annotated[
        str, typer.Option(metavar="JSON", help='Of the model that is to be trained: {"alpha": 0.1}.')
    ] = "",
    repo: Repo = HERE,
    output: OutputFormat = Format.text,
) -> None:
    """Join entity rows with a service's features, each at its own instant, and keep the result."""
    if known_at not in ("", "row"):
        raise typer.BadParameter(f'--known-at is "{known_at}"; it is row, or left out.')
    if entities is not None and sql:
        raise typer.BadParameter("entity rows are given twice, by --entities and by --sql.")
    chosen = _split(split, seed) if split else None
    parameters = _json_object(hyperparameters)
    with open_store(repo) as store, rows_done(name) as progress:
        warn_of_low_disk(store)
        made = store.create_training_dataset(
            name,
            entity_df=checked_query(sql) or entities,
            features=service,
            label=label,
            timestamp_field=timestamp_field,
            start=start or None,
            end=end or None,
            as_of=as_of or None,
            known_at="row" if known_at else None,
            full_feature_names=full_feature_names,
            split=chosen,
            hyperparameters=parameters,
            progress=progress,
        )
    manifest = made.manifest
    if output is Format.json:
        print_json({"id": made.id, **manifest})
        return
    typer.echo(f"{made.id}: {manifest['rows']:,} rows of {manifest['service']} in {manifest['path']}")
    if manifest["rows_per_part"]:
        typer.echo(f"  {_parts(manifest)}")
    typer.echo(f"content hash {manifest['content_hash']}")
    for note in manifest["notes"]:
        typer.echo(f"  note: {note}")


def _split(text: str, seed: int) -> Split:
    from featurestore.definitions import GroupSplit, KeySplit, RandomSplit, TimeSplit

    kind, _, given = text.partition(":")
    parts = dict(one.split("=", 1) for one in given.split(",") if "=" in one)
    if kind == "time" and not any(_is_number(one) for one in parts.values()):
        from featurestore.types import utc

        cuts = {name: utc(one, f"{name} of --split") for name, one in parts.items()}
        if not cuts or not set(cuts) <= {"validation", "test"}:
            raise typer.BadParameter(f'"{text}" is no split; write time:test=2013-12-01T00:00:00Z.')
        return TimeSplit(validation=cuts.get("validation"), test=cuts.get("test"))
    if not parts or not all(_is_number(one) for one in parts.values()):
        raise typer.BadParameter(f'"{text}" is no split; write key:train=0.8,test=0.2.')
    shares = {name: float(one) for name, one in parts.items()}
    if kind == "time":
        return TimeSplit(shares=shares)
    if kind.startswith("group(") and kind.endswith(")"):
        return GroupSplit(column=kind[6:-1], shares=shares, seed=seed)
    if kind not in ("key", "row"):
        raise typer.BadParameter(f'there is no split by "{kind}"; there is time, key, group(COLUMN) and row.')
    return (KeySplit if kind == "key" else RandomSplit)(shares=shares, seed=seed)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _json_object(text: str) -> dict[str, Any]:
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"--hyperparameters is no JSON: {error}.") from None
    if not isinstance(found, dict):
        raise typer.BadParameter('--hyperparameters is no JSON object; write {"alpha": 0.1}.')
    return found


def list_(repo: Repo = HERE, output: OutputFormat = Format.text) -> None:
    """List the training datasets."""
    from featurestore import config as configuration
    from featurestore.offline.datasets.erasures import rows_left

    with open_registry_of(repo) as registry:
        found = registry.datasets()
    config = configuration.load(repo)
    if output is Format.json:
        print_json([{"id": one.id, "rows_left": rows_left(one, config), **one.manifest} for one in found])
        return
    for one in found:
        manifest, made = one.manifest, f"{one.created_at:%Y-%m-%d %H:%M}"
        typer.echo(f"{one.id:32} {manifest['service']:28} {rows_left(one, config):>12,} rows  {made}")
    if not found:
        typer.echo("There is no dataset. Next: featurestore dataset create NAME --service SERVICE --entities FILE")


def show(name: _Dataset, repo: Repo = HERE, output: OutputFormat = Format.text) -> None:
    """Show how a dataset was made, and the models that were trained on it."""
    from featurestore import config as configuration
    from featurestore.offline.datasets.erasures import erasures_of, rows_left

    with open_registry_of(repo) as registry:
        record = registry.dataset(name)
        models = [one for one in registry.models() if one.dataset == record.id]
    config = configuration.load(repo)
    erased, left = erasures_of(record, config), rows_left(record, config)
    if output is Format.json:
        about = {"models": [one.id for one in models], "rows_left": left, "erasures": [vars(one) for one in erased]}
        print_json({"id": record.id, **about, **record.manifest})
        return
    for line in _shown(record, left):
        typer.echo(line)
    for one in erased:
        typer.echo(f"  {'erased':14} {one.rows:,} rows, request {one.request}")
    for model in models:
        metrics = ", ".join(f"{metric} {value:g}" for metric, value in model.metrics.items())
        typer.echo(f"  {'model':14} {model.id} of {model.service}{f': {metrics}' if metrics else ''}")


def _shown(record: DatasetRecord, left: int) -> Iterator[str]:
    manifest = record.manifest
    yield f"dataset {record.id}"
    said: list[tuple[str, Any]] = [
        ("made", f"{record.created_at:%Y-%m-%d %H:%M} by {record.created_by}"),
        ("service", manifest["service"]),
        ("rows", f"{_count(left, manifest['rows'])}, {manifest['first_instant']} to {manifest['last_instant']}"),
        ("parts", _parts(manifest)),
        ("label", manifest["label"]),
        ("instants", manifest["timestamp_field"]),
        ("as of", manifest.get("as_of")),
        ("known at", manifest.get("known_at")),
        ("split", _pairs(manifest.get("split") or {})),
        ("hyperparameters", _pairs(manifest.get("hyperparameters") or {})),
        ("rows in", manifest["path"]),
        ("content hash", manifest["content_hash"]),
        ("git commit", manifest["git_commit"]),
        ("python", f"{manifest['environment']['python']}, {len(manifest['environment']['packages'])} packages"),
    ]
    yield from (f"  {word:14} {value}" for word, value in said if value)
    for name, view in manifest["views"].items():
        table = "never ingested" if view["table_version"] is None else f"{view['storage_id']} v{view['table_version']}"
        files = f", {len(view['files'])} files" if view.get("files") else ""
        yield f"  {'view':14} {name}@{view['version']}, {table}{files}"
    for name, view in manifest["on_demand_views"].items():
        yield f"  {'on-demand':14} {name}@{view['version']}"
    yield f"  {'columns':14} {', '.join(f'{name} ({dtype})' for name, dtype in manifest['columns'].items())}"
    yield from (f"  {'note':14} {note}" for note in manifest["notes"])


def _count(left: int, made: int) -> str:
    return f"{made:,}" if left == made else f"{left:,} of {made:,}"


def _parts(manifest: Mapping[str, Any]) -> str:
    from featurestore.offline.datasets.manifest import parts_of

    return ", ".join(f"{part} {manifest['rows_per_part'][part]:,} rows" for part in parts_of(manifest))


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in values.items())


def reproduce(
    name: _Dataset,
    out: Annotated[Path | None, typer.Option(help="Write the rows that came out, as Parquet.")] = None,
    repo: Repo = HERE,
    output: OutputFormat = Format.text,
) -> None:
    """Make a dataset again from what its manifest names, and prove that it is the same; exit code 1 if it is not."""
    with open_store(repo) as store, rows_done(name) as progress:
        found = store.reproduce_dataset(name, out=out, progress=progress)
    if output is Format.json:
        print_json(found.to_json())
    else:
        typer.echo(str(found))
        if out is not None and found.found:
            typer.echo(f"  {found.rows:,} rows in {out}")
        for note in found.notes:
            typer.echo(f"  note: {note}")
    if not found.proved:
        raise typer.Exit(1)


def diff(
    old: _Dataset,
    new: Annotated[str, typer.Argument(help="Another dataset, or another version.")],
    repo: Repo = HERE,
    output: OutputFormat = Format.text,
) -> None:
    """Show what is different in one dataset from another: rows, columns, definitions, distributions."""
    with open_store(repo) as store, rows_done(f"{old} and {new}"):
        found = store.diff_datasets(old, new)
    if output is Format.json:
        print_json(found.to_json())
    else:
        print_colored(str(found), PlanFormat.text)
