"""Statuses of gRPC as errors of ours."""

from __future__ import annotations

from typing import NamedTuple

import grpc

from featurestore.errors import (
    DeadlineExceededError,
    FeatureStoreError,
    InvalidRequestError,
    LimitExceededError,
    ObjectNotFoundError,
    PermissionDeniedError,
    ServerUnavailableError,
    ServingError,
    SignalStateError,
    UnauthenticatedError,
)

_ERRORS: dict[grpc.StatusCode, type[FeatureStoreError]] = {
    grpc.StatusCode.FAILED_PRECONDITION: SignalStateError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.NOT_FOUND: ObjectNotFoundError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: LimitExceededError,
}
#: Statuses of a call whose server is not there, or stops while it answers: then it says CANCELLED.
GONE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
#: How grpc.aio says that a connection went while it read from a stream; no server says this.
_LOST = "Internal error from Core"
_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


class Fault(NamedTuple):
    """Why a call has no answer.

    Attributes:
        code: the status.
        message: a sentence of the server's, or words of gRPC's; may be empty.
        hint: what to do, as the server says; may be empty.
    """

    code: grpc.StatusCode
    message: str
    hint: str

    @classmethod
    def of(cls, error: grpc.RpcError) -> Fault:
        """Return the fault of a call that ended with an error."""
        message, _, hint = (error.details() or "").partition("\nHint: ")
        if error.code() is grpc.StatusCode.INTERNAL and message == _LOST:
            return cls(grpc.StatusCode.UNAVAILABLE, "", "")
        return cls(error.code(), message, hint)

    @classmethod
    def numbered(cls, number: int, message: str, hint: str) -> Fault:
        """Return the fault of a request of a stream, whose status is a number."""
        return cls(_BY_NUMBER.get(number, grpc.StatusCode.UNKNOWN), message, hint)


def error_of(fault: Fault, *, method: str, where: str, seconds: float, secured: bool = False) -> FeatureStoreError:
    """Return the error that a user gets.

    Args:
        fault: of the call.
        method: that was called.
        where: the addresses.
        seconds: that the call was given.
        secured: whether it was to be encrypted.
    """
    code, message, hint = fault
    if code in GONE and not hint:  # a server that answers, and cannot, says what to do
        told = f": {message.rstrip('.')}" if _is_about_tls(message) else ""
        return ServerUnavailableError(
            f"No feature server answers at {where}{' over TLS' if secured else ''}{told}.",
            hint="Does it speak TLS, is ca= the file of who signed its certificate, and does it ask for one of yours "
            "(certificate=, key=)? Or start one: featurestore serve"
            if secured
            else "Start one: featurestore serve. If it is there, does it speak TLS?",
        )
    if code in GONE:
        return ServerUnavailableError(message, hint=hint)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceededError(f"The server at {where} did not answer within {seconds:g} s.")
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return UnauthenticatedError(
            message or f"The server at {where} does not know who calls.",
            hint=hint or "Pass token= of one that it knows.",
        )
    if code is grpc.StatusCode.UNIMPLEMENTED and method == "AdvanceClock":
        return InvalidRequestError(
            f"The server at {where} has no such method: its clock is the world's.",
            hint="Start a rehearsal: featurestore serve --replay NAME",
        )
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return InvalidRequestError(
            f"The server at {where} has no {method}.", hint="It is an older one, or one that does not offer this."
        )
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and not hint:  # grpc's own words, about a message
        return LimitExceededError(
            f"The request or its answer is too large for one message: {message}.",
            hint="Send fewer entity rows at once.",
            limit="max_message_mb",
        )
    kind = _ERRORS.get(code, ServingError)
    return kind(message or f"The server at {where} answered {code.name}.", hint=hint)


def closed(where: str) -> ServingError:
    """Return the error of a call of a client that was closed, before the call or while it was under way."""
    return ServingError(f"The client of {where} is closed.", hint="Make a new one.")


def _is_about_tls(message: str) -> bool:
    return any(word in message.lower() for word in ("certificate", "handshake", "ssl"))
