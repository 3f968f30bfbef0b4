"""The command loadtest."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featurestore.cli.calling import Ca, Certificate, Key, Tls, TokenFile
from featurestore.cli.completion import names_of
from featurestore.cli.options import HERE, Format, OutputFormat, Repo, open_store
from featurestore.errors import ConfigError

if TYPE_CHECKING:
    from featurestore.config import Config
    from featurestore.loadtest.entity_rows import EntityRows
    from featurestore.loadtest.result import Result
    from featurestore.loadtest.running import Watch
    from featurestore.loadtest.schedule import Schedule
    from featurestore.serving.plan import ServicePlan
    from featurestore.store import FeatureStore

_INVALID = 2
_INTERRUPTED = 130


class Arrivals(StrEnum):
    """How requests follow one another."""

    poisson = "poisson"
    constant = "constant"


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(loadtest)


def loadtest(
    service: Annotated[
        str, typer.Argument(help="A feature service: churn, churn@2.", autocompletion=names_of("feature_service"))
    ],
    server: Annotated[str, typer.Option(metavar="HOST:PORT", help="The server; none is started.")] = "",
    rate: Annotated[str, typer.Option(metavar="NUMBER", help="Requests a second; 500 when not given.")] = "",
    duration: Annotated[str, typer.Option(metavar="DURATION", help="How long; 30s when not given.")] = "",
    ramp: Annotated[
        str,
        typer.Option(
            metavar="FROM:TO:DURATION", help="A rate that grows, to find where the server gives in: 100:5000:60s."
        ),
    ] = "",
    arrivals: Annotated[
        Arrivals, typer.Option(help="poisson, as of many users, or constant: evenly spaced.")
    ] = Arrivals.poisson,
    rows: Annotated[
        str,
        typer.Option(metavar="ROWS", help="Entity rows of a request: 1, or a mix, 1:90%,100:10%. 1 when not given."),
    ] = "",
    from_log: Annotated[
        bool, typer.Option("--from-log", help="Replay requests of the serving log; without --rows as they were.")
    ] = False,
    entity_rows: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Ask for the rows of a .parquet or .csv file.")
    ] = None,
    keys: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many different entity rows at most.")] = 20_000,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Senders.")] = 1,
    connections: Annotated[int, typer.Option(min=1, max=256, help="Connections of each sender.")] = 2,
    timeout: Annotated[str, typer.Option(metavar="DURATION", help="When a request is given up.")] = "1s",
    outstanding: Annotated[
        int, typer.Option(min=1, max=100_000, help="Requests that may be without a response at once.")
    ] = 1_000,
    target: Annotated[
        str,
        typer.Option(metavar="BOUNDS", help='What must be reached, else the exit code is 1: "p99<5ms,errors<0.1%".'),
    ] = "",
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw latency and rate: .svg or .png.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all figures as JSON.")] = None,
    allow_remote: Annotated[bool, typer.Option("--allow-remote", help="The server may be on another machine.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of keys, order and arrivals; the same is the same test.")] = 0,
    tls: Tls = False,
    ca: Ca = None,
    certificate: Certificate = None,
    key: Key = None,
    token_file: TokenFile = None,
    repo: Repo = HERE,
    output: OutputFormat = Format.text,
) -> None:
    """Put a server under load and measure it: requests go out at their instants, whatever becomes of those before.

    The requests are real: they stand in the server's log, under ids that begin with "loadtest-". Exit code: 0, 1 for a
    target that was missed, 2 where the senders could not keep up and the figures are worth nothing.
    """
    from featurestore.loadtest.bodies import serialized
    from featurestore.loadtest.report import drawn, lines
    from featurestore.loadtest.result import About
    from featurestore.loadtest.running import check_address, run_loadtest
    from featurestore.loadtest.schedule import seconds_of
    from featurestore.loadtest.sending import Endpoint, Job
    from featurestore.loadtest.targets import parse_targets
    from featurestore.plots import check_file, write

    # All that was typed is looked at before anything is opened or sent.
    schedule = _schedule(rate, duration, ramp, poisson=arrivals is Arrivals.poisson)
    targets, seconds, shares = parse_targets(target), seconds_of(timeout, "--timeout"), _shares(rows, from_log=from_log)
    if plot is not None:
        check_file(plot)
    if from_log and entity_rows is not None:
        raise ConfigError("--from-log and --entity-rows both say whom to ask for.", hint="Give one of them.")
    run = secrets.token_hex(4)
    with open_store(repo) as store:
        address = check_address(server or _no_server(store.config), allow_remote=allow_remote)
        endpoint = Endpoint(address=address, tls=tls or None, ca=ca, certificate=certificate, key=key, token=token_file)
        endpoint.target(connections).metadata()  # which says what is wrong with the files
        plan, asked = _asked(store, service, from_log=from_log, file=entity_rows, count=keys, seed=seed)
    bodies = serialized(plan, service, asked, shares, run=run, seed=seed)
    job = Job(
        endpoint=endpoint,
        bodies=bodies,
        schedule=schedule,
        seed=seed,
        timeout=seconds,
        outstanding=outstanding,
        connections=connections,
    )
    per_request = (
        "as logged" if shares is None else ", ".join(f"{one:,} ({share:.0%})" for one, share in shares.items())
    )
    about = About(service=service, server=address, run=run, rows=f"{asked.origin}; rows a request: {per_request}")
    with _shown(schedule) as watch:
        result = run_loadtest(job, targets, about, processes=processes, watch=watch)
    if output is Format.json:
        typer.echo(json.dumps(result.to_json(), indent=2))
    else:
        for line in lines(result):
            typer.echo(line)
    if json_file is not None:
        _write(json_file, json.dumps(result.to_json(), indent=2) + "\n")
    if plot is not None:
        write(drawn(result), plot)
    raise typer.Exit(_exit_code(result))


def _schedule(rate: str, duration: str, ramp: str, *, poisson: bool) -> Schedule:
    from featurestore.loadtest.schedule import Schedule, rate_of, seconds_of

    if ramp:
        if rate or duration:
            raise ConfigError("--ramp has rates and a duration of its own.", hint="Leave --rate and --duration out.")
        return Schedule.ramp(ramp, poisson=poisson)
    steady = rate_of(rate or "500", "--rate")
    seconds = seconds_of(duration or "30s", "--duration")
    return Schedule(first=steady, last=steady, seconds=seconds, poisson=poisson)


def _shares(rows: str, *, from_log: bool) -> dict[int, float] | None:
    from featurestore.loadtest.entity_rows import parse_rows

    return None if from_log and not rows else parse_rows(rows or "1")


def _no_server(config: Config) -> str:
    where = f"{config.serving.host}:{config.serving.port}"
    raise ConfigError(
        "No server is named, and a load test starts none.",
        hint=f"featurestore serve, in another terminal; then add --server {where}",
    )


def _asked(
    store: FeatureStore, service: str, *, from_log: bool, file: Path | None, count: int, seed: int
) -> tuple[ServicePlan, EntityRows]:
    from featurestore.loadtest.entity_rows import logged_rows, rows_of_file, sampled_rows
    from featurestore.serving.plan import compile_plan

    plan = compile_plan(store.registry.resolve_service(service))
    if file is not None:
        return plan, rows_of_file(plan, file, count=count)
    if from_log:
        return plan, logged_rows(plan, store.config.path(store.config.serving.log_path), count=count)
    return plan, sampled_rows(plan, store.online, count=count, seed=seed)


@contextmanager
def _shown(schedule: Schedule) -> Iterator[Watch | None]:
    """Show how far the test is, where standard error is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from featurestore.loadtest.sending import Progress as Sent

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (BarColumn(), TextColumn("{task.fields[said]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=schedule.seconds, said="")

        def watch(second: float, sent: Sent) -> None:
            waiting = sent.sent - sent.answered - sent.failed
            now = min(second, schedule.seconds)
            counts = f"{sent.answered:,} answered  {waiting:,} waiting  {sent.failed:,} failed"
            said = f"{schedule.rate_at(now):,.0f}/s  {counts}"
            bar.update(task, completed=now, said=said)

        yield watch


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}.") from error


def _exit_code(result: Result) -> int:
    if result.interrupted:
        return _INTERRUPTED
    if result.invalid:
        return _INVALID
    return 0 if result.passed else 1
