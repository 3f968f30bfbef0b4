"""The life of an incident: ok -> firing -> resolved, and again.

Pure: an incident and what one window showed go in, the next incident and what people should hear come out. A window
that holds no rows shows nothing and is not passed here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

#: Windows in a row without effect after which a firing incident is resolved.
KEEP_FIRING_FOR = 3


class State(StrEnum):
    """Where an incident is."""

    OK = "ok"
    FIRING = "firing"
    RESOLVED = "resolved"


class Notification(StrEnum):
    """What people should hear."""

    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, kw_only=True)
class Incident:
    """What is wrong with one service, by one rule.

    Attributes:
        key: the deduplication key, see :func:`incident_key`.
        state: where it is.
        episode: how often it has fired, this time included.
        onset: start of the first window that is likely different, of the latest episode.
        span: windows from the onset to the alarm; the effect is judged over as many while it fires.
        quiet: windows in a row without effect, while it fires.
    """

    key: str
    state: State = State.OK
    episode: int = 0
    onset: datetime | None = None
    span: int = 0
    quiet: int = 0


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What one window showed.

    Attributes:
        alarm: both keys turned: the evidence passed its limit and an effect clears its threshold.
        effect: an effect clears its threshold, whatever the evidence.
        onset: start of the first window that is likely different.
        span: windows from the onset to this one, at least 1.
    """

    alarm: bool
    effect: bool
    onset: datetime
    span: int


def incident_key(project: str, replay: str, service: str, rule: str) -> str:
    """Return the deduplication key: the same for every window and score, so that one incident stays one.

    Args:
        project: the namespace.
        replay: the name of a rehearsal, or "" for the live log: a rehearsal must not resolve a live incident.
        service: the service version, ``flight_delay@1``.
        rule: what is violated, ``flight_drift/drift`` for the drift rule of a policy.
    """
    text = f"incident/1\n{project}\n{replay}\n{service}\n{rule}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def advance(
    incident: Incident, seen: Observation, *, keep_firing_for: int = KEEP_FIRING_FOR
) -> tuple[Incident, Notification | None]:
    """Return the incident after one more window, and the notification that is due, if one is.

    An alarm of an incident that already fires is part of it and notifies nobody again. It resolves when the effect,
    not the evidence, has been gone for ``keep_firing_for`` windows: evidence falls only slowly.
    """
    if incident.state is not State.FIRING:
        if not seen.alarm:
            return incident, None
        fired = Incident(
            key=incident.key,
            state=State.FIRING,
            episode=incident.episode + 1,
            onset=seen.onset,
            span=seen.span,
        )
        return fired, Notification.FIRING
    if seen.effect:
        return replace(incident, quiet=0), None
    quiet = incident.quiet + 1
    if quiet < keep_firing_for:
        return replace(incident, quiet=quiet), None
    return replace(incident, state=State.RESOLVED, quiet=quiet), Notification.RESOLVED
