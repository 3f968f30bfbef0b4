"""Events of signals as the database has them -> messages of ``signals.proto``, and acknowledgements the other way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from google.protobuf import json_format

from featurestore.errors import InvalidRequestError, ObjectNotFoundError
from featurestore.registry import DatasetRecord
from featurestore.registry.records import ModelRecord
from featurestore.serving.tokens import Caller
from featurestore.v1 import signals_pb2 as pb
from monitor.history import History
from monitor.retraining.states import SignalState
from monitor.retraining.store import SignalEvent, acknowledge, latest_cursor, named_signal, signal_events
from monitor.signalling.feed import Event

#: What a receiver may say of a signal.
SAYABLE = {
    pb.SIGNAL_STATE_ACCEPTED: SignalState.ACCEPTED,
    pb.SIGNAL_STATE_RUNNING: SignalState.RUNNING,
    pb.SIGNAL_STATE_DONE: SignalState.DONE,
    pb.SIGNAL_STATE_FAILED: SignalState.FAILED,
}
#: Of a reason; longer ones are cut.
MOST_REASON = 1_000


class Records(Protocol):
    """What was made, as the registry knows it."""

    def dataset(self, reference: str) -> DatasetRecord:
        """Return a dataset."""
        ...

    def model(self, reference: str) -> ModelRecord:
        """Return a model."""
        ...


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
        """Keep what a receiver says; see :func:`acknowledged`.

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


def acknowledged(
    history: History,
    records: Records,
    said: pb.AcknowledgeSignalRequest,
    *,
    who: str,
    now: datetime,
    check: Callable[[str], None] | None = None,
) -> tuple[SignalState, int]:
    """Keep what a receiver says of a signal, and return what is known of it now with the cursor of the event.

    Args:
        history: the database.
        records: of datasets and models.
        said: what it says; saying the same twice is saying it once.
        who: who says it, for the timeline.
        now: the wall clock.
        check: takes the signal's service; raises if it is not for this receiver.

    Raises:
        InvalidRequestError: it names no signal, or a state that is not for receivers, or a dataset or a model that is
            not registered.
        ObjectNotFoundError: there is no such signal.
        SignalStateError: the signal cannot go there from where it is.
    """
    if not said.id:
        raise InvalidRequestError("No signal is named.", hint="Send the id of the signal.", field="id")
    state = SAYABLE.get(said.state)
    if state is None:
        raise InvalidRequestError(
            "A receiver says ACCEPTED, RUNNING, DONE or FAILED of a signal, and nothing else.",
            hint="Approval is a person's: featurestore monitor approve SIGNAL",
            field="state",
        )
    dataset, model = _registered(records, said)
    with history.write() as connection:
        signal = named_signal(connection, said.id)
        if check is not None:
            check(signal.service)
        return acknowledge(
            connection,
            signal.id,
            state,
            who=who,
            reason=" ".join(said.reason.split())[:MOST_REASON],
            dataset=dataset,
            model=model,
            now=now,
        )


def _registered(records: Records, said: pb.AcknowledgeSignalRequest) -> tuple[str, str]:
    """Return the versions of the dataset and the model that an acknowledgement names; "" where it names none.

    Whoever names a version that there is not would never hear whether it helped; and a name without one would be
    another version when it is said again.
    """
    found = []
    for field, reference, look, make in (
        ("dataset", said.dataset, records.dataset, "Make it first, with the command of the signal's request."),
        ("model", said.model, records.model, "Record it first: store.log_model(...)."),
    ):
        if reference and "@" not in reference:
            raise InvalidRequestError(
                f'"{reference}" names no version of the {field}.', hint=f'Name it: "{reference}@2".', field=field
            )
        try:
            found.append(look(reference).id if reference else "")
        except ObjectNotFoundError as error:
            raise InvalidRequestError(error.message, hint=error.hint or make, field=field) from None
    return found[0], found[1]


def _wire(event: SignalEvent) -> bytes:
    signal = json_format.ParseDict(event.payload, pb.RetrainingSignal(), ignore_unknown_fields=True)
    return pb.WatchSignalsResponse(
        cursor=event.cursor,
        signal=signal,
        at=event.at,
        who=event.who,
        reason=event.reason,
        dataset=event.dataset,
        model=event.model,
    ).SerializeToString()
