"""What a receiver says became of a signal, kept if it can be so."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from featurestore.errors import InvalidRequestError, MonitorError, ObjectNotFoundError, SignalStateError
from featurestore.registry import DatasetRecord
from featurestore.registry.records import ModelRecord
from featurestore.v1 import signals_pb2 as pb
from monitor.history import History
from monitor.retraining.states import SignalState
from monitor.retraining.store import acknowledge, find_signal

#: What a receiver may say of a signal.
SAYABLE = {
    pb.SIGNAL_STATE_ACCEPTED: SignalState.ACCEPTED,
    pb.SIGNAL_STATE_RUNNING: SignalState.RUNNING,
    pb.SIGNAL_STATE_DONE: SignalState.DONE,
    pb.SIGNAL_STATE_FAILED: SignalState.FAILED,
}
#: What PostgreSQL cannot keep in a text.
_NUL = "\x00"
#: Characters of a reason; longer ones are cut.
MOST_REASON = 1_000


class Records(Protocol):
    """What was made, as the registry knows it."""

    def dataset(self, reference: str) -> DatasetRecord:
        """Return a dataset."""
        ...

    def model(self, reference: str) -> ModelRecord:
        """Return a model."""
        ...


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
    for field in ("id", "dataset", "model"):
        if _NUL in getattr(said, field):
            raise InvalidRequestError(f"A character of the {field} is NUL.", hint="Send the name alone.", field=field)
    dataset, model = _registered(records, said)
    reason = " ".join(said.reason.replace(_NUL, "").split())[:MOST_REASON]
    with history.write() as connection:
        try:
            signal = find_signal(connection, said.id)
        except MonitorError as error:
            raise ObjectNotFoundError(error.message, hint=error.hint) from None
        if check is not None:
            check(signal.service)
        about = {"who": who, "reason": reason, "dataset": dataset, "model": model}
        try:
            return acknowledge(connection, signal.id, state, **about, now=now)
        except MonitorError as error:
            raise SignalStateError(error.message, hint=error.hint) from None


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
