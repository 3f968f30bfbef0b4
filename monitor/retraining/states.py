"""Where a retraining signal stands, and where it may go from there. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class SignalState(StrEnum):
    """Where a signal stands."""

    HELD = "held"  # its cause is known, and something is in the way
    LAPSED = "lapsed"  # its cause was gone before it could be sent
    PENDING = "pending"  # a person has to agree
    APPROVED = "approved"  # it is sent
    REJECTED = "rejected"
    EXPIRED = "expired"  # nobody has decided in time
    ACCEPTED = "accepted"  # a receiver has taken it
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    # The last one: messages are told apart by the place of their state, so a new state comes after all others.
    WITHDRAWN = "withdrawn"  # it was agreed to, and its cause was gone before it could be sent

    @property
    def wire(self) -> str:
        """What messages call it; unspecified of a state that no receiver sees."""
        return f"SIGNAL_STATE_{self.name if self.told else 'UNSPECIFIED'}"

    @property
    def told(self) -> bool:
        """Whether receivers see it: what was never sent is none of their business."""
        return self not in (SignalState.HELD, SignalState.LAPSED)

    @property
    def called_off(self) -> bool:
        """Whether nothing is to be trained after all, so that whoever was told of it hears that."""
        return self in (SignalState.REJECTED, SignalState.EXPIRED, SignalState.WITHDRAWN)

    @property
    def may_be_trained(self) -> bool:
        """Whether it was sent, so that its dataset may be made."""
        return self is SignalState.APPROVED or self in OF_RECEIVERS


#: What a receiver may say.
OF_RECEIVERS = (SignalState.ACCEPTED, SignalState.RUNNING, SignalState.DONE, SignalState.FAILED)

_NEXT: Mapping[SignalState, frozenset[SignalState]] = {
    SignalState.HELD: frozenset({SignalState.LAPSED, SignalState.WITHDRAWN, SignalState.PENDING, SignalState.APPROVED}),
    SignalState.LAPSED: frozenset(),
    SignalState.WITHDRAWN: frozenset(),
    # Approved while something is broken, it is held until that is over.
    SignalState.PENDING: frozenset({SignalState.APPROVED, SignalState.REJECTED, SignalState.EXPIRED, SignalState.HELD}),
    SignalState.APPROVED: frozenset(OF_RECEIVERS),
    SignalState.REJECTED: frozenset(),
    SignalState.EXPIRED: frozenset(),
    SignalState.ACCEPTED: frozenset({SignalState.RUNNING, SignalState.DONE, SignalState.FAILED}),
    SignalState.RUNNING: frozenset({SignalState.DONE, SignalState.FAILED}),
    SignalState.DONE: frozenset(),
    SignalState.FAILED: frozenset({SignalState.ACCEPTED, SignalState.RUNNING, SignalState.DONE}),
}


def may_follow(before: SignalState, after: SignalState) -> bool:
    """Return whether a signal may go from one state to another."""
    return after in _NEXT[before]
