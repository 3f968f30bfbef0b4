"""``featurestore monitor``: run-once, start, status, parity."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featurestore.cli.options import HERE, Format, OutputFormat, Repo, open_store, print_json
from featurestore.errors import FeatureStoreError, MonitorError

if TYPE_CHECKING:
    from featurestore.config import Config
    from featurestore.definitions import MonitorPolicy
    from featurestore.registry import Registered, Registry
    from monitor.alerts.base import Channel
    from monitor.history import History
    from monitor.pipeline import RunReport

app = typer.Typer(help="Watch what is served for drift from what was trained on.", no_args_is_help=True)

Replay = Annotated[str, typer.Option("--replay", metavar="NAME", help="A rehearsal's log instead of the live one.")]


@app.command("run-once")
def run_once(repo: Repo = HERE, replay: Replay = "") -> None:
    """Judge every window that has closed, deliver what is due, and exit: for cron and Airflow."""
    from monitor.alerts.outbox import Courier
    from monitor.lock import sole_monitor
    from monitor.pipeline import run_once as run_policy

    with open_store(repo, replay) as store, _history(store.config) as history, _channels(store.config) as channels:
        policies = _policies(store.registry)
        fault: FeatureStoreError | None = None
        with sole_monitor(history.path):
            try:
                for policy in policies:
                    try:
                        _show(run_policy(store, history, policy, now=datetime.now(UTC)))
                    except FeatureStoreError as error:
                        # The other policies are judged all the same.
                        typer.echo(f"{policy.id}: {error.message}")
                        fault = fault or error
            finally:
                # What earlier runs decided goes out, whatever this one meets.
                sent = Courier(history, channels).deliver_due()
                typer.echo(f"Messages: {sent.delivered} delivered, {sent.delayed} put off, {sent.dead} given up.")
        if fault is not None:
            raise fault


@app.command()
def start(repo: Repo = HERE, replay: Replay = "") -> None:
    """Work until SIGTERM or Ctrl-C: judge windows as they close, deliver messages, try again what failed."""
    from monitor.daemon import Daemon

    with open_store(repo, replay) as store, _history(store.config) as history, _channels(store.config) as channels:
        _policies(store.registry)
        where = f"REPLAY {replay}: " if replay else ""
        typer.echo(f"{where}monitor of project {store.config.project}, every {store.config.monitor.poll_seconds:g} s")
        Daemon(store, history, channels).run()


@app.command()
def status(repo: Repo = HERE, replay: Replay = "", output: OutputFormat = Format.text) -> None:
    """Show windows judged, verdicts, evidence against its limit, incidents, messages and signals."""
    from monitor.status import status as read_status
    from monitor.windows import ServingLog

    with open_store(repo, replay) as store, _history(store.config) as history:
        policies = [store.registry.policy(one.name) for one in store.registry.list("monitor_policy")]
        watermark = ServingLog(store.config).watermark(now=datetime.now(UTC))
        found = read_status(history, policies, watermark=watermark, replay=replay)
    if output is Format.json:
        print_json(found)
        return
    for line in _status_lines(found):
        typer.echo(line)


@app.command()
def parity(
    service: Annotated[str, typer.Argument(help="A service version: flight_delay@1.")],
    rows: Annotated[int, typer.Option(min=1, help="Logged rows to compare.")] = 1000,
    repo: Repo = HERE,
    replay: Replay = "",
    output: OutputFormat = Format.text,
) -> None:
    """Compare logged rows with the point-in-time join at the same instants, value by value.

    Examples hold join keys: they are for this terminal, not for a ticket.
    """
    from monitor.parity import check_parity

    with open_store(repo, replay) as store:
        report = check_parity(store, service, rows=rows)
    if output is Format.json:
        print_json(asdict(report))
        return
    typer.echo(
        f"{report.service}: {report.checked:,} rows ({report.values:,} values) compared, "
        f"{report.mismatches:,} mismatches, {report.lagged:,} lagged."
    )
    if not report.checked:
        typer.echo("The serving log has no row of this version; name another one, or ask a server first.")
    for feature, count in sorted(report.by_feature.items(), key=lambda item: (-item[1], item[0])):
        typer.echo(f"  {feature}: {count:,} rows differ")
    for one in report.examples:
        keys = ", ".join(f"{key}={value}" for key, value in one.keys.items())
        typer.echo(f"  {one.request_id}[{one.row}] {keys}: {one.feature} served {one.served!r}, joined {one.joined!r}")


@contextmanager
def _history(config: Config) -> Iterator[History]:
    from monitor.history import History

    with History(config.database_url(config.monitor.database)) as history:
        yield history


@contextmanager
def _channels(config: Config) -> Iterator[dict[str, Channel]]:
    from monitor.alerts.channels import open_channels

    channels = open_channels(config)
    with ExitStack() as stack:
        for channel in channels.values():
            stack.callback(channel.close)
        yield channels


def _show(report: RunReport) -> None:
    if not report.services:
        typer.echo(f"{report.policy}: nothing was served yet.")
    for one in report.services:
        typer.echo(
            f"{report.policy} on {one.service}: {one.windows} new windows, {one.verdict}, incident {one.state}"
            f" ({one.fired} fired, {one.resolved} resolved, {one.signals} retraining signals)"
        )


def _policies(registry: Registry) -> list[Registered[MonitorPolicy]]:
    found = [registry.policy(one.name) for one in registry.list("monitor_policy")]
    if not found:
        raise MonitorError(
            "No monitor policy is registered, so there is nothing to watch.",
            hint="Add a MonitorPolicy to the definitions, and run featurestore apply.",
        )
    return found


def _status_lines(found: dict[str, Any]) -> Iterator[str]:
    log = f"REPLAY {found['replay']}, log" if found["replay"] else "Log"
    yield f"{log} complete up to {found['watermark']}" if found["watermark"] else f"{log}: nothing logged yet"
    for policy in found["policies"]:
        yield f"{policy['policy']} watches {policy['service']}"
        for one in policy["services"]:
            yield f"  {one['service']}: {one['verdict']} after {one['windows']:,} windows, {one['rows']:,} rows"
            evidence = one["evidence"]
            if evidence is not None and evidence["log_value"] is not None:
                yield f"    evidence ln {evidence['log_value']:.2f}, limit ln {evidence['log_limit']:.2f}"
    for incident in found["incidents"]:
        yield (
            f"Incident {incident['incident']} of {incident['service']} is {incident['state']} since {incident['onset']}"
        )
    box = found["outbox"]
    yield f"Messages: {box['pending']} pending, {box['delivered']} delivered, {box['dead']} dead"
    for signal in found["signals"]:
        yield f"Retraining signal {signal['id']} for {signal['service']}: {signal['reason']}"
    daemon = found["daemon"]
    yield (
        f"Daemon: pid {daemon['pid']} on {daemon['host']}, last seen {daemon['beat_at']}" if daemon else "Daemon: none"
    )
