"""What the command hook keeps of a signal, in the monitor's database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from featurestore.errors import InvalidRequestError
from featurestore.v1 import signals_pb2 as pb
from monitor.history import History
from monitor.retraining.states import SignalState
from monitor.retraining.store import find_signal, note
from monitor.signalling.acknowledging import Records, acknowledged

#: Who says it.
_WHO = "command"
#: Before what nobody waits for a training any more.
_WANTED = frozenset({SignalState.APPROVED, SignalState.ACCEPTED, SignalState.RUNNING, SignalState.FAILED})


class SignalTimeline:
    """See :class:`monitor.signalling.command.Timeline`.

    Args:
        history: the database.
        records: of datasets and models: what is said to be done must be there.
        clock: the wall clock.
    """

    def __init__(
        self, history: History, records: Records, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._history = history
        self._records = records
        self._clock = clock

    def wanted(self, signal: str) -> bool:
        """Return whether anybody still waits for the training."""
        with self._history.read() as connection:
            return find_signal(connection, signal).state in _WANTED

    def acknowledge(self, signal: str, said: Mapping[str, Any]) -> None:
        """Keep an acknowledgement: ``state``, and where they are known ``dataset``, ``model`` and ``reason``.

        Raises:
            InvalidRequestError: it is none.
            SignalStateError: the signal cannot go there from where it is.
        """
        state = str(said.get("state", "")).upper().removeprefix("SIGNAL_STATE_")
        texts = {name: str(said.get(name) or "") for name in ("reason", "dataset", "model")}
        try:
            request = pb.AcknowledgeSignalRequest(id=signal, state=f"SIGNAL_STATE_{state}", **texts)
        except ValueError:
            raise InvalidRequestError(
                f'"{state}" is no state of a signal.', hint="Say ACCEPTED, RUNNING, DONE or FAILED.", field="state"
            ) from None
        acknowledged(self._history, self._records, request, who=_WHO, now=self._clock())

    def note(self, signal: str, reason: str) -> None:
        """Keep that something happened which changes no state."""
        with self._history.write() as connection:
            note(connection, signal, who=_WHO, reason=reason, now=self._clock())
