"""The methods ``LogPredictions`` and ``LogOutcomes``: bytes in, on disk, bytes out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa
from google.protobuf.message import DecodeError

from featurestore.errors import InvalidRequestError
from featurestore.registry.records import ModelRecord
from featurestore.serving.feedback.rows import OUTCOMES, PREDICTIONS, Kind, checked, from_outcomes, from_predictions
from featurestore.serving.feedback.segments import FeedbackLog
from featurestore.v1 import serving_pb2 as pb

#: How long a model that was found is not asked for again; a new version is the newest after this at the latest.
_KNOWN_SECONDS = 1.0


class _Method(NamedTuple):
    message: Callable[[], Any]
    kind: Kind
    rows: Callable[[Any], pa.Table]


_METHODS = {
    "LogPredictions": _Method(pb.LogPredictionsRequest, PREDICTIONS, from_predictions),
    "LogOutcomes": _Method(pb.LogOutcomesRequest, OUTCOMES, from_outcomes),
}


class FeedbackAnswers:
    """Takes predictions and outcomes.

    Args:
        log: gives where they go.
        model: finds a model by ``churn`` or ``churn@3``.
        now: the present instant, microseconds since 1970.
        most: rows that one request may have.
    """

    def __init__(
        self,
        log: Callable[[], FeedbackLog],
        model: Callable[[str], ModelRecord],
        now: Callable[[], int],
        *,
        most: int,
    ) -> None:
        self._log = log
        self._find = model
        self._now = now
        self._most = most
        self._known: dict[str, tuple[float, ModelRecord]] = {}

    def methods(self) -> Mapping[str, Callable[[bytes], bytes]]:
        """Return by name what answers a request's bytes once its rows are on disk; it waits for the disk.

        Each raises:
            ObjectNotFoundError: there is no such model.
            InvalidRequestError: the bytes are no request, or a row cannot be what it says.
            LimitExceededError: there are too many rows.
            OfflineStoreError: the disk refuses.
        """
        return {name: partial(self._answer, name) for name in _METHODS}

    def awaited(self) -> Mapping[str, Callable[[bytes], Awaitable[bytes]]]:
        """Return the same for an event loop, which goes on meanwhile."""
        return {name: partial(self._await, name) for name in _METHODS}

    def _answer(self, name: str, data: bytes) -> bytes:
        model, done = self._add(_METHODS[name], data)
        return _response(name, model, done.result())

    async def _await(self, name: str, data: bytes) -> bytes:
        model, done = await asyncio.to_thread(self._add, _METHODS[name], data)
        return _response(name, model, await asyncio.wrap_future(done))

    def _add(self, method: _Method, data: bytes) -> tuple[ModelRecord, Future[int]]:
        request = method.message()
        try:
            request.ParseFromString(data)
        except DecodeError:
            raise InvalidRequestError(
                f"The request is not a {request.DESCRIPTOR.name}.", hint="Generate the client from serving.proto."
            ) from None
        model = self._model(request.model)
        table = checked(method.kind, method.rows(request), model, now=self._now(), most=self._most)
        return model, self._log().add(method.kind, model.name, table)

    def _model(self, reference: str) -> ModelRecord:
        if not reference:
            raise InvalidRequestError(
                "The request names no model.", hint="Name the one that predicted: churn, churn@3.", field="model"
            )
        until, found = self._known.get(reference, (0.0, None))
        if found is None or until < time.monotonic():
            found = self._find(reference)
            self._known[reference] = (time.monotonic() + _KNOWN_SECONDS, found)
        return found


def _response(name: str, model: ModelRecord, rows: int) -> bytes:
    if name == "LogOutcomes":
        return pb.LogOutcomesResponse(outcomes_logged=rows).SerializeToString()
    return pb.LogPredictionsResponse(model=model.id, predictions_logged=rows).SerializeToString()
