"""PushFeatures: the columns of a request as rows, pushed off the event loop, so that lookups go on meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
from google.protobuf.message import DecodeError

from featurestore import types
from featurestore.errors import DataError, InvalidRequestError, NotOwnerError, PushRefusedError
from featurestore.online.columns import to_column
from featurestore.pushing import Pusher
from featurestore.serving.requests import columns_of
from featurestore.v1 import serving_pb2 as pb

#: Pushes that are checked, or wait for the disk, at once; those that wait together are committed as one.
_THREADS = 16


@dataclass(frozen=True, kw_only=True)
class _PushedView:
    """What a push of a view takes."""

    id: str
    columns: Mapping[str, types.DType]
    optional: Collection[str]
    #: A NaN in a key is a bad row, and spoils no other.
    keys: Collection[str] = ()

    @property
    def what(self) -> str:
        return f'Feature view "{self.id}"'


class PushAnswers:
    """Answers requests of PushFeatures, in whatever thread it is asked.

    Args:
        pusher: takes the rows.
        max_rows: rows that one request may have.
    """

    def __init__(self, pusher: Pusher, *, max_rows: int) -> None:
        self._pusher = pusher
        self._max_rows = max_rows
        self._counting = threading.Lock()
        #: Rows by the view whose checks they met, and what became of them.
        self._rows: Counter[tuple[str, str]] = Counter()

    def rows(self) -> Mapping[tuple[str, str], int]:
        """Return how many rows came, by view and whether they were ``accepted``, ``rejected`` or ``suppressed``."""
        with self._counting:
            return dict(self._rows)

    def __call__(self, data: bytes) -> bytes:
        """Push the rows of a serialized ``PushFeaturesRequest``.

        Raises:
            InvalidRequestError: the rows, or one of them where the view rejects the whole then, cannot be taken.
            LimitExceededError: they are too many.
            ObjectNotFoundError: there is no such view.
            OfflineStoreError: the log of pushed rows cannot be written.
            OnlineStoreError: the rows cannot be served.
        """
        request = _parse(data)
        taker = self._taker(request.view)
        if not request.columns:  # no rows, which nobody need refuse
            return pb.PushFeaturesResponse(view=taker.id).SerializeToString()
        while True:
            try:
                return self._push(request, taker)
            except InvalidRequestError:
                # A version may have become current in between, which takes other columns.
                before, taker = taker, self._taker(request.view)
                if taker == before:
                    raise

    def _push(self, request: pb.PushFeaturesRequest, taker: _PushedView) -> bytes:
        columns, _ = columns_of(request.columns, taker, self._max_rows)
        rows = pa.table({name: to_column(columns[name], dtype) for name, dtype in taker.columns.items()})
        try:
            done = self._pusher.push(request.view, rows)
        except PushRefusedError as error:
            field = f"columns[{error.field}]"
            raise InvalidRequestError(error.message, hint=error.hint, field=field, row=error.row) from None
        except DataError as error:
            raise InvalidRequestError(error.message, hint=error.hint) from None
        with self._counting:
            self._rows[done.view, "accepted"] += done.accepted
            self._rows[done.view, "rejected"] += len(done.rejected)
            self._rows[done.view, "suppressed"] += done.suppressed
        return pb.PushFeaturesResponse(
            view=done.view,
            rows_accepted=done.accepted,
            rejected=[pb.RejectedRow(row=one.row, reason=one.reason) for one in done.rejected],
        ).SerializeToString()

    def _taker(self, view: str) -> _PushedView:
        try:
            found, columns, optional = self._pusher.column_types(view)
        except (NotOwnerError, DataError) as error:
            raise InvalidRequestError(error.message, hint=error.hint, field="view") from None
        return _PushedView(id=found, columns=columns, optional=optional)


class PushMethod:
    """Answers calls of a server.

    Args:
        pusher: takes the rows.
        max_rows: rows that one request may have.

    Attributes:
        answers: what answers, in threads.
    """

    def __init__(self, pusher: Pusher, *, max_rows: int) -> None:
        self._pusher = pusher
        self.answers = PushAnswers(pusher, max_rows=max_rows)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="push")
        pusher.flusher.start()

    async def __call__(self, request: bytes) -> bytes:
        """Answer a serialized ``PushFeaturesRequest``; see :class:`PushAnswers`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.answers, request)

    def close(self) -> None:
        """Wait for pushes under way, and bring what waits into the offline store."""
        self._threads.shutdown()
        self._pusher.close()


def _parse(data: bytes) -> pb.PushFeaturesRequest:
    try:
        return pb.PushFeaturesRequest.FromString(data)
    except DecodeError:
        raise InvalidRequestError(
            "The request is not a PushFeaturesRequest.", hint="Generate the client from serving.proto."
        ) from None
