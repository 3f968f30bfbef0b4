"""``featurestore monitor retrain | signals | signal | approve | reject | request | dataset``.

Not in the package: a command line that is typed or completed must not wait for what that loads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featurestore.cli.options import HERE, Format, OutputFormat, Repo, open_store, print_json, warn_of_low_disk
from featurestore.cli.progress import rows_done

if TYPE_CHECKING:
    from featurestore.store import FeatureStore
    from monitor.alerts.incident_state import Incident
    from monitor.history import History
    from monitor.retraining.store import StoredSignal

Replay = Annotated[str, typer.Option("--replay", metavar="NAME", help="A rehearsal instead of the live monitor.")]
_Signal = Annotated[str, typer.Argument(metavar="SIGNAL", help="A signal's id, or the first digits of it.")]
_Why = Annotated[str, typer.Option("--reason", metavar="WHY", help="Why; it is entered in the audit log.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the monitor's."""
    for command in (retrain, signals, signal, approve, reject, request, dataset):
        app.command(command.__name__)(command)


def retrain(
    service: Annotated[str, typer.Argument(help="A service (flight_delay), or a version of it.")],
    reason: _Why,
    repo: Repo = HERE,
    replay: Replay = "",
    output: OutputFormat = Format.text,
) -> None:
    """Ask for a new model by hand. While something is broken that the service reads, it waits."""
    from monitor.retraining.asking import ask, hears

    with _opened(repo, replay) as (store, history):
        found = ask(store, history, service, reason=reason, who=store.who(), now=datetime.now(UTC))
        heard = hears(store, found)
    _tell(found, output)
    if not heard:
        whom = (
            "no monitor policy watches its service" if not found.policy else f'policy "{found.policy}" routes nowhere'
        )
        typer.echo(f"  note: nobody hears of it: {whom}, and [signals] has neither a command nor a port", err=True)


def signals(
    service: Annotated[str, typer.Argument(help="Only of this service, or version; all when not given.")] = "",
    every: Annotated[
        bool, typer.Option("--all", help="Not only those that wait, and the newest 100: they are kept for ever.")
    ] = False,
    repo: Repo = HERE,
    replay: Replay = "",
    output: OutputFormat = Format.text,
) -> None:
    """List retraining signals, those that wait too, with why they do."""
    from monitor.retraining.overview import current, shown
    from monitor.retraining.store import list_signals

    of = [service] if service else []
    with _opened(repo, replay) as (_, history), history.read() as connection:
        found = list_signals(connection, services=of) if every else current(connection, of)
    if output is Format.json:
        print_json([shown(one) for one in found])
        return
    for one in found:
        typer.echo(f"{_name(one)}  {one.state:9} {one.service:24} {one.cause.replace('_', ' '):20} {_why(one)}")
    if not found:
        typer.echo("Nothing asks for a new model. By hand: featurestore monitor retrain SERVICE --reason WHY")


def signal(id: _Signal, repo: Repo = HERE, replay: Replay = "", output: OutputFormat = Format.text) -> None:  # noqa: A002 - the argument's name
    """Show a signal: why it was sent, what it asks for, and what became of it, as a timeline."""
    from monitor.retraining.overview import shown, timeline
    from monitor.retraining.store import find_signal

    with _opened(repo, replay) as (_, history), history.read() as connection:
        found = find_signal(connection, id)
        events = timeline(connection, found)
        incident = history.incident_by_key(connection, found.incident) if found.incident else None
    if output is Format.json:
        print_json(shown(found) | {"events": events})
        return
    for line in _lines(found, replay, incident):
        typer.echo(line)
    for one in events:
        who = f" by {one['who']}" if one["who"] else ""
        # That a dataset was made says of which.
        made = " and ".join(one[what] for what in ("dataset", "model") if one[what] and one[what] not in one["reason"])
        said = "; ".join(filter(None, (made, one["reason"]))) or "-"
        typer.echo(f"  {one['at'][:19].replace('T', ' ')}  {one['state']:9}{who}: {said}")


def approve(
    id: _Signal,  # noqa: A002 - the argument's name
    reason: _Why = "",
    repo: Repo = HERE,
    replay: Replay = "",
    output: OutputFormat = Format.text,
) -> None:
    """Agree that a signal goes out. Only who has proved who they are can, and not who asked for it."""
    _decide(id, reason, repo, replay, output, approved=True)


def reject(
    id: _Signal,  # noqa: A002 - the argument's name
    reason: _Why,
    repo: Repo = HERE,
    replay: Replay = "",
    output: OutputFormat = Format.text,
) -> None:
    """Do not agree that a signal goes out; its cause is not asked about again."""
    _decide(id, reason, repo, replay, output, approved=False)


def request(id: _Signal, repo: Repo = HERE, replay: Replay = "", output: OutputFormat = Format.text) -> None:  # noqa: A002 - the argument's name
    """Show what a signal asks to train on: definitions, range of time, entity rows, and what is left out."""
    from featurestore.errors import MonitorError
    from monitor.retraining.store import find_signal

    with _opened(repo, replay) as (_, history), history.read() as connection:
        found = find_signal(connection, id)
    told = found.payload.get("request")
    if told is None:
        raise MonitorError(
            f"Retraining signal {_name(found)} has no training request.",
            hint=f"See why: featurestore monitor signal {_name(found)}",
        )
    if output is Format.json:
        print_json(told)
        return
    for line in _request_lines(told):
        typer.echo(line)
    typer.echo("entity rows")
    for line in str(told["entityRows"]).splitlines():
        typer.echo(f"    {line}")


