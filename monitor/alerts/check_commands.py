"""``featurestore monitor check``."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from featurestore.cli.options import HERE, Format, OutputFormat, Repo, open_store, print_json

if TYPE_CHECKING:
    from featurestore.config import Config
    from monitor.alerts.checking import Fault

#: The exit code when something is wrong; that of an error too.
FAULTY = 1


def register(app: typer.Typer) -> None:
    """Add the command to those of the monitor."""
    app.command("check")(check)


def check(
    send: Annotated[
        bool, typer.Option("--send", help="Also send each channel a test message, which people see.")
    ] = False,
    channel: Annotated[str, typer.Option("--channel", metavar="NAME", help="Only this one, and no policy.")] = "",
    repo: Repo = HERE,
    replay: Annotated[str, typer.Option("--replay", metavar="NAME", help="As a rehearsal would have it.")] = "",
    output: OutputFormat = Format.text,
) -> None:
    """Find what stands between an alert and those whom it is for: addresses, certificates, passwords, routes.

    Each fault is a line with what to do about it, and ends the command with 1.
    """
    from monitor.alerts.checking import check as run_check
    from monitor.signalling.checking import faults as faults_of_signals

    with open_store(repo, replay) as store:
        policies = [store.registry.policy(one.name).definition for one in store.registry.list("monitor_policy")]
        disabled, database = _disabled(store.config)
        found = run_check(store.config, policies, disabled=disabled, now=datetime.now(UTC), send=send, only=channel)
        signals = [] if channel else faults_of_signals(store.config, policies)
    faults = [*database, *found.faults, *signals]
    if output is Format.json:
        print_json({"channels": found.channels, "remarks": found.remarks, "faults": [asdict(one) for one in faults]})
    else:
        for name, said in found.channels.items():
            typer.echo(f"channel {name} {said}")
        for remark in found.remarks:
            typer.echo(f"Note: {remark}")
        for fault in faults:
            typer.secho(f"Fault: {fault}", fg=typer.colors.RED)
        if not channel:
            counts = ((len(found.channels), "channel", "channels"), (len(policies), "policy", "policies"))
            well, of_policies, bad = (_counted(*one) for one in (*counts, (len(faults), "fault", "faults")))
            typer.echo(f"{well} in order, {of_policies}, {bad}")
    if faults:
        raise typer.Exit(FAULTY)


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _disabled(config: Config) -> tuple[dict[str, str], list[Fault]]:
    """Return the channels that are disabled, as the monitor's database has it, and what is wrong with that."""
    from featurestore.errors import FeatureStoreError
    from monitor.alerts import outbox
    from monitor.alerts.checking import Fault
    from monitor.history import History

    try:
        with History(config.database_url(config.monitor.database)) as history, history.read() as connection:
            return outbox.disabled(connection), []
    except FeatureStoreError as error:
        return {}, [Fault(about="the monitor's database", what=error.message, hint=error.hint)]
