"""The life of an alert: ok -> pending -> firing -> recovering -> resolved, and again.

Pure: an alert and what one window showed go in, the next alert and what people should hear come out. A look that shows
nothing, as there are no rows or the look itself fails, goes to :func:`unseen`: an alert that fires is not over because
nobody can see it. Whether somebody acknowledged it is no state of an alert but of the incident that it is part of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

#: Windows in a row without effect after which a firing alert is resolved, unless a policy says another number.
KEEP_FIRING_FOR = 3


class State(StrEnum):
    """Where an alert is."""

    OK = "ok"
    PENDING = "pending"  # an alarm, whose effect must last before anyone is told
    FIRING = "firing"
    RECOVERING = "recovering"  # it fires, and the effect is gone: for how long is being counted
    RESOLVED = "resolved"
    NO_DATA = "no_data"  # there are no rows to judge by
    ERROR = "error"  # what should judge fails


#: States in which nothing was seen; :attr:`Alert.before` says where the alert goes on.
UNSEEN = frozenset({State.NO_DATA, State.ERROR})

_FIRING = frozenset({State.FIRING, State.RECOVERING})

#: From what needs nobody to what is worst.
_ORDER = (
    State.OK,
    State.RESOLVED,
    State.NO_DATA,
    State.PENDING,
    State.RECOVERING,
    State.ERROR,
    State.FIRING,
)


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
        unseen: looks in a row that saw nothing.
        before: while nothing is seen, the state that it goes on from; ``no_data`` or ``error`` where the episode is
            about that.
    """

    key: str
    state: State = State.OK
    episode: int = 0
    onset: datetime | None = None
    span: int = 0
    held: int = 0
    quiet: int = 0
    unseen: int = 0
    before: State = State.OK

    @property
    def open(self) -> bool:
        """Whether an alarm is held or fires: then the effect alone says how it goes on."""
        return self._seen in _FIRING or self._seen is State.PENDING

    @property
    def firing(self) -> bool:
        """Whether it is to be told: it fires, recovers, or did so when it was last seen; or is blind."""
        return self._seen in _FIRING or self.blind

    @property
    def blind(self) -> bool:
        """Whether its episode is about there being nothing to see."""
        return self.state in UNSEEN and self.before in UNSEEN

    @property
    def _seen(self) -> State:
        return self.before if self.state in UNSEEN else self.state


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
    held is dropped, unheard, by the first window without effect. Windows that showed nothing count on neither side.

    Args:
        alert: before the window.
        seen: what the window showed.
        hold_for: windows with the effect that must follow the alarm's before anyone is told.
        keep_firing_for: windows in a row without effect that end it.
    """
    if alert.blind:
        # Nothing was wrong but that nothing was seen: that is over, and what is seen now is news.
        sighted = replace(alert, state=State.RESOLVED, unseen=0, before=State.OK)
        after, said = advance(sighted, seen, hold_for=hold_for, keep_firing_for=keep_firing_for)
        return after, said or Notification.RESOLVED
    if alert.state in UNSEEN:
        alert = replace(alert, state=alert.before, unseen=0, before=State.OK)
    if alert.state in _FIRING:
        return _kept(alert, seen, keep_firing_for)
    if alert.state is State.PENDING:
        if not seen.effect:
            return replace(alert, state=_at_rest(alert), held=0), None
        held = replace(alert, held=alert.held + 1)
        return _fired(held) if held.held >= hold_for else (held, None)
    if not seen.alarm:
        return alert, None
    begun = _pending(alert, seen)
    return (begun, None) if hold_for else _fired(begun)


def unseen(alert: Alert, why: State, *, since: datetime, tell_after: int = 0) -> tuple[Alert, Notification | None]:
    """Return the alert after a look that showed nothing, and the notification that is due, if one is.

    One that fires goes on firing: nothing says that it is over. One that does not may fire for that alone, so that a
    monitor which sees nothing is not taken for one that sees nothing wrong.

    Args:
        alert: before the look.
        why: ``State.NO_DATA`` or ``State.ERROR``.
        since: from when on nothing has been seen: the end of the last window that was judged.
        tell_after: looks in a row that must have seen nothing before an alert fires for it; 0 for never.

    Raises:
        ValueError: ``why`` is another state.
    """
    if why not in UNSEEN:
        raise ValueError(f"{why} does not say why nothing was seen")
    looks = alert.unseen + 1
    if alert.blind:
        return replace(alert, state=why, before=why, unseen=looks), None
    after = replace(alert, state=why, unseen=looks, before=alert.before if alert.state in UNSEEN else alert.state)
    if after.firing or not tell_after or looks < tell_after:
        return after, None
    fired = replace(after, before=why, episode=alert.episode + 1, onset=since, span=0, held=0, quiet=0)
    return fired, Notification.FIRING


def closed(alert: Alert) -> tuple[Alert, Notification | None]:
    """Return an alert that nobody looks after any more, and the notification that is due, if one is.

    What it shows is the new normal, or its policy or stream is gone.
    """
    said = Notification.RESOLVED if alert.firing else None
    state = State.RESOLVED if said is not None else _at_rest(alert)
    return replace(alert, state=state, held=0, quiet=0, unseen=0, before=State.OK), said


def expected(alert: Alert, seen: Observation) -> Alert:
    """Return an alert whose alarm came of windows of the past: the next window says whether its effect is there.

    An alert that is open is left as it is: what it has to go on with is the next window too.
    """
    if alert.open or alert.blind or not seen.alarm:
        return alert
    return _pending(alert, seen)


def worst(states: Iterable[State]) -> State:
    """Return the worst of some states; ok where there is none."""
    return max(states, key=_ORDER.index, default=State.OK)


def _kept(alert: Alert, seen: Observation, keep_firing_for: int) -> tuple[Alert, Notification | None]:
    if seen.effect:
        return replace(alert, state=State.FIRING, quiet=0), None
    quiet = alert.quiet + 1
    if quiet < keep_firing_for:
        return replace(alert, state=State.RECOVERING, quiet=quiet), None
    return replace(alert, state=State.RESOLVED, quiet=quiet), Notification.RESOLVED


def _pending(alert: Alert, seen: Observation) -> Alert:
    return replace(
        alert,
        state=State.PENDING,
        onset=seen.onset,
        span=seen.span,
        held=0,
        quiet=0,
        unseen=0,
        before=State.OK,
    )


def _fired(alert: Alert) -> tuple[Alert, Notification]:
    return replace(alert, state=State.FIRING, episode=alert.episode + 1, held=0), Notification.FIRING


def _at_rest(alert: Alert) -> State:
    """Return where an alert is when nothing is wrong: one that has fired was resolved."""
    return State.RESOLVED if alert.episode else State.OK
