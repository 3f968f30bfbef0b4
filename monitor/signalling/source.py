"""Events of signals as the database has them -> messages of ``signals.proto``, and acknowledgements the other way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from google.protobuf import json_format

from featurestore.serving.tokens import Caller
from featurestore.v1 import signals_pb2 as pb
from monitor.history import History
from monitor.retraining.store import SignalEvent, latest_cursor, signal_events
from monitor.signalling.acknowledging import Records, acknowledged
from monitor.signalling.feed import Event


class SignalSource:
    """The signals of the monitor's database.

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

    def newest(self) -> int:
        """Return the cursor of the newest event; 0 before the first."""
        with self._history.read() as connection:
            return latest_cursor(connection)

    def read(self, after: int, limit: int) -> Sequence[Event]:
        """Return the events after a cursor, in order, at most so many."""
        with self._history.read() as connection:
            found = signal_events(connection, after=after, limit=limit)
        return [Event(cursor=one.cursor, service=one.service, data=_wire(one)) for one in found]

    def answer(self, said: pb.AcknowledgeSignalRequest, who: Caller | None) -> pb.AcknowledgeSignalResponse:
        """Keep what a receiver says; see :func:`~monitor.signalling.acknowledging.acknowledged`.

        Raises:
            PermissionDeniedError: its token is not for the service of the signal.
        """
        name = "a receiver (unverified)" if who is None else f"token {who.name}"
        state, cursor = acknowledged(
            self._history,
            self._records,
            said,
            who=name,
            check=None if who is None else who.check_signals,
            now=self._clock(),
        )
        return pb.AcknowledgeSignalResponse(state=state.wire, cursor=cursor)


def _wire(event: SignalEvent) -> bytes:
    signal = json_format.ParseDict(dict(event.payload), pb.RetrainingSignal(), ignore_unknown_fields=True)
    return pb.WatchSignalsResponse(
        cursor=event.cursor,
        signal=signal,
        at=event.at,
        who=event.who,
        reason=event.reason,
        dataset=event.dataset,
        model=event.model,
    ).SerializeToString()
