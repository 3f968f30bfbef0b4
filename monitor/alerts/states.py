"""The life of an alert: ok -> pending -> firing -> resolved, and again.

Pure: an alert and what one window showed go in, the next alert and what people should hear come out. A window
that holds no rows shows nothing and is not passed here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

#: Windows in a row without effect after which a firing alert is resolved, unless a policy says another number.
KEEP_FIRING_FOR = 3


class State(StrEnum):
    """Where an alert is."""

    OK = "ok"
    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class Notification(StrEnum):
    """What people should hear."""

    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, kw_only=True)
class Alert:
    """What is wrong with one stream or slice, by one rule.

    Attributes:
        key: the deduplication key, see :func:`alert_key`.
        state: where it is.
        episode: how often it has fired, this time included.
        onset: start of the first window that is likely different, of the latest episode.
        span: windows from the onset to the alarm; the effect is judged over as many while it fires.
        held: windows with the effect since the alarm, while it is pending.
        quiet: windows in a row without effect, while it fires.
    """

    key: str
    state: State = State.OK
    episode: int = 0
    onset: datetime | None = None
    span: int = 0
    held: int = 0
    quiet: int = 0

    @property
    def open(self) -> bool:
        """Whether an alarm is held or fires: then the effect alone says how it goes on."""
        return self.state in (State.PENDING, State.FIRING)


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


def alert_key(project: str, replay: str, service: str, rule: str, slice_: str = "") -> str:
    """Return the deduplication key: the same for every window and score, so that one alert stays one.

    Args:
        project: the namespace.
        replay: the name of a rehearsal, or "" for the live log: a rehearsal must not resolve a live alert.
        service: the service version, ``flight_delay@1``, or another stream.
        rule: what is violated, ``flight_drift/drift`` for the drift rule of a policy.
        slice_: which rows, ``carrier=AA``; "" for all.
    """
    # The word of the first release: its keys stay what they are.
    text = f"incident/1\n{project}\n{replay}\n{service}\n{rule}" + (f"\n{slice_}" if slice_ else "")
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def advance(
    alert: Alert, seen: Observation, *, hold_for: int = 0, keep_firing_for: int = KEEP_FIRING_FOR
) -> tuple[Alert, Notification | None]:
    """Return the alert after one more window, and the notification that is due, if one is.

    An alarm of an alert that already fires is part of it and notifies nobody again. It resolves when the effect,
    not the evidence, has been gone for ``keep_firing_for`` windows: evidence falls only slowly. An alarm that is still
    held is dropped, unheard, by the first window without effect.

    Args:
        alert: before the window.
        seen: what the window showed.
        hold_for: windows with the effect that must follow the alarm's before anyone is told.
        keep_firing_for: windows in a row without effect that end it.
    """
    if alert.state is State.FIRING:
        return _kept(alert, seen, keep_firing_for)
    if alert.state is State.PENDING:
        if not seen.effect:
            return replace(alert, state=_before(alert), held=0), None
        held = replace(alert, held=alert.held + 1)
        return _fired(held) if held.held >= hold_for else (held, None)
    if not seen.alarm:
        return alert, None
    begun = replace(alert, state=State.PENDING, onset=seen.onset, span=seen.span, held=0, quiet=0)
    return (begun, None) if hold_for else _fired(begun)


def expected(alert: Alert, seen: Observation) -> Alert:
    """Return an alert whose alarm came of windows of the past: the next window says whether its effect is there.

    An alert that is open is left as it is: what it has to go on with is the next window too.
    """
    if alert.open or not seen.alarm:
        return alert
    return replace(alert, state=State.PENDING, onset=seen.onset, span=seen.span, held=0, quiet=0)


def _kept(alert: Alert, seen: Observation, keep_firing_for: int) -> tuple[Alert, Notification | None]:
    if seen.effect:
        return replace(alert, quiet=0), None
    quiet = alert.quiet + 1
    if quiet < keep_firing_for:
        return replace(alert, quiet=quiet), None
    return replace(alert, state=State.RESOLVED, quiet=quiet), Notification.RESOLVED


def _fired(alert: Alert) -> tuple[Alert, Notification]:
    return replace(alert, state=State.FIRING, episode=alert.episode + 1, held=0), Notification.FIRING


def _before(alert: Alert) -> State:
    """Return where an alert was before it was pending: one that has fired was resolved."""
    return State.RESOLVED if alert.episode else State.OK
