"""Lookups: bytes in, bytes out. Nothing here knows of gRPC, so a client in the same process uses it too."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import pyarrow as pa
from google.protobuf.message import DecodeError

from featurestore.errors import InvalidRequestError, ObjectNotFoundError, OnlineStoreAwayError, closest
from featurestore.online import OnlineStore
from featurestore.online.base import Waiting, event_time, oldest_order
from featurestore.online.local_copy import LocalCopy
from featurestore.online.rowcodec import outside_max_age, varint
from featurestore.serving import one_row
from featurestore.serving.on_demand import on_demand_features
from featurestore.serving.plan import OnDemandView, ServicePlan, StoredView, Unserved
from featurestore.serving.requests import columns_of
from featurestore.serving.routing import Canary
from featurestore.serving.rows import RowReader, StoredRow, StoredRows
from featurestore.serving.stale import StaleRows
from featurestore.v1 import serving_pb2 as pb

_INSTANT = struct.Struct("<q").pack
#: Of a response: that it is of a rehearsal, and the tag of row_count.
_REPLAY, _ROW_COUNT = b"\x20\x01", b"\x28"
#: After the count, of an answer from a local copy: stale, complete_to.
_STALE = b"\x30\x01\x39%b"
#: Makes a named tuple without the function that names its parts.
_make = tuple.__new__
_parse = pb.GetOnlineFeaturesRequest.FromString


class LogEntry(NamedTuple):
    """What the serving log needs of one lookup; all of it is there already, so it costs the lookup nothing.

    Attributes:
        plan: what answered.
        request_id: the request's.
        served_at: microseconds since 1970.
        row_count: entity rows.
        columns: the request's values by column.
        snapshot: the number of the store's snapshot that it was answered from.
        rows: by use of a stored view, the row of each entity row.
        oldest: by use of a stored view, what the order of a row must not be below for it to be present.
        computed: the on-demand features by name.
        complete_to: of an answer from a local copy of a store that is away, up to when that is complete, microseconds
            since 1970; None of any other. The snapshot is then one of the copy.
    """

    plan: ServicePlan
    request_id: str
    served_at: int
    row_count: int
    columns: dict[str, list[Any]]
    snapshot: int
    rows: list[list[StoredRow]]
    oldest: list[bytes]
    computed: dict[str, pa.Array]
    complete_to: int | None


class Answer(NamedTuple):
    """A response, and what the log needs of it."""

    response: bytes
    entry: LogEntry


class Lookups:
    """Answers requests for any of several services from one online store.

    Args:
        store: where rows are.
        plans: by each name that a request may use: ``flight_delay`` and ``flight_delay@1``. They are replaced by
            :meth:`serve`, while requests are answered.
        max_rows: entity rows that one request may have.
        replay: whether the store's clock, not the world's, is the instant against which ages are judged.
        canaries: by bare name, the version that answers a share of the requests for it.
        row_cache: bytes, about, that rows which were read may take, to be served again while they are the newest.
        local_copy: is served, and said to be stale, while the store is away; None serves nothing then.
    """

    def __init__(
        self,
        store: OnlineStore,
        plans: Mapping[str, ServicePlan | Unserved],
        *,
        max_rows: int,
        replay: bool = False,
        canaries: Mapping[str, Canary] | None = None,
        row_cache: int = 0,
        local_copy: LocalCopy | None = None,
    ) -> None:
        self.store = store
        self.stale = None if local_copy is None else StaleRows(local_copy, limit=row_cache)
        self._reader = RowReader(store, limit=row_cache)
        self.replay = replay
        self._row_count = _REPLAY * replay + _ROW_COUNT
        self._of_one_row = self._row_count + b"\x01"
        self._max_rows = max_rows
        self.serve(plans, canaries or {})

    def now(self) -> int:
        """Return the instant of a lookup made now, microseconds since 1970."""
        return (self.store.clock() or 0) if self.replay else time.time_ns() // 1000

    def serve(self, plans: Mapping[str, ServicePlan | Unserved], canaries: Mapping[str, Canary]) -> None:
        """Serve other plans from now on; see :class:`Lookups`."""
        # Other threads look things up meanwhile: a canary of the old plans is never beside new ones.
        self.canaries: Mapping[str, Canary] = {}
        self._one_rows: Mapping[bytes, one_row.OneRow] = {}
        self.plans = plans
        self.canaries = canaries
        alone = {name: plan for name, plan in plans.items() if name not in canaries}
        self._one_rows = one_row.one_rows(alone, self._reader)

    def get_online_features(self, data: bytes) -> Answer:
        """Answer a serialized ``GetOnlineFeaturesRequest``; see :meth:`answer`.

        Raises:
            InvalidRequestError: the bytes are not a request.
        """
        return self.answer_one_row(data) or self.answer(parsed(data))

    def answer_one_row(self, data: bytes) -> Answer | None:
        """Answer a serialized request for one entity row by the shortest way; None if :meth:`answer` is to do it.

        Raises:
            OnlineStoreError: the store cannot be read, and no local copy answers for it.
        """
        # This runs once a request, between work of gRPC's that leaves nothing of it in the processor's caches: all that
        # is done here costs three times what it does in a loop of its own.
        found = one_row.read(data, self._one_rows)
        if found is None:
            return None
        asked, key, request_id = found
        plan, columns = asked.plan, {asked.key: [key]}
        at_hand = self._reader.at_hand(asked.kept, key) if asked.kept else None
        if at_hand is None:
            read, complete_to = self._read(plan, columns)
            return self._answered(plan, request_id, columns, 1, read, complete_to)
        return self._answered_one_row(asked, columns, request_id, at_hand)

    def _answered_one_row(
        self, asked: one_row.OneRow, columns: dict[str, list[Any]], request_id: str, found: StoredRows
    ) -> Answer:
        plan, (clock, snapshot, rows) = asked.plan, found
        now = (clock or 0) if self.replay else time.time_ns() // 1000
        oldest = plan.ageless or [_oldest(view, now) for view in plan.stored]
        request_id = request_id or _new_id()
        name = request_id.encode()
        parts = [b"\n", varint(len(name)), name, plan.service_field, _INSTANT(now), self._of_one_row]
        for view, place in asked.sent:
            row = rows[place][0]
            if view is None or row.order >= oldest[place] or not row.order:
                parts.append(row.sent)
            else:
                parts.append(_too_old(view, row.order))
        entry = _make(LogEntry, (plan, request_id, now, 1, columns, snapshot, rows, oldest, {}, None))
        return _make(Answer, (b"".join(parts), entry))

    def answer(self, request: pb.GetOnlineFeaturesRequest) -> Answer:
        """Answer a request.

        Raises:
            ObjectNotFoundError: there is no such service.
            InvalidRequestError: a column is missing, surplus or of another type.
            LimitExceededError: it has too many entity rows.
            OnlineStoreError: the store cannot be read, and no local copy answers for it.
        """
        plan = self._chosen(request)
        columns, count = columns_of(request.columns, plan, self._max_rows)
        rows, complete_to = self._read(plan, columns)
        return self._answered(plan, request.request_id, columns, count, rows, complete_to)

    async def answer_waiting(
        self, request: pb.GetOnlineFeaturesRequest, waiting: Waiting, seconds: float | None
    ) -> Answer:
        """Answer a request as :meth:`answer`, from a store that is another process.

        Args:
            request: what is asked.
            waiting: reads the rows, without holding up other requests.
            seconds: within which an answer is wanted; None leaves that to the store.
        """
        plan = self._chosen(request)
        columns, count = columns_of(request.columns, plan, self._max_rows)
        rows, complete_to = await self._read_waiting(plan, columns, waiting, seconds)
        return self._answered(plan, request.request_id, columns, count, rows, complete_to)

    async def get_online_features_waiting(self, data: bytes, waiting: Waiting, seconds: float | None) -> Answer:
        """Answer a serialized ``GetOnlineFeaturesRequest``; see :meth:`answer_waiting`.

        Raises:
            InvalidRequestError: the bytes are not a request.
        """
        found = one_row.read(data, self._one_rows)
        if found is None:
            return await self.answer_waiting(parsed(data), waiting, seconds)
        asked, key, request_id = found
        columns: dict[str, list[Any]] = {asked.key: [key]}
        try:
            read = await waiting.read_one(asked.tables, asked.encode(key), seconds)
        except OnlineStoreAwayError as error:
            copied, complete_to = self._from_copy(asked.plan, columns, error)
            return self._answered(asked.plan, request_id, columns, 1, copied, complete_to)
        clock, snapshot, values = read
        rows = [[taker.take_one(value)] for taker, value in zip(asked.takers, values, strict=True)]
        return self._answered_one_row(asked, columns, request_id, StoredRows(clock, snapshot, rows))

    async def _read_waiting(
        self, plan: ServicePlan, columns: Mapping[str, list[Any]], waiting: Waiting, seconds: float | None
    ) -> tuple[StoredRows, int | None]:
        try:
            return await self._reader.read_waiting(plan.stored, columns, waiting, seconds), None
        except OnlineStoreAwayError as error:
            return self._from_copy(plan, columns, error)

    def _read(self, plan: ServicePlan, columns: Mapping[str, list[Any]]) -> tuple[StoredRows, int | None]:
        """Return the rows of a request, and up to when they are complete if the store is away."""
        try:
            return self._reader.read(plan.stored, columns), None
        except OnlineStoreAwayError as error:
            return self._from_copy(plan, columns, error)

    def _from_copy(
        self, plan: ServicePlan, columns: Mapping[str, list[Any]], error: OnlineStoreAwayError
    ) -> tuple[StoredRows, int]:
        if self.stale is None:
            raise error
        return self.stale.read(plan.stored, columns, error)

    def _chosen(self, request: pb.GetOnlineFeaturesRequest) -> ServicePlan:
        plan = self.plans.get(request.service)
        if plan.__class__ is not ServicePlan:
            plan = self._plan(request.service)  # which says what there is in its place
        if self.canaries:
            canary = self.canaries.get(request.service)
            if canary is not None and canary.takes(request):
                return canary.plan
        return plan

    def _answered(
        self,
        plan: ServicePlan,
        request_id: str,
        columns: dict[str, list[Any]],
        count: int,
        found: StoredRows,
        complete_to: int | None,
    ) -> Answer:
        clock, snapshot, rows = found
        now = (clock or 0) if self.replay else time.time_ns() // 1000
        oldest = plan.ageless or [_oldest(view, now) for view in plan.stored]
        request_id = request_id or _new_id()
        name = request_id.encode()
        parts = [b"\n", varint(len(name)), name, plan.service_field, _INSTANT(now), self._row_count, varint(count)]
        if complete_to is not None:
            parts.append(_STALE % _INSTANT(complete_to))
        computed: dict[str, pa.Array] = {}
        records: dict[str, list[bytes]] = {}
        if plan.on_demand:
            by_view = dict(zip(plan.stored_names, zip(rows, oldest, strict=True), strict=True))
            computed, records = on_demand_features(plan, by_view, columns, count)
        for view, place in plan.sent_places:
            if view is None:
                if count == 1:
                    parts.append(rows[place][0].sent)
                else:
                    parts += [row.sent for row in rows[place]]
            elif isinstance(view, OnDemandView):
                parts += records[view.name]
            else:
                parts += _in_time(view, rows[place], oldest[place])
        entry = _make(LogEntry, (plan, request_id, now, count, columns, snapshot, rows, oldest, computed, complete_to))
        return _make(Answer, (b"".join(parts), entry))

    def get_service_schema(self, data: bytes) -> bytes:
        """Answer a serialized ``GetServiceSchemaRequest``.

        Raises:
            ObjectNotFoundError: there is no such service.
            InvalidRequestError: the bytes are not a request.
        """
        schema = pb.GetServiceSchemaResponse()
        try:
            request = pb.GetServiceSchemaRequest.FromString(data)
        except DecodeError:
            raise _no_request("GetServiceSchemaRequest") from None
        schema.CopyFrom(self._plan(request.service).schema)
        schema.replay = self.replay
        return schema.SerializeToString()

    def transport(self, method: str, request: bytes) -> bytes:
        """Answer as a server does: the transport of a client in this process.

        Raises:
            InvalidRequestError: the method is a server's only.
        """
        if method == "GetOnlineFeatures":
            return self.get_online_features(request).response
        if method == "GetServiceSchema":
            return self.get_service_schema(request)
        raise InvalidRequestError(
            f"{method} needs a server.",
            hint="Start one: featurestore serve" + " --replay NAME" * (method == "AdvanceClock"),
        )

    def _plan(self, name: str) -> ServicePlan:
        found = self.plans.get(name)
        if found is None:
            raise ObjectNotFoundError(f'There is no feature service "{name}".', hint=closest(name, self.plans))
        if isinstance(found, Unserved):
            raise found.error
        return found


def _new_id() -> str:
    return f"{random.getrandbits(128):032x}"


def parsed(data: bytes) -> pb.GetOnlineFeaturesRequest:
    """Return a request.

    Raises:
        InvalidRequestError: the bytes are not one.
    """
    try:
        return _parse(data)
    except DecodeError:
        raise _no_request("GetOnlineFeaturesRequest") from None


def _no_request(kind: str) -> InvalidRequestError:
    return InvalidRequestError(f"The request is not a {kind}.", hint="Generate the client from serving.proto.")


def _oldest(view: StoredView, now: int) -> bytes:
    return b"" if view.ttl is None else oldest_order(now - view.ttl)


def _in_time(view: StoredView, rows: list[StoredRow], oldest: bytes) -> list[bytes]:
    """Return the record of each row as it is sent, where rows may be too old."""
    return [row.sent if row.order >= oldest or not row.order else _too_old(view, row.order) for row in rows]


def _too_old(view: StoredView, order: bytes) -> bytes:
    event = event_time(order)
    return outside_max_age(event) if view.defaults is None else view.defaults.outside_max_age(event)
