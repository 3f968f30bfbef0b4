"""Commands on lookups: serve, health, get."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featurestore import types
from featurestore.cli.calling import Ca, Certificate, Key, Tls, TokenFile
from featurestore.cli.completion import names_of
from featurestore.cli.options import HERE, Format, OutputFormat, Repo, open_store, print_json
from featurestore.errors import InvalidRequestError, ServerUnavailableError
from featurestore.types.written import parsed

if TYPE_CHECKING:
    from featurestore.client import FeatureClient


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for command in (serve, health, get):
        app.command()(command)


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; serving.host when not given.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="0 takes a free one; serving.port when not given.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; serving.workers when not given.")] = None,
    replay: Annotated[
        str, typer.Option(metavar="NAME", help="Rehearse: a store of its own, and a clock that the client moves.")
    ] = "",
    clock: Annotated[
        str, typer.Option(metavar="INSTANT", help="Where a rehearsal's clock starts: 2013-01-01T00:00:00Z.")
    ] = "",
    repo: Repo = HERE,
) -> None:
    """Answer lookups over gRPC until Ctrl-C or SIGTERM."""
    from featurestore.serving.experiments import choose_listener

    choose_listener(os.environ)
    from featurestore.serving.workers import serve as serve_until_stopped

    with open_store(repo) as store:
        config = store.config
    start = types.utc(clock, "--clock") if clock else None
    serve_until_stopped(config, replay=replay, clock=start, workers=workers, host=host, port=port, announce=typer.echo)


def health(
    address: Annotated[str, typer.Argument(metavar="HOST:PORT", help="The server.")],
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that an answer may take.")] = 2.0,
    tls: Tls = False,
    ca: Ca = None,
    certificate: Certificate = None,
    key: Key = None,
) -> None:
    """Ask a server whether it serves: exit code 0 if it does, 1 if not; for probes of containers and load balancers."""
    from featurestore.client import FeatureClient

    with FeatureClient(address, timeout=timeout, tls=tls or None, ca=ca, certificate=certificate, key=key) as client:
        if not client.is_serving():
            raise ServerUnavailableError(
                f"No feature server answers at {address} that it serves.",
                hint="It starts, drains, or is not there: featurestore serve",
            )
    typer.echo(f"{address} is serving.")


def get(
    service: Annotated[
        str,
        typer.Argument(
            help="A feature service: flight_delay, flight_delay@2.", autocompletion=names_of("feature_service")
        ),
    ],
    values: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="Join keys and request fields of one row.")
    ] = None,
    server: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST:PORT", help="Ask a server, or one of several; else the online store is read directly."
        ),
    ] = None,
    replay: Annotated[str, typer.Option(metavar="NAME", help="Read a rehearsal's store, by its clock.")] = "",
    routing_key: Annotated[
        str, typer.Option(metavar="KEY", help="Decides whether a canary answers; else the join keys do.")
    ] = "",
    timeout: Annotated[float, typer.Option(min=0.001, metavar="SECONDS", help="What a server may take.")] = 5.0,
    tls: Tls = False,
    ca: Ca = None,
    certificate: Certificate = None,
    key: Key = None,
    token_file: TokenFile = None,
    repo: Repo = HERE,
    output: OutputFormat = Format.text,
) -> None:
    """Look one entity row up."""
    from featurestore.client import FeatureClient

    if server:
        with FeatureClient(
            server, timeout=timeout, tls=tls or None, ca=ca, certificate=certificate, key=key, token=token_file
        ) as client:
            _print(_look_up(client, service, values or [], routing_key), output)
    else:
        with open_store(repo, replay) as store:
            _print(_look_up(store.client(), service, values or [], routing_key), output)


def _look_up(client: FeatureClient, service: str, values: list[str], routing_key: str) -> dict[str, Any]:
    schema = client.get_schema(service)
    columns = (*schema.join_keys, *schema.request_fields)
    dtypes = {one.name: types.by_name(one.dtype) for one in columns}
    row = _row(values, dtypes, optional={one.name for one in columns if one.optional})
    answer = client.get_online_features(features=service, entity_rows=[row], routing_key=routing_key)
    if answer.service != schema.service:  # a canary, which may give other features
        schema = client.get_schema(answer.service)
    statuses, events, found = answer.statuses, answer.event_timestamps, answer.to_dict()
    of_features = answer.feature_statuses
    return {
        "service": answer.service,
        "served_at": answer.served_at,
        "replay": answer.replay,
        "stale": answer.stale,
        "complete_to": answer.complete_to,
        "views": {
            view.name: {
                "status": statuses[view.name][0],
                "event_timestamp": events.get(view.name, [None])[0],
                "features": {one.name: found[one.name][0] for one in view.features},
                "feature_statuses": {one.name: of_features[one.name][0] for one in view.features},
            }
            for view in schema.views
        },
    }


def _row(values: list[str], dtypes: Mapping[str, types.DType], optional: set[str]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for text in values:
        name, separator, value = text.partition("=")
        if not separator:
            raise InvalidRequestError(f'"{text}" is not NAME=VALUE.', hint="For example: origin=JFK")
        # An unknown name goes on to the lookup, whose error names what the service takes.
        row[name] = parsed(value, dtypes[name], name) if name in dtypes else value
    for name, dtype in dtypes.items():
        if name not in row and name not in optional:
            raise InvalidRequestError(f'The lookup needs "{name}" ({dtype}).', hint=f"Add {name}=...")
    return row


def _print(found: dict[str, Any], output: Format) -> None:
    if output is Format.json:
        print_json(found)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    when = f"{found['served_at']:%Y-%m-%d %H:%M:%S} UTC" + (", REPLAY" if found["replay"] else "")
    table = Table("view", "feature", "value", "status", "true at", title=f"{found['service']} at {when}", box=None)
    for name, view in found["views"].items():
        event = view["event_timestamp"]
        for feature, value in view["features"].items():
            # As Text: square brackets in a value are no markup.
            shown = Text("" if value is None else str(value))
            status = view["feature_statuses"][feature]
            table.add_row(name, feature, shown, status, "" if event is None else f"{event:%Y-%m-%d %H:%M}")
    Console(highlight=False).print(table)
    if found["stale"]:
        typer.echo(f"STALE: the store is away; its copy is complete to {found['complete_to']:%Y-%m-%d %H:%M:%S} UTC")
