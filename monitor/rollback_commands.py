"""``featurestore monitor actions`` and ``undo``; not in the package, as with :mod:`monitor.retraining_commands`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featurestore.cli.options import HERE, Format, OutputFormat, Repo, open_store, print_json

if TYPE_CHECKING:
    from featurestore.store import FeatureStore
    from monitor.history import History
    from monitor.rollback import Action, Opened, Outlook

Replay = Annotated[str, typer.Option("--replay", metavar="NAME", help="A rehearsal's, which are only proposed.")]


def register(app: typer.Typer) -> None:
    """Add the commands to those of the monitor."""
    app.command()(actions)
    app.command()(undo)


def actions(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="What would be done now about each open incident, or why nothing.")
    ] = False,
    last: Annotated[int, typer.Option("--last", min=1, help="At most so many, the newest.")] = 20,
    repo: Repo = HERE,
    replay: Replay = "",
    output: OutputFormat = Format.text,
) -> None:
    """List what the monitor did by itself, or would have done, with the command that takes it back."""
    from monitor.history import History
    from monitor.rollback.ledger import newest
    from monitor.rollback.values import UNDOABLE

    with open_store(repo, replay) as store:
        url = store.config.database_url(store.config.monitor.database)
        with History(url) as history:
            if dry_run:
                _dry_run(store, history, output)
                return
            with history.read() as connection:
                found = newest(connection, last)
    if output is Format.json:
        print_json([asdict(one) for one in found])
        return
    for one in found:
        typer.echo(_line(one))
        typer.echo(f"  {one.summary}")
        if one.held:
            typer.echo(f"  not done: {one.held}")
        if one.error:
            typer.echo(f"  {one.error}")
        if one.state in UNDOABLE:
            typer.echo(f"  take it back: featurestore monitor undo {one.number}")
    if not found:
        typer.echo(
            "The monitor has done nothing by itself. What it would do now: featurestore monitor actions --dry-run"
        )


def undo(
    action: Annotated[int, typer.Argument(help="The action's number, as featurestore monitor actions lists it.")],
    reason: Annotated[str, typer.Option(help="Why; it stands in the audit and in the incident's timeline.")] = "",
    repo: Repo = HERE,
) -> None:
    """Take back what the monitor did by itself: the loads are in again, the canary or the alias is where it was."""
    from monitor.history import History
    from monitor.rollback import Actions

    with open_store(repo) as store:
        url = store.config.database_url(store.config.monitor.database)
        with History(url) as history:
            done, left = Actions(store, history).undo(action, reason=reason, now=datetime.now(UTC))
    typer.echo(f"Undone: {done.summary}")
    typer.echo("The monitor will not do the same again by itself.")
    if left:
        typer.echo(left)


def _dry_run(store: FeatureStore, history: History, output: Format) -> None:
    from monitor.rollback import Actions, openings

    acting, now = Actions(store, history), datetime.now(UTC)
    rows: list[dict[str, Any]] = []
    for name in sorted(one.name for one in store.registry.list("monitor_policy")):
        policy = store.registry.policy(name)
        with history.read() as connection:
            found = openings(history, connection, policy)
        for one in found:
            seen = acting.outlook(policy, one.opened, now=now, ill=one.ill)
            held = "" if seen.proposal is None else acting.held(policy, seen, now=now)
            rows.append(_row(one.opened, seen, held, known=acting.of(one.opened)))
    if output is Format.json:
        print_json(rows)
        return
    for row in rows:
        typer.echo(f"Incident {row['incident']}, {row['service']}: {row['rule']}")
        typer.echo(f"  {row['text']}")
    if not rows:
        typer.echo("No incident is open: nothing would be done.")


def _row(opened: Opened, seen: Outlook, held: str, known: Action | None) -> dict[str, Any]:
    if known is not None:
        text = f"it has action {known.number}, which is {known.state}, and gets no other"
    elif seen.proposal is None:
        text = f"nothing: {seen.reason}"
    elif held:
        text = f"would be said, not done, as {held}: {seen.proposal.summary}"
    else:
        text = f"would be done: {seen.proposal.summary}"
    return {
        "incident": opened.incident,
        "service": opened.service,
        "rule": opened.rule,
        "action": None if seen.proposal is None else str(seen.proposal.deed),
        "held": held,
        "text": text,
    }


def _line(action: Action) -> str:
    about = f"incident {action.incident_number}, {action.service}"
    by = f" by {action.undone_by}" if action.undone_by else ""
    return f"{action.number:>4}  {action.begun_at:%Y-%m-%d %H:%M}  {action.state}{by}  {action.target}  ({about})"
