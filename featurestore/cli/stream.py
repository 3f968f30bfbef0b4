"""Commands on streams: run, quarantine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featurestore.cli.options import HERE, Format, OutputFormat, Repo, open_store, print_json
from featurestore.errors import DataError

if TYPE_CHECKING:
    from featurestore.streaming import Kept

#: Messages that are shown one by one.
_SHOWN = 20


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    group = typer.Typer(help="Topics whose messages are pushed into views.", no_args_is_help=True)
    group.command()(run)
    group.command()(quarantine)
    app.add_typer(group, name="stream")


def run(
    names: Annotated[list[str] | None, typer.Argument(help="Streams of [streams.NAME]; all when not given.")] = None,
    repo: Repo = HERE,
) -> None:
    """Push the messages of topics into views until Ctrl-C or SIGTERM.

    An offset is committed when its row is served and on the disk; what cannot be a row is kept aside with the reason.
    """
    with open_store(repo) as store:
        done = store.stream(names or (), announce=typer.echo)
    for name, one in done.items():
        text = f"{name}: {one.read:,} messages read, {one.pushed:,} pushed"
        for count, what in (
            (one.quarantined, "quarantined"),
            (one.suppressed, "of erased keys dropped"),
            (one.repeated, "that had been pushed before"),
        ):
            text += f", {count:,} {what}" * bool(count)
        typer.echo(text)


def quarantine(
    name: Annotated[str, typer.Argument(help="The stream.")],
    limit: Annotated[int, typer.Option(min=0, help="Show at most so many messages.")] = _SHOWN,
    retry: Annotated[bool, typer.Option("--retry", help="Push them again; those that cannot be pushed stay.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write them, with all they say, as JSON lines to this file.")] = None,
    repo: Repo = HERE,
    output: OutputFormat = Format.text,
) -> None:
    """Show the messages of a stream that could not be pushed, or try them again.

    What they say is not shown, as it may be about persons; --out writes it.
    """
    with open_store(repo) as store:
        if retry:
            before = len(store.quarantined_messages(name))
            left = store.retry_messages(name)
            typer.echo(f"{name}: {before - left:,} messages pushed, {left:,} stay in quarantine.")
            return
        found = store.quarantined_messages(name)
    if out is not None:
        _write(found, out)
        typer.echo(f"{len(found):,} messages in quarantine written to {out}.")
        return
    if output is Format.json:
        print_json([_shown(one) for one in found[: limit or None]])
        return
    for one in found[:limit]:
        message = one.poisoned.message
        typer.echo(f"{message.topic}/{message.partition} at {message.offset}: {one.poisoned.reason}")
    shown = f"; {limit:,} are shown" if len(found) > limit else ""
    typer.echo(f"{len(found):,} messages in quarantine{shown}.")


def _shown(one: Kept) -> dict[str, Any]:
    message = one.poisoned.message
    return {
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "reason": one.poisoned.reason,
        "view": one.view,
        "written_at_ms": message.timestamp,
        "since": one.at,
    }


def _write(found: list[Kept], out: Path) -> None:
    try:
        with out.open("w", encoding="utf-8") as file:
            for one in found:
                said = {"key": one.poisoned.message.key, "value": one.poisoned.message.value}
                texts = {
                    name: None if data is None else data.decode("utf-8", "backslashreplace")
                    for name, data in said.items()
                }
                file.write(json.dumps({**_shown(one), **texts}, default=str) + "\n")
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error.strerror}.") from None
