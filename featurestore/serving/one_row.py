"""Requests for one entity row of one join key, which most are: read from their bytes, without protobuf's messages.

A message and its parts are ten objects of Python's, and cost more than the lookup. Only the one form in which encoders
write such a request is read here; all else, right or wrong, is left to protobuf.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from featurestore.serving.plan import OnDemandView, ServicePlan, StoredView
from featurestore.serving.rows import Kept, RowReader
from featurestore.v1 import serving_pb2 as pb

#: Types of a key that are read, and whether their values are texts.
_TEXTS = {"Int64": False, "String": True}
#: From here on a length takes a second byte. What is read here has none.
_LONG = 0x80
#: Tags: the number of a field, and that its length follows; or that it is a number.
_COLUMNS, _VALUES, _REQUEST_ID = 0x12, 0x0A, 0x1A
_CORRELATION_ID, _REQUEST = 0x08, 0x12
#: Bytes of a correlation id below 2^63.
_LONGEST_ID = 10


class OneRow(NamedTuple):
    """How a service is asked for one entity row.

    Attributes:
        plan: the service.
        key: the column of its join key.
        before: the bytes of that column before the length of its values.
        is_text: whether the key is a String; else it is an Int64.
        kept: of each stored view of the plan, the rows that are known; empty where none are kept.
        tables: of each stored view, where its rows are.
        encode: makes the key as the store has it.
        takers: of each stored view, what makes a stored value a row.
        sent: see :attr:`ServicePlan.sent_places <featurestore.serving.plan.ServicePlan.sent_places>`.
    """

    plan: ServicePlan
    key: str
    before: bytes
    is_text: bool
    kept: tuple[Kept, ...]
    tables: tuple[str, ...]
    encode: Callable[[int | str], bytes]
    takers: tuple[Kept, ...]
    sent: tuple[tuple[StoredView | None, int], ...]


def one_rows(plans: Mapping[str, object], reader: RowReader) -> dict[bytes, OneRow]:
    """Return how services are asked for one entity row, by the bytes that such a request begins with.

    Args:
        plans: by each name that a request may use. Services that need more than one key, or compute, have no such form.
        reader: keeps their rows.
    """
    found = {}
    for name, plan in plans.items():
        if not isinstance(plan, ServicePlan) or plan.on_demand or len(plan.columns) != 1:
            continue
        ((key, dtype),) = plan.columns.items()
        if dtype.name not in _TEXTS or any(view.columns != (key,) for view in plan.stored):
            continue
        number = pb.Column.DESCRIPTOR.fields_by_name[dtype.sent].number
        before = pb.Column(name=key).SerializeToString() + bytes((number << 3 | 2,))
        beginning = pb.GetOnlineFeaturesRequest(service=name).SerializeToString()
        if len(beginning) < _LONG:
            sent = tuple((view, place) for view, place in plan.sent_places if not isinstance(view, OnDemandView))
            tables = tuple(view.storage_id for view in plan.stored)
            encode, takers = plan.stored[0].keys.encode_one, reader.takers(plan.stored)
            kept = reader.kept(plan.stored)
            found[beginning] = OneRow(plan, key, before, _TEXTS[dtype.name], kept, tables, encode, takers, sent)
    return found


def read(data: bytes, known: Mapping[bytes, OneRow]) -> tuple[OneRow, int | str, str] | None:
    """Return what a request asks for, its key and its id; None if it is not such a request.

    Args:
        data: a serialized ``GetOnlineFeaturesRequest``, or anything else.
        known: as :func:`one_rows` returns it.
    """
    try:
        column = data[1] + 2  # where it begins, behind the service
        asked = known.get(data[:column])
        if asked is None:
            return None
        _, _, before, is_text, *_ = asked
        values = column + 2 + len(before)
        if data[column] != _COLUMNS or data[column + 2 : values] != before or data[values + 1] != _VALUES:
            return None
        size = data[values + 2]
        end = values + 3 + size
        # Three lengths, one within another. The outermost is one byte, so the others are.
        if data[values] != size + 2 or data[column + 1] != end - column - 2 or data[column + 1] >= _LONG:
            return None
        value = data[values + 3 : end]
        key = value.decode() if is_text else _sint64(value)
        if key is None or len(value) != size:
            return None
        rest = data[end:]
        if not rest:
            return asked, key, ""
        if rest[0] != _REQUEST_ID or rest[1] != len(rest) - 2 or rest[1] >= _LONG:
            return None
        return asked, key, rest[2:].decode()
    except (IndexError, UnicodeDecodeError):
        return None


def _sint64(data: bytes) -> int | None:
    """Return a number; None if it is not one, or has more than 63 bits."""
    number = shift = 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < _LONG:
            return number >> 1 ^ -(number & 1) if shift == 7 * len(data) <= 63 else None
    return None


def within(data: bytes) -> tuple[bytes, bytes] | None:
    """Return the correlation id of a short ``StreamOnlineFeaturesRequest``, as a field, and its request.

    Returns:
        None if it is not one.
    """
    try:
        at = 0
        if data[0] == _CORRELATION_ID:
            at = 2
            while data[at - 1] >= _LONG:
                at += 1
        if data[at] != _REQUEST or data[at + 1] != len(data) - at - 2 or data[at + 1] >= _LONG or at > _LONGEST_ID:
            return None
        return data[:at], data[at + 2 :]
    except IndexError:
        return None
