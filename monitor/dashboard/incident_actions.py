"""What can be done about an incident from its page; each calls what the command of its name calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from featurestore.errors import MonitorError
from monitor.accepting import Accepted, accept, revoke
from monitor.alerts.answering import acknowledge, silence, unsilence
from monitor.alerts.closing import close
from monitor.alerts.dispatching import clock_of, dispatch
from monitor.dashboard.deciding import decided
from monitor.dashboard.page import Action, Doing
from monitor.dashboard.people import Role
from monitor.dashboard.reading import Reader
from monitor.dashboard.rolling_back import roll_back
from monitor.rollback import Actions

_INCIDENT = "/incidents/{number:int}"
#: For how long somebody may be silent from here; for longer there is the command.
HOURS = (1, 2, 4, 8, 24, 72)
#: For how many days something may be accepted as normal from here; for longer there is the command.
DAYS = (1, 7, 30, 90)
#: Letters of a reason.
_LONGEST = 500


def _acknowledge(reader: Reader, doing: Doing) -> str:
    number = int(doing.path["number"])
    with reader.acting_as(doing.who) as store:
        acknowledge(store, reader.history, number, who=store.who(), reason=_reason(doing), now=doing.now)
    return f"Incident {number} is yours, {doing.who}. Whoever was told of it will hear that."


def _silence(reader: Reader, doing: Doing) -> str:
    number, hours = int(doing.path["number"]), doing.form.get("hours", "")
    if hours not in {str(one) for one in HOURS}:
        raise MonitorError("It has to say for how long.", hint="Choose one of the times on the page.")
    history, now = reader.history, doing.now
    with history.read() as connection:
        until = clock_of(history, connection, reader.config, now) + timedelta(hours=int(hours))
    matchers = [f"incident={number}"]
    with reader.acting_as(doing.who) as store:
        made = silence(store, history, matchers, until=until, who=store.who(), reason=_why(doing), now=now)
    return f"Nobody is told of incident {number} until {until:%Y-%m-%d %H:%M} UTC: silence {made.silence.id}."


def _unsilence(reader: Reader, doing: Doing) -> str:
    number = int(doing.path["silence"])
    with reader.acting_as(doing.who) as store:
        unsilence(store, reader.history, number, who=store.who(), now=doing.now)
    return f"Silence {number} is over."


def _close(reader: Reader, doing: Doing) -> str:
    number, history = int(doing.path["number"]), reader.history
    with history.read() as connection:
        found = history.incident(connection, number)
    if found is None:
        raise MonitorError(f"There is no incident {number}.")
    with reader.acting_as(doing.who) as store:
        close(store, history, found, author=store.who(), reason=_why(doing), now=doing.now)
    dispatch(history, reader.config, now=doing.now)
    return f"Incident {number} is over. What is still wrong is another one as soon as it is found again."


def _accept(reader: Reader, doing: Doing) -> str:
    number, days = int(doing.path["number"]), doing.form.get("days", "")
    if days not in {str(one) for one in DAYS}:
        raise MonitorError("It has to say for how long this is normal.", hint="Choose one of the times on the page.")
    history, now = reader.history, doing.now
    with history.read() as connection:
        until = clock_of(history, connection, reader.config, now) + timedelta(days=int(days))
    with reader.acting_as(doing.who) as store:
        found = accept(
            store,
            history,
            number,
            author=store.who(),
            reason=_why(doing),
            expires_at=until,
            since=_instant(doing, "since"),
            until=_instant(doing, "until"),
            now=now,
        )
    dispatch(history, reader.config, now=now)
    periods = "; ".join(_period(one) for one in found)
    return f"This is normal until {until:%Y-%m-%d %H:%M} UTC. The baseline is now {periods}."


def _instant(doing: Doing, name: str) -> datetime | None:
    """Return an instant of a form, as browsers write one; None where it is left empty."""
    text = doing.form.get(name, "").strip()
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise MonitorError(f'"{text}" is no instant.', hint="Write one: 2026-03-01T00:00, in UTC.") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _period(one: Accepted) -> str:
    kept = one.acceptance
    whose = f"{kept.service} ({kept.slice})" if kept.slice else kept.service
    return f"{whose}, {one.windows:,} windows of {one.rows:,} rows from {kept.since:%Y-%m-%d} to {kept.until:%Y-%m-%d}"


def _revoke(reader: Reader, doing: Doing) -> str:
    number = int(doing.path["acceptance"])
    with reader.acting_as(doing.who) as store:
        found = revoke(store, reader.history, number, author=store.who(), reason=_why(doing), now=doing.now)
    return f"{found.service} is compared again with what it was compared with before."


def _undo(reader: Reader, doing: Doing) -> str:
    with reader.acting_as(doing.who) as store:
        done, left = Actions(store, reader.history).undo(int(doing.path["action"]), reason=_why(doing), now=doing.now)
    return f"Undone: {done.summary} {left}".strip()


def _roll_back(reader: Reader, doing: Doing) -> str:
    return roll_back(reader, doing, doing.path["service"])


def _approve(reader: Reader, doing: Doing) -> str:
    return decided(reader, doing, doing.path["signal"], approve=True)


def _reject(reader: Reader, doing: Doing) -> str:
    return decided(reader, doing, doing.path["signal"], approve=False)


def _reason(doing: Doing) -> str:
    reason = doing.form.get("reason", "").strip()
    if len(reason) > _LONGEST:
        raise MonitorError(f"The reason has {len(reason):,} letters; {_LONGEST} are enough.")
    return reason


def _why(doing: Doing) -> str:
    reason = _reason(doing)
    if not reason:
        raise MonitorError("No reason is given, so nothing was done.", hint="Others read why.")
    return reason


def _back(path: Mapping[str, str]) -> str:
    return f"/incidents/{path['number']}"


def _action(path: str, role: Role, act: Callable[[Reader, Doing], str]) -> Action:
    return Action(path=_INCIDENT + path, role=role, act=act, back=_back)


ACTIONS = (
    _action("/acknowledge", Role.operator, _acknowledge),
    _action("/silence", Role.operator, _silence),
    _action("/unsilence/{silence:int}", Role.operator, _unsilence),
    _action("/close", Role.operator, _close),
    _action("/accept", Role.approver, _accept),
    _action("/revoke/{acceptance:int}", Role.approver, _revoke),
    _action("/undo/{action:int}", Role.operator, _undo),
    _action("/rollback/{service}", Role.operator, _roll_back),
    _action("/approve/{signal}", Role.approver, _approve),
    _action("/reject/{signal}", Role.approver, _reject),
)
