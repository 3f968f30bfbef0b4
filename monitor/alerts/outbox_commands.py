"""``featurestore monitor outbox list | replay``."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from featurestore.cli.options import HERE, Format, OutputFormat, Repo, open_store, print_json
from featurestore.errors import MonitorError, closest

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from featurestore.config import Config
    from monitor.alerts.outbox import Entry

Replay = Annotated[str, typer.Option("--replay", metavar="NAME", help="A rehearsal's outbox instead of the live one.")]

#: How much of a key is shown: enough to name a message.
_SHOWN_KEY = 16

outbox_app = typer.Typer(help="Messages that wait for their channels, and those that went.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to those of the monitor."""
    app.add_typer(outbox_app, name="outbox")


@outbox_app.command("list")
def list_messages(
    dead: Annotated[bool, typer.Option("--dead", help="Only those that were given up.")] = False,
    pending: Annotated[bool, typer.Option("--pending", help="Only those that wait.")] = False,
    channel: Annotated[str, typer.Option("--channel", metavar="NAME", help="Only those for one channel.")] = "",
    last: Annotated[int, typer.Option("--last", min=1, help="At most so many, the newest.")] = 100,
    repo: Repo = HERE,
    replay: Replay = "",
    output: OutputFormat = Format.text,
) -> None:
    """Show messages, the oldest first, with what became of them, and channels that are disabled."""
    from monitor.alerts.outbox import MessageState, disabled, listed
    from monitor.history import History

    if dead and pending:
        raise MonitorError("A message is dead or pending, not both.", hint="Leave out --dead or --pending.")
    state = MessageState.DEAD if dead else MessageState.PENDING if pending else None
    with open_store(repo, replay) as store:
        url = store.config.database_url(store.config.monitor.database)
        with History(url) as history, history.read() as connection:
            _check_channel(connection, store.config, channel)
            entries = listed(connection, state=state, channel=channel, limit=last)
            off = disabled(connection)
    if output is Format.json:
        print_json({"messages": [asdict(one) for one in entries], "disabled": off})
        return
    for name, reason in off.items():
        if not channel or name == channel:
            typer.echo(f"Channel {name} is disabled: {reason}. When it is right again:")
            typer.echo(f"  featurestore monitor outbox replay --dead --channel {name}")
    for one in entries:
        typer.echo(_line(one))
    if not entries:
        typer.echo("There is no such message.")


@outbox_app.command("replay")
def replay_messages(
    key: Annotated[str, typer.Argument(help="A message's key, or the beginning of it.")] = "",
    dead: Annotated[bool, typer.Option("--dead", help="All that were given up.")] = False,
    channel: Annotated[str, typer.Option("--channel", metavar="NAME", help="With --dead: of one channel only.")] = "",
    repo: Repo = HERE,
    replay: Replay = "",
    output: OutputFormat = Format.text,
) -> None:
    """Send messages again, under their keys: a receiver that has one knows it. A disabled channel is on again.

    What was overtaken meanwhile is not sent: nobody is woken for what is over. The monitor that runs delivers; without
    one, run-once does.
    """
    from monitor.alerts.outbox import replay_dead, replay_one
    from monitor.history import History

    if bool(key) == dead:
        raise MonitorError("Say which messages are to be sent again.", hint="Name a key, or give --dead.")
    if key and channel:
        raise MonitorError("A key names one message, of one channel.", hint="Leave out --channel.")
    now = datetime.now(UTC)
    with open_store(repo, replay) as store:
        url = store.config.database_url(store.config.monitor.database)
        with History(url) as history, history.write() as connection:
            _check_channel(connection, store.config, channel)
            done = replay_one(connection, key, now=now) if key else replay_dead(connection, channel=channel, now=now)
    if output is Format.json:
        print_json(asdict(done))
        return
    for name in done.enabled:
        typer.echo(f"Channel {name} takes messages again.")
    typer.echo(f"{len(done.again)} to be sent again, {len(done.overtaken)} overtaken meanwhile")
    if done.again:
        typer.echo("The monitor that runs sends them; without one: featurestore monitor run-once")


def _check_channel(connection: Connection, config: Config, name: str) -> None:
    """Refuse a name that is no channel's, and that no message has: one that was removed may have some."""
    from monitor.alerts.outbox import listed

    if name and name not in config.channels and not listed(connection, channel=name, limit=1):
        raise MonitorError(
            f'There is no channel "{name}" in featurestore.toml, and no message for one of that name.',
            hint=closest(name, config.channels) or "Add a [channels.NAME] section.",
        )


def _line(one: Entry) -> str:
    kind = one.kind.removeprefix("featurestore.v1.").removeprefix("alert.")
    text = f"{one.created_at:%Y-%m-%d %H:%M:%S}  {one.key[:_SHOWN_KEY]}  {one.channel}: {kind} of {one.service}"
    text += f", {one.severity}, {one.state}"
    if one.stands_in_for:
        text += f", in place of {one.stands_in_for}"
    if one.state == "pending" and one.attempts:
        tries = "attempt" if one.attempts == 1 else "attempts"
        text += f" after {one.attempts} {tries}, next {one.next_at:%Y-%m-%d %H:%M:%S}"
    if one.overtaken_by:
        text += f" by {one.overtaken_by[:_SHOWN_KEY]}"
    return text + (f": {one.last_error}" if one.last_error else "")
