"""A gRPC channel as a transport: bytes to a method and back, errors as ours."""

from __future__ import annotations

import grpc

from featurestore.errors import (
    DeadlineExceededError,
    FeatureStoreError,
    InvalidRequestError,
    ObjectNotFoundError,
    PermissionDeniedError,
    ServerUnavailableError,
    ServingError,
    UnauthenticatedError,
)


class Channel:
    """A gRPC channel as a :data:`Transport`."""

    def __init__(self, address: str, timeout: float) -> None:
        self._address = address
        self._timeout = timeout
        self._channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)])
        self._methods = {name: self._channel.unary_unary(path) for name, path in _METHODS.items()}
        self._health = self._channel.unary_unary("/grpc.health.v1.Health/Check")

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __call__(self, method: str, request: bytes) -> bytes:
        """Call a method and return its answer.

        Raises:
            ServingError: the call failed, or the channel is closed; its subclasses say why.
            ObjectNotFoundError: the server knows no such service.
        """
        try:
            answer: bytes = self._methods[method](request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise self._mapped(error) from None
        except ValueError:  # all that gRPC says of a channel that was closed
            raise ServingError(f"The client of {self._address} is closed.", hint="Make a new FeatureClient.") from None
        return answer

    def is_serving(self) -> bool:
        """Return whether the server answers, now, that it serves."""
        try:
            # An empty HealthCheckRequest asks for the whole server; field 1 of the answer is 1 for SERVING.
            answer: bytes = self._health(b"", timeout=1.0)
        except grpc.RpcError:
            return False
        return answer == b"\x08\x01"

    def _mapped(self, error: grpc.RpcError) -> FeatureStoreError:
        code, details = error.code(), error.details() or ""
        message, _, hint = details.partition("\nHint: ")
        if code is grpc.StatusCode.UNAVAILABLE and hint:  # a server that cannot reach its store
            return ServerUnavailableError(message, hint=hint)
        if code is grpc.StatusCode.UNAVAILABLE:
            return ServerUnavailableError(
                f"No feature server answers at {self._address}.", hint="Start one: featurestore serve"
            )
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceededError(f"The server at {self._address} did not answer within {self._timeout:g} s.")
        if code is grpc.StatusCode.UNIMPLEMENTED:
            return InvalidRequestError(
                f"The server at {self._address} has no such method: its clock is the world's.",
                hint="Start a rehearsal: featurestore serve --replay NAME",
            )
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return InvalidRequestError(
                f"The request or its answer is too large for one message: {message}.",
                hint="Send fewer entity rows at once.",
            )
        kind = _ERRORS.get(code, ServingError)
        return kind(message or f"The server at {self._address} answered {code.name}.", hint=hint)


_METHODS = {
    "GetOnlineFeatures": "/featurestore.v1.ServingService/GetOnlineFeatures",
    "GetServiceSchema": "/featurestore.v1.ServingService/GetServiceSchema",
    "AdvanceClock": "/featurestore.v1.ReplayService/AdvanceClock",
}

_ERRORS: dict[grpc.StatusCode, type[FeatureStoreError]] = {
    grpc.StatusCode.NOT_FOUND: ObjectNotFoundError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
}
