"""``featurestore monitor``: run-once, start, status, backtest, parity, second-opinion, and ``monitor.performance``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from math import exp
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featurestore.cli.options import HERE, Format, OutputFormat, Repo, instant, open_store, print_json
from featurestore.errors import FeatureStoreError, MonitorError
from monitor.alerts import check_commands, outbox_commands
from monitor.alerts.commands import register as register_incidents
from monitor.performance.commands import register
from monitor.report_command import register as register_report
from monitor.retraining_commands import register as register_retraining
from monitor.rollback_commands import register as register_actions

if TYPE_CHECKING:
    from featurestore.config import Config
    from featurestore.definitions import MonitorPolicy
    from featurestore.registry import Registered, Registry
    from featurestore.store import FeatureStore
    from monitor.alerts.base import Channel
    from monitor.history import History
    from monitor.pipeline import RunReport

app = typer.Typer(help="Watch what is served for drift from what was trained on.", no_args_is_help=True)

register_incidents(app)
register(app)
register_retraining(app)
register_actions(app)
register_report(app)
outbox_commands.register(app)
check_commands.register(app)

Replay = Annotated[str, typer.Option("--replay", metavar="NAME", help="A rehearsal's log instead of the live one.")]
ServedSince = Annotated[
    str, typer.Option("--since", metavar="INSTANT", help="Only rows served from then on: 2024-05-01T00:00:00Z.")
]
ServedUntil = Annotated[str, typer.Option("--until", metavar="INSTANT", help="Only rows served before.")]


#: The exit code of ``run-once --exit-code`` when an alert fires; an error is 1, a wrong command line 2.
FIRING = 10


@app.command("run-once")
def run_once(
    repo: Repo = HERE,
    replay: Replay = "",
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help=f"End with {FIRING} if an alert fires, and 0 if none does.")
    ] = False,
) -> None:
    """Judge every window that has closed, deliver what is due, and exit: for cron and Airflow."""
    from monitor.alerts.channels import unopened
    from monitor.alerts.dispatching import dispatch
    from monitor.alerts.fallbacks import fallbacks
    from monitor.alerts.outbox import Courier
    from monitor.leading import sole_monitor
    from monitor.pipeline.left_behind import close_left_behind
    from monitor.signalling.opening import own_channels

    with open_store(repo, replay) as store, _history(store.config) as history, _channels(store.config) as theirs:
        channels = {**theirs, **own_channels(store.config, history, store.registry)}
        policies = _policies(store.registry)
        standing_in = fallbacks(store.config)
        fault: FeatureStoreError | None = None
        with sole_monitor(history, lease_seconds=store.config.monitor.lease_seconds) as lead:
            try:
                close_left_behind(history, store.config, [one.name for one in policies], now=datetime.now(UTC))
                for policy in policies:
                    try:
                        _run_to_the_end(store, history, policy)
                    except FeatureStoreError as error:
                        # The other policies are judged all the same.
                        typer.echo(f"{policy.id}: {error.message}")
                        fault = fault or error
            finally:
                dispatch(history, store.config, now=datetime.now(UTC), wait=False)
                # What earlier runs decided goes out, whatever this one meets.
                with Courier(history, channels, fallbacks=standing_in, may_send=lead.valid) as courier:
                    sent = courier.deliver_due()
                typer.echo(f"Messages: {sent.delivered} delivered, {sent.delayed} put off, {sent.dead} given up.")
                if sent.stood_in:
                    pages = "1 page" if sent.stood_in == 1 else f"{sent.stood_in} pages"
                    typer.echo(f"{pages} went to a fallback as well.")
                if sent.delayed or sent.dead or sent.stood_in:
                    typer.echo(f"See why: featurestore monitor outbox list{f' --replay {replay}' if replay else ''}")
        # What was decided is kept, and this is not the way to find out that a page reached nobody.
        fault = fault or next(iter(unopened(theirs)), None)
        if fault is not None:
            raise fault
        with history.read() as connection:
            firing = history.firing(connection, [one.name for one in policies])
    if exit_code and firing:
        raise typer.Exit(FIRING)


@app.command()
def start(
    repo: Repo = HERE,
    replay: Replay = "",
    standby: Annotated[
        bool,
        typer.Option(help="Wait while another monitor works here, and take over when it ends; else end with an error."),
    ] = True,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Serve the dashboard too, as the settings say, while it works.")
    ] = False,
) -> None:
    """Work until SIGTERM or Ctrl-C: judge windows as they close, deliver messages, try again what failed."""
    from monitor.daemon import Daemon
    from monitor.dashboard.command import dashboard_server

    with open_store(repo, replay) as store, _history(store.config) as history, _channels(store.config) as channels:
        _policies(store.registry)
        where = f"REPLAY {replay}: " if replay else ""
        typer.echo(f"{where}monitor of project {store.config.project}, every {store.config.monitor.poll_seconds:g} s")
        # Servers on the same host come first.
        os.nice(store.config.monitor.nice)
        also = {"dashboard": partial(dashboard_server(), store)} if dashboard else {}
        Daemon(store, history, channels, standby=standby, also=also).run()


@app.command()
def status(repo: Repo = HERE, replay: Replay = "", output: OutputFormat = Format.text) -> None:
    """Show windows judged, verdicts, evidence against its limit, alerts, incidents, messages and signals."""
    from monitor.status import status as read_status
    from monitor.windows import ServingLog

    with open_store(repo, replay) as store, _history(store.config) as history:
        policies = [store.registry.policy(one.name) for one in store.registry.list("monitor_policy")]
        watermark = ServingLog(store.config).watermark(now=datetime.now(UTC))
        budgets = {name: channel.budget for name, channel in store.config.channels.items()}
        found = read_status(history, policies, watermark=watermark, replay=replay, budgets=budgets)
    if output is Format.json:
        print_json(found)
        return
    for line in _status_lines(found):
        typer.echo(line)


@app.command()
def backtest(
    policy: Annotated[str, typer.Argument(help="A monitor policy: flight_drift.")],
    since: Annotated[
        str, typer.Option("--since", metavar="INSTANT", help="No window before: 2013-07-01T00:00:00Z.")
    ] = "",
    until: Annotated[str, typer.Option("--until", metavar="INSTANT", help="No window after.")] = "",
    as_written: Annotated[
        bool, typer.Option("--as-written", help="The policy as the definitions have it now, applied or not.")
    ] = False,
    budget: Annotated[
        float | None, typer.Option(min=0.001, help="False pages a quarter, in place of those of the routes.")
    ] = None,
    average_run_length: Annotated[
        float | None, typer.Option(min=1.001, help="Windows between false alarms, in place of what the budget gives.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0.001, max=0.999, help="The least effect of which anyone is told.")
    ] = None,
    smallest_change: Annotated[
        float | None, typer.Option(min=0.0001, max=0.999, help="The smallest change that is evidence.")
    ] = None,
    hold_for: Annotated[int | None, typer.Option(min=0, help="Windows for which an alarm must last.")] = None,
    null_windows: Annotated[
        int | None, typer.Option(min=10, help="Windows without a change to replay, of each stream and slice.")
    ] = None,
    repo: Repo = HERE,
    replay: Replay = "",
    output: OutputFormat = Format.text,
) -> None:
    """Say what a policy would have paged on the windows that were judged, and how often chance alone would.

    Reads the profiles that were kept, and no rows: any numbers can be tried on any past. Nothing is sent.
    """
    from monitor.backtest import backtest as run_backtest
    from monitor.backtest.rendering import as_json, lines

    with open_store(repo, replay) as store, _history(store.config) as history:
        registered = store.registry.policy(policy)
        tried = _tried(
            _written(store, policy) if as_written else registered.definition,
            effect_threshold=threshold,
            smallest_change=smallest_change,
            hold_for=hold_for,
            average_run_length=average_run_length,
        )
        report = run_backtest(
            store,
            history,
            registered,
            tried if budget is None else replace(tried, average_run_length=average_run_length),
            since=instant(since, "--since"),
            until=instant(until, "--until"),
            now=datetime.now(UTC),
            budgets=None if budget is None else dict.fromkeys(tried.routes, budget),
            null_count=null_windows,
        )
    if output is Format.json:
        print_json(as_json(report))
        return
    for line in lines(report):
        typer.echo(line)


@app.command()
def parity(
    service: Annotated[str, typer.Argument(help="A service version: flight_delay@1.")],
    rows: Annotated[int, typer.Option(min=1, help="Logged rows to compare.")] = 1000,
    since: ServedSince = "",
    until: ServedUntil = "",
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0, help="Of floats and decimals: 1e-9 forgives a billionth of a value.")
    ] = 0.0,
    absolute: Annotated[
        float, typer.Option("--absolute-tolerance", min=0, help="Of floats and decimals, in their own unit.")
    ] = 0.0,
    seconds: Annotated[float, typer.Option("--time-tolerance", min=0, help="Of instants, in seconds.")] = 0.0,
    repo: Repo = HERE,
    replay: Replay = "",
    output: OutputFormat = Format.text,
) -> None:
    """Compare logged rows with the point-in-time join at the same instants, value by value, and say why they differ.

    Examples hold join keys: they are for this terminal, not for a ticket.
    """
    from datetime import timedelta

    from monitor.parity import Tolerance, check_parity
    from monitor.parity.showing import report_lines, report_values

    forgiven = Tolerance(relative=tolerance, absolute=absolute, time=timedelta(seconds=seconds))
    period = {"since": instant(since, "--since"), "until": instant(until, "--until")}
    with open_store(repo, replay) as store:
        report = check_parity(store, service, rows=rows, tolerance=forgiven, **period)
    if output is Format.json:
        print_json(report_values(report))
        return
    for line in report_lines(report):
        typer.echo(line)


@app.command("second-opinion")
def second_opinion(
    service: Annotated[str, typer.Argument(help="A service version: flight_delay@1.")],
    rows: Annotated[int, typer.Option(min=50, help="Rows to draw of the log, and of the training data.")] = 2000,
    since: ServedSince = "",
    until: ServedUntil = "",
    threshold: Annotated[
        float, typer.Option(min=0.001, max=0.999, help="The share of rows that must be elsewhere.")
    ] = 0.1,
    repo: Repo = HERE,
    replay: Replay = "",
    output: OutputFormat = Format.text,
) -> None:
    """Ask whether all features together look different, as when two of them go together otherwise than they did."""
    from dataclasses import asdict

    from monitor.second_opinion import ask

    period = {"since": instant(since, "--since"), "until": instant(until, "--until")}
    with open_store(repo, replay) as store:
        found = ask(store, service, rows=rows, effect_threshold=threshold, **period)
    if output is Format.json:
        print_json(asdict(found))
        return
    typer.echo(f"{found.verdict}: {found.current_rows:,} served rows beside {found.reference_rows:,} of training")
    area, apart = found.area, found.discrepancy
    typer.echo(
        f"  a classifier tells them apart with an area under the curve of {area.value:.3f} "
        f"[{area.low:.3f}, {area.high:.3f}]; 0.5 is no change, over {found.threshold:.3f} matters"
    )
    typer.echo(f"  maximum mean discrepancy {apart.value:.4f} [{apart.low:.4f}, {apart.high:.4f}]; 0 is no change")
    for one in found.associations:
        typer.echo(f"  {one}")


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


def _run_to_the_end(store: FeatureStore, history: History, policy: Registered[MonitorPolicy]) -> None:
    """Run a policy until no closed window is left."""
    from monitor.pipeline import run_once as run_policy

    more = True
    while more:
        report = run_policy(store, history, policy, now=datetime.now(UTC))
        _show(report)
        more = report.more


def _written(store: FeatureStore, name: str) -> MonitorPolicy:
    """Return a policy as the files of definitions have it."""
    from featurestore.definition_files import load_definitions
    from featurestore.definitions import MonitorPolicy

    for one in load_definitions(store.config):
        if isinstance(one, MonitorPolicy) and one.name == name:
            return one
    raise MonitorError(f'The definitions have no monitor policy "{name}".', hint="Leave out --as-written.")


def _tried(policy: MonitorPolicy, **numbers: float | None) -> MonitorPolicy:
    """Return a policy with some numbers replaced."""
    given: dict[str, Any] = {name: value for name, value in numbers.items() if value is not None}
    return replace(policy, **given)


def _show(report: RunReport) -> None:
    if not report.services:
        typer.echo(f"{report.policy}: nothing was served yet.")
    for one in report.services:
        typer.echo(
            f"{report.policy} on {one.service}: {one.windows} new windows, {one.verdict}, alert {one.state}"
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
        for share in policy["budget"]:
            whose = f"channel {share['route']}" if share["route"] else "no channel"
            yield (
                f"  {whose}: {share['pages']:g} false pages a quarter, "
                f"{share['weight']:.0%} of a budget of {share['budget']:g}"
            )
        for one in policy["services"]:
            yield f"  {one['service']}: {one['verdict']} after {one['windows']:,} windows, {one['rows']:,} rows"
            evidence = one["evidence"]
            if evidence is not None and evidence["log_value"] is not None:
                limit = evidence["log_limit"]
                yield f"    evidence ln {evidence['log_value']:.2f}, limit ln {limit:.2f} ({exp(limit):,.0f} windows)"
        for check in policy["checks"]:
            yield f"  {check['service']}, {check['check']}: {check['verdict']} at {check['at']}"
    for alert in found["alerts"]:
        if alert["state"] != "resolved":
            yield f"Alert of {_whom(alert)} is {alert['state'].replace('_', ' ')} since {alert['onset']}"
    for incident in found["incidents"]:
        yield (
            f"Incident {incident['number']} ({incident['cause']}, {incident['severity']}) is {incident['state']}: "
            f"featurestore monitor incident {incident['number']}{_replayed(found)}"
        )
    box = found["outbox"]
    yield (
        f"Messages: {box['pending']} pending, {box['delivered']} delivered, {box['dead']} dead, "
        f"{box['overtaken']} overtaken"
    )
    for name, reason in found["disabled_channels"].items():
        yield f"Channel {name} is disabled: {reason}; see featurestore monitor outbox list{_replayed(found)}"
    for signal in found["signals"]:
        why = f"held, {signal['held']}" if signal["held"] else f"{signal['standing']}, {signal['reason']}"
        yield f"Retraining signal {signal['id']} for {signal['service']}: {why}"
    daemon = found["daemon"]
    yield (
        f"Daemon: pid {daemon['pid']} on {daemon['host']}, last seen {daemon['beat_at']}" if daemon else "Daemon: none"
    )


def _replayed(found: dict[str, Any]) -> str:
    return f" --replay {found['replay']}" if found["replay"] else ""


def _whom(alert: dict[str, Any]) -> str:
    """Return what an alert is about: ``flight_delay@1, carrier=AA (null spike)``."""
    rows = f", {alert['slice']}" if alert["slice"] else ""
    rule = "" if alert["rule"] == "drift" else f" ({alert['rule'].replace('_', ' ')})"
    return f"{alert['service']}{rows}{rule}"
