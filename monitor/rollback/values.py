"""Values of automatic actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any


class Deed(StrEnum):
    """What can be done; the names are those that a policy allows."""

    RESTORE_LOAD = "restore_load"
    STOP_CANARY = "stop_canary"
    ROLL_BACK_ALIAS = "roll_back_alias"


class ActionState(StrEnum):
    """Where an action is."""

    PROPOSED = "proposed"  # it was not allowed, and a person was told
    BEGUN = "begun"
    DONE = "done"
    FAILED = "failed"
    UNDOING = "undoing"
    UNDONE = "undone"


#: States of actions that did something, or may have: one that failed may have done a part of it.
UNDOABLE = (ActionState.DONE, ActionState.FAILED)

#: States of actions that were more than said.
ACTED = (ActionState.BEGUN, ActionState.DONE, ActionState.FAILED, ActionState.UNDOING, ActionState.UNDONE)


@dataclass(frozen=True, kw_only=True)
class Opened:
    """One alert of an open incident, as the rules of actions see it.

    Attributes:
        incident: the incident's number.
        key: its deduplication key; one incident has one action at most.
        service: the stream: ``flight_delay@3``.
        rule: what was looked for: ``null spike``.
        features: that it is about, by their names in the service.
        views: the stored view of each feature that is of one.
        source: the source that is the incident's cause; "" where it is another.
        onset: start of the first window that is likely different; None where it is not known.
        since: end of the window that made the alert fire.
        window: how long a window is; of windows by count, how long the last one was.
        slice: which rows; "" for all.
        judged: end of the last window that had a say; None where that is not known.
    """

    incident: int
    key: str
    service: str
    rule: str
    features: tuple[str, ...] = ()
    views: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    onset: datetime | None = None
    since: datetime
    window: timedelta
    slice: str = ""
    judged: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """An action that an incident justifies.

    Attributes:
        deed: what to do.
        target: to what, for people: ``view weather``, ``alias canary of flight_delay``.
        subject: the same, exactly: what was done to it once, and undone by a person, is not done again.
        summary: what is done, and why, in one line.
        details: what it takes to do it and to undo it, as JSON values.
    """

    deed: Deed
    target: str
    subject: str
    summary: str
    details: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What an incident justifies.

    Attributes:
        proposal: the action; None where none is.
        reason: why none is, in a sentence.
    """

    proposal: Proposal | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Action:
    """An action in the monitor's database.

    Attributes:
        number: by which commands name it.
        incident: the deduplication key of its incident.
        incident_number: the incident's number.
        policy: the policy that allows it, or not.
        service: the incident's stream.
        kind: what is done.
        target: to what.
        subject: the same, exactly.
        state: where it is.
        summary: what is done, and why.
        held: why it was only proposed; "" if it was not.
        severity: of its messages.
        details: what it takes to do it and to undo it.
        channels: who is told.
        attempts: how often it was tried.
        error: why it was not done, or not undone.
        begun_at: when it was proposed or begun.
        ended_at: when it was done, or given up.
        undone_at: when it was taken back.
        undone_by: by whom.
    """

    number: int
    incident: str
    incident_number: int
    policy: str
    service: str
    kind: Deed
    target: str
    subject: str
    state: ActionState
    summary: str
    held: str
    severity: str
    details: Mapping[str, Any]
    channels: tuple[str, ...]
    attempts: int
    error: str
    begun_at: datetime
    ended_at: datetime | None
    undone_at: datetime | None
    undone_by: str

    @property
    def id(self) -> str:
        """By what messages name it: ``action-3``."""
        return f"action-{self.number}"
