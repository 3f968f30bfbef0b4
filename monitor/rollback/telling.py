"""An action as the message that channels get."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from featurestore.v1 import signals_pb2 as pb
from monitor.alerts import outbox
from monitor.alerts.base import Kind
from monitor.alerts.message import to_json
from monitor.rollback.values import UNDOABLE, Action, ActionState

_STATES = {
    ActionState.PROPOSED: pb.ACTION_STATE_PROPOSED,
    ActionState.DONE: pb.ACTION_STATE_DONE,
    ActionState.FAILED: pb.ACTION_STATE_FAILED,
    ActionState.UNDONE: pb.ACTION_STATE_UNDONE,
}


def line(action: Action) -> str:
    """Return what became of an action, in one line."""
    if action.state is ActionState.PROPOSED:
        return f"would be done, but {action.held}: {action.summary}"
    if action.state is ActionState.FAILED:
        return f"was not done, or not all of it: {action.error} It was to be: {action.summary}"
    if action.state is ActionState.UNDONE:
        return f"undone by {action.undone_by}: {action.summary}"
    return action.summary


def announce(
    connection: Connection, action: Action, *, instance: str, project: str, replay: str, now: datetime
) -> None:
    """Put what became of an action into the outbox, for each channel that is told, in the caller's transaction."""
    commands = [pb.Command(name="show", text=f"featurestore monitor incident {action.incident_number}")]
    if action.state in UNDOABLE:
        commands.append(pb.Command(name="undo", text=f"featurestore monitor undo {action.number}"))
    said = line(action)
    payload = to_json(
        pb.Action(
            id=action.id,
            project=project,
            service=action.service,
            kind=str(action.kind),
            target=action.target,
            state=_STATES[action.state],
            summary=f"REPLAY {replay}: {said}" if replay else said,
            incident=action.incident,
            at=now,
            replay=bool(replay),
            commands=commands,
            severity=severity_of(action),
        )
    )
    for channel in action.channels:
        outbox.enqueue(
            connection,
            instance=instance,
            channel=channel,
            kind=Kind.ACTION,
            project=project,
            service=action.service,
            incident=action.id,
            sequence=str(action.state),
            severity=severity_of(action),
            payload=payload,
            now=now,
        )


def severity_of(action: Action) -> str:
    """Return how urgent an action's message is: what was done may wait for the morning, what failed may not."""
    if action.state is ActionState.FAILED:
        return action.severity
    return "info" if action.severity == "info" else "ticket"
