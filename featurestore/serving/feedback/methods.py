"""The methods ``LogPredictions`` and ``LogOutcomes``: bytes in, on disk, bytes out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from typing import Any

import pyarrow as pa
from google.protobuf.message import DecodeError

from featurestore.errors import InvalidRequestError
from featurestore.registry.records import ModelRecord
from featurestore.serving.feedback.rows import OUTCOMES, PREDICTIONS, Kind, checked, from_outcomes, from_predictions
from featurestore.serving.feedback.segments import FeedbackLog
from featurestore.v1 import serving_pb2 as pb

#: How long a model that was found is not asked for again; a new version is the newest after this at the latest.
_KNOWN_SECONDS = 1.0


class FeedbackMethods:
    """Takes predictions and outcomes on a server.

    Args:
        log: where they go.
        model: finds a model by ``churn`` or ``churn@3``.
        now: the server's instant, microseconds since 1970.
        most: rows that one request may have.
    """

    def __init__(
        self, log: FeedbackLog, model: Callable[[str], ModelRecord], now: Callable[[], int], *, most: int
    ) -> None:
        self._log = log
        self._find = model
        self._now = now
        self._most = most
        self._known: dict[str, tuple[float, ModelRecord]] = {}

    def methods(self) -> Mapping[str, Callable[[bytes], Awaitable[bytes]]]:
        """Return by name what answers a request's bytes."""
        return {"LogPredictions": self.log_predictions, "LogOutcomes": self.log_outcomes}

    async def log_predictions(self, data: bytes) -> bytes:
        """Answer a serialized ``LogPredictionsRequest`` once its rows are on disk.

        Raises:
            ObjectNotFoundError: there is no such model.
            InvalidRequestError: the bytes are no request, or a prediction cannot be one.
            LimitExceededError: there are too many.
            OfflineStoreError: the disk refuses.
        """
        model, done = await self._taken(data, pb.LogPredictionsRequest, PREDICTIONS, from_predictions)
        return pb.LogPredictionsResponse(model=model.id, predictions_logged=await done).SerializeToString()

    async def log_outcomes(self, data: bytes) -> bytes:
        """Answer a serialized ``LogOutcomesRequest`` once its rows are on disk; errors as :meth:`log_predictions`."""
        _, done = await self._taken(data, pb.LogOutcomesRequest, OUTCOMES, from_outcomes)
        return pb.LogOutcomesResponse(outcomes_logged=await done).SerializeToString()

    async def _taken(
        self, data: bytes, message: Callable[[], Any], kind: Kind, rows: Callable[[Any], pa.Table]
    ) -> tuple[ModelRecord, Awaitable[int]]:
        # In a thread, as the lookups of this process must not wait for it.
        model, done = await asyncio.to_thread(self._add, data, message, kind, rows)
        return model, asyncio.wrap_future(done)

    def _add(
        self, data: bytes, message: Callable[[], Any], kind: Kind, rows: Callable[[Any], pa.Table]
    ) -> tuple[ModelRecord, Future[int]]:
        request = message()
        try:
            request.ParseFromString(data)
        except DecodeError:
            raise InvalidRequestError(
                f"The request is not a {request.DESCRIPTOR.name}.", hint="Generate the client from serving.proto."
            ) from None
        model = self._model(request.model)
        table = checked(kind, rows(request), model, now=self._now(), most=self._most)
        return model, self._log.add(kind, model.name, table)

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
