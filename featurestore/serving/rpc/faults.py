"""Our errors as gRPC statuses with Google's richer details, and never a traceback.

The message of a status is the sentence of the error; a line ``Hint: ...`` may follow. Beside it, in the trailing
metadata ``grpc-status-details-bin``, stands a ``google.rpc.Status`` for programs: which field, which row, which limit.
"""

from __future__ import annotations

from typing import NamedTuple

import grpc
import structlog
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from featurestore.errors import (
    DeadlineExceededError,
    FeatureStoreError,
    InvalidRequestError,
    LimitExceededError,
    MonitorError,
    ObjectNotFoundError,
    OfflineStoreError,
    OnlineStoreAwayError,
    OnlineStoreError,
    PermissionDeniedError,
    RegistryError,
    SignalStateError,
    UnauthenticatedError,
)

#: The one place where our errors become gRPC's; any other of ours is INTERNAL.
_CODES: dict[type[FeatureStoreError], grpc.StatusCode] = {
    InvalidRequestError: grpc.StatusCode.INVALID_ARGUMENT,
    LimitExceededError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    DeadlineExceededError: grpc.StatusCode.DEADLINE_EXCEEDED,
    ObjectNotFoundError: grpc.StatusCode.NOT_FOUND,
    OnlineStoreError: grpc.StatusCode.UNAVAILABLE,
    OfflineStoreError: grpc.StatusCode.UNAVAILABLE,
    RegistryError: grpc.StatusCode.UNAVAILABLE,
    SignalStateError: grpc.StatusCode.FAILED_PRECONDITION,
    MonitorError: grpc.StatusCode.UNAVAILABLE,
}
#: Faults of the caller, which are no news for our log.
_CALLERS = {
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
}
DOMAIN = "featurestore"
_DETAILS = "grpc-status-details-bin"

_logger = structlog.get_logger(__name__)


class Fault(NamedTuple):
    """A status: what a call ends with that has no response.

    Attributes:
        code: of gRPC.
        message: a sentence.
        hint: what to do; may be empty.
        trailing: the details, as trailing metadata.
    """

    code: grpc.StatusCode
    message: str
    hint: str
    trailing: tuple[tuple[str, bytes], ...]

    @property
    def text(self) -> str:
        """The message as a status carries it."""
        return _text(self.message, self.hint)


def fault_of(error: Exception, method: str) -> Fault:
    """Return the status of an error; what is no fault of the caller is entered in our log.

    Args:
        error: what a method raised.
        method: its name.
    """
    if not isinstance(error, FeatureStoreError):  # unforeseen: it must reach our log, and not the client
        _logger.error("request failed", method=method, exc_info=error)
        return _fault(grpc.StatusCode.INTERNAL, "The server failed; its log says why.", "", [])
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), grpc.StatusCode.INTERNAL)
    hint = error.hint
    if code not in _CALLERS:
        if not isinstance(error, OnlineStoreAwayError):  # which is told of once, when it goes and when it is back
            _logger.error("request failed", method=method, error=str(error))
        # A client tells our UNAVAILABLE from that of a server that is not there by its hint.
        hint = hint or "The log of the server says when it began."
    return _fault(code, error.sentence, hint, _details(error))


def _text(message: str, hint: str) -> str:
    return f"{message}\nHint: {hint}" if hint else message


def field_of(error: InvalidRequestError) -> str:
    """Return what is wrong in a request as a path, ``columns[user_id][3]``; empty if it is the whole."""
    return error.field if error.row is None else f"{error.field}[{error.row}]"


def _details(error: FeatureStoreError) -> list[error_details_pb2.BadRequest | error_details_pb2.QuotaFailure]:
    if isinstance(error, InvalidRequestError) and error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field_of(error), description=error.message)
        return [error_details_pb2.BadRequest(field_violations=[violation])]
    if isinstance(error, LimitExceededError):
        broken = error_details_pb2.QuotaFailure.Violation(subject=error.limit, description=error.message)
        return [error_details_pb2.QuotaFailure(violations=[broken])]
    return []


def _fault(
    code: grpc.StatusCode,
    message: str,
    hint: str,
    about: list[error_details_pb2.BadRequest | error_details_pb2.QuotaFailure],
) -> Fault:
    info = error_details_pb2.ErrorInfo(reason=code.name, domain=DOMAIN, metadata={"hint": hint} if hint else {})
    # Clients compare this text with that of the status: grpcio-status, for one, takes no details where they differ.
    status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=_text(message, hint))
    for detail in (info, *about):
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return Fault(code, message, hint, ((_DETAILS, status.SerializeToString()),))


#: What a stream ends with when its server does. Without a hint, so that clients go elsewhere.
STOPPING = _fault(grpc.StatusCode.UNAVAILABLE, "The server is stopping.", "", [])
