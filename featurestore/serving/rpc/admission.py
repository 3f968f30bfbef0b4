"""Who is let in: a token in the metadata of each call, and what a limited one may ask for."""

from __future__ import annotations

from functools import partial
from typing import Any

from google.protobuf.message import DecodeError

from featurestore.errors import InvalidRequestError, UnauthenticatedError
from featurestore.serving.rpc.gate import Check
from featurestore.serving.rpc.standard import REFLECTION
from featurestore.serving.tokens import Caller, KnownTokens, caller
from featurestore.v1 import serving_pb2 as pb

_HEADER = "authorization"
#: By method, the message that names a feature service. A stream checks each of its requests by itself.
_READING: dict[str, Any] = {
    "GetOnlineFeatures": pb.GetOnlineFeaturesRequest,
    "GetServiceSchema": pb.GetServiceSchemaRequest,
}
_PUSHING = "PushFeatures"


class TokenAdmission:
    """Admits calls by their token; see :data:`featurestore.serving.rpc.gate.Admission`.

    Args:
        tokens: those that are known.
    """

    def __init__(self, tokens: KnownTokens) -> None:
        self._tokens = tokens

    def __call__(self, path: str, metadata: Any) -> Check | None:
        """Admit a call, and return what its request must pass beside; None if it may ask for anything.

        Raises:
            UnauthenticatedError: there is no valid token in the metadata.
            PermissionDeniedError: it is not for the method.
        """
        sent = _sent(metadata)
        if path == REFLECTION:
            # Any token will do: it tells what methods there are, and nothing of the data.
            self._tokens.identify(sent)
            return None
        method = path.rpartition("/")[2]
        found = self._tokens.admit(method, sent)
        # In the context of this call's task: whatever answers it, or writes of it in a log, knows who calls.
        caller.set(found)
        if found.token.services and method in _READING:
            return partial(_check_service, found, _READING[method])
        if found.token.views and method == _PUSHING:
            return partial(_check_view, found)
        return None


def caller_name(tokens: KnownTokens, metadata: Any) -> str:
    """Return the name of the token that came with a call; empty if there was none, or it is not valid any more."""
    try:
        return tokens.identify(_sent(metadata)).name
    except UnauthenticatedError:
        return ""


def _sent(metadata: Any) -> str:
    for key, value in metadata:
        if key == _HEADER:
            return str(value)
    return ""


def _check_service(who: Caller, kind: Any, request: bytes) -> None:
    who.check_service(_parsed(kind, request).service)


def _check_view(who: Caller, request: bytes) -> None:
    who.check_view(_parsed(pb.PushFeaturesRequest, request).view)


def _parsed(kind: Any, request: bytes) -> Any:
    """Return a request, read a second time when it is answered: limited tokens pay for it, and nobody else.

    Raises:
        InvalidRequestError: it is none. It must not go on: what answers it might see another name in it.
    """
    try:
        return kind.FromString(request)
    except DecodeError:
        raise InvalidRequestError(
            f"The request is not a {kind.DESCRIPTOR.name}.", hint="Generate the client from serving.proto."
        ) from None