def dataset(
    id: _Signal,  # noqa: A002 - the argument's name
    name: Annotated[str, typer.Option(help="The dataset's name, in place of the request's.")] = "",
    repo: Repo = HERE,
    replay: Replay = "",
    output: OutputFormat = Format.text,
) -> None:
    """Make the training dataset that a signal asks for; exit code 1 if it is not the one that was made before."""
    from monitor.retraining.dataset import make_dataset

    with _opened(repo, replay) as (store, history), rows_done(name or id) as progress:
        warn_of_low_disk(store)
        made = make_dataset(store, history, id, name=name, who=store.who(), now=datetime.now(UTC), progress=progress)
    manifest = made.dataset.manifest
    if output is Format.json:
        print_json({"id": made.dataset.id, "before": made.before, "same": made.same, **manifest})
    else:
        typer.echo(f"{made.dataset.id}: {manifest['rows']:,} rows of {manifest['service']} in {manifest['path']}")
        typer.echo(f"content hash {manifest['content_hash']}")
        for note in manifest["notes"]:
            typer.echo(f"  note: {note}")
        if made.before:
            typer.echo(f"  {'the same as' if made.same else 'differs from'} {made.before}, made of the same request")
    if not made.same:
        typer.echo(f"  what it reads has changed: featurestore dataset diff {made.before} {made.dataset.id}", err=True)
        raise typer.Exit(1)


def _decide(reference: str, reason: str, repo: Any, replay: str, output: Format, *, approved: bool) -> None:
    from monitor.retraining.asking import decide

    with _opened(repo, replay) as (store, history):
        found = decide(
            store, history, reference, approve=approved, reason=reason, who=store.who(), now=datetime.now(UTC)
        )
    _tell(found, output)


@contextmanager
def _opened(repo: Any, replay: str) -> Iterator[tuple[FeatureStore, History]]:
    from monitor.history import History

    with (
        open_store(repo, replay) as store,
        History(store.config.database_url(store.config.monitor.database)) as history,
    ):
        yield store, history


def _tell(found: StoredSignal, output: Format) -> None:
    from monitor.retraining.overview import shown

    if output is Format.json:
        print_json(shown(found))
        return
    typer.echo(f"Retraining signal {_name(found)} of {found.service} is {found.state}: {_why(found)}")
    for one in found.payload.get("commands", []):
        typer.echo(f"  {one['text']}")


def _lines(found: StoredSignal, replay: str, incident: Incident | None) -> Iterator[str]:
    from monitor.retraining.states import SignalState
    from monitor.retraining.wording import command

    payload, asked = found.payload, found.state is SignalState.PENDING
    yield f"signal {found.id} is {found.state}"
    said = [
        ("service", found.service + (f", {found.slice}" if found.slice else "")),
        ("cause", found.cause.replace("_", " ")),
        ("why", payload.get("reason", "")),
        ("held", found.held),
        ("baseline", found.baseline),
        ("model", found.model),
        ("incident", found.incident if incident is None else command("incident", incident.name, replay=replay)),
        ("asked by", found.asked_by),
        ("approved by", found.approved_by),
        ("expires", f"{found.expires_at:%Y-%m-%d %H:%M} UTC" if asked and found.expires_at else ""),
    ]
    yield from (f"  {word:12} {value}" for word, value in said if value)
    if "request" in payload:
        yield from (f"  {line}" for line in _request_lines(payload["request"]))
        yield f"  {'entity rows':12} {command('request', found.id, replay=replay)}"
    for one in payload.get("commands", []):
        # The request has its own lines above, and this is what "signal" shows.
        if one["name"] not in ("dataset", "request", "signal"):
            yield f"  {one['name']:12} {one['text']}"


def _request_lines(told: Mapping[str, Any]) -> Iterator[str]:
    yield f"{'dataset':12} {told['dataset']}, the next version, for {told['service']}"
    yield f"{'rows':12} of {told['since']} to {told['until']}; ingested until {told['asOf']}"
    if told["label"]:
        yield f"{'label':12} {told['label']}, known {_after(told['labelDelay'])}"
    for one in told["leftOut"]:
        yield f"{'left out':12} {one['since']} to {one['until']}: {one['reason']}"
    yield f"{'definitions':12} {', '.join(f'{name} = {version}' for name, version in told['definitions'].items())}"
    yield f"{'hash':12} {told['hash']}"
    yield f"{'make it':12} {told['command']}"


def _after(delay: str) -> str:
    """Return the JSON form of a duration, ``86400s``, as people say it."""
    seconds = float(delay.removesuffix("s"))
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds and seconds % size == 0:
            return f"after {seconds / size:g} {unit if seconds != size else unit.removesuffix('s')}"
    return f"after {seconds:g} s" if seconds else "at once"


def _name(found: StoredSignal) -> str:
    return found.id[:12]


def _why(found: StoredSignal) -> str:
    return found.held or str(found.payload.get("reason", ""))
