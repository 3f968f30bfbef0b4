"""Commands on the serving log: log tail."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featurestore.cli.completion import names_of
from featurestore.cli.options import HERE, Format, Repo
from featurestore.errors import ObjectNotFoundError

if TYPE_CHECKING:
    from featurestore.definitions import FeatureService
    from featurestore.registry import Registry

#: In the place of a value that is about a person, and of one of which nobody can say whether it is.
_PERSONAL, _UNKNOWN = "(pii)", "(not shown)"


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    group = typer.Typer(help="What was served.", no_args_is_help=True)
    group.command()(tail)
    app.add_typer(group, name="log")


def tail(
    service: Annotated[
        str,
        typer.Argument(
            help="A feature service, or a version of it; all when not given.",
            autocompletion=names_of("feature_service"),
        ),
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new rows until Ctrl-C.")] = False,
    count: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many rows to begin with.")] = 20,
    replay: Annotated[str, typer.Option(metavar="NAME", help="The log of a rehearsal.")] = "",
    repo: Repo = HERE,
    output: Annotated[
        Format, typer.Option("--format", help="text, or json for programs: an object a line.")
    ] = Format.text,
) -> None:
    """Show the newest rows of the serving log, the latest last.

    Values of fields tagged pii are not shown; the log's files have them.
    """
    from featurestore import config as configuration
    from featurestore.folders import check_folders
    from featurestore.registry import open_registry
    from featurestore.serving.log_tail import LogTail, logged_services

    config = configuration.load(repo)
    config = config.for_replay(replay) if replay else config
    check_folders(config)
    folder = config.path(config.serving.log_path)
    with contextlib.closing(open_registry(config.database_url(config.registry), config.project)) as registry:
        name = service.partition("@")[0]
        if name and name not in logged_services(folder):  # one that was deleted may have rows still
            registry.get(name, kind="feature_service")
        log, shown = LogTail(folder, service), _Shown(registry)
        newest = log.newest(count)
        if not newest:
            typer.echo(f"{folder} has no rows{f' of {service}' if service else ''} yet.", err=True)
        try:
            for row in itertools.chain(newest, log.follow() if follow else ()):
                found = shown(row)
                typer.echo(json.dumps(found, default=str) if output is Format.json else _line(found))
        except KeyboardInterrupt:
            if not follow:
                raise


class _Shown:
    """Puts rows of the log into the shape in which they are shown."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._definitions: dict[str, FeatureService | None] = {}

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        from featurestore.serving.log import COMPLETE_TO, SNAPSHOT
        from featurestore.v1 import serving_pb2 as pb

        if row["service"] not in self._definitions:
            self._definitions[row["service"]] = self._definition(row["service"])
        definition = self._definitions[row["service"]]
        inputs: dict[str, Any] = {}
        features: dict[str, Any] = {}
        if definition is not None:
            asked = {one.name: one.pii for one in definition.request}
            inputs = {name: _value(row, name, personal=asked.get(name, False)) for name in (*definition.keys, *asked)}
            outputs = [one for fields in definition.outputs.values() for one in fields]
            features = {one.name: _value(row, one.name, personal=one.pii) for one in outputs}
        else:  # without the definition nobody knows which values are about persons
            ours = {"request_id", "row", "served_at", "service", "replay", SNAPSHOT, COMPLETE_TO}
            features = {name: _UNKNOWN for name in row if name not in ours and "__" not in name}
        status = pb.RowStatus.Name
        views = {
            name.removesuffix("__status"): {
                "status": status(value).removeprefix("ROW_STATUS_"),
                "event_timestamp": row[f"{name.removesuffix('__status')}__event_timestamp"],
            }
            for name, value in row.items()
            if name.endswith("__status") and f"{name.removesuffix('__status')}__event_timestamp" in row
        }
        return {
            "served_at": row["served_at"],
            "service": row["service"],
            "request_id": row["request_id"],
            "row": row["row"],
            "inputs": inputs,
            "features": features,
            "views": views,
            "replay": row["replay"],
            "snapshot": row.get(SNAPSHOT),
            "complete_to": row.get(COMPLETE_TO),
        }

    def _definition(self, service: str) -> FeatureService | None:
        try:
            return self._registry.resolve_service(service).definition
        except ObjectNotFoundError:
            return None


def _value(row: Mapping[str, Any], name: str, *, personal: bool) -> Any:
    value = row.get(name)
    return _PERSONAL if personal and value is not None else value


def _line(row: Mapping[str, Any]) -> str:
    cells = [f"{name}={value}" for name, value in row["inputs"].items()]
    cells += ["->", *(f"{name}={'' if value is None else value}" for name, value in row["features"].items())]
    for name, view in row["views"].items():
        event = view["event_timestamp"]
        cells.append(f"[{name} {view['status']}{'' if event is None else f' {event:%Y-%m-%d %H:%M:%S}'}]")
    when = f"{'REPLAY ' if row['replay'] else ''}{row['served_at']:%Y-%m-%d %H:%M:%S.%f}"
    return f"{when} {row['service']} {row['request_id']}/{row['row']} {' '.join(cells)}"
