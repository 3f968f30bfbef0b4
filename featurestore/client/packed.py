"""The rows of a response as arrays, read where they lie in its bytes: no object is made for a value.

The server sends each row as it is stored. All that has a fixed width stands at an offset that depends only on the
view's features, on the status and on whether the row has a null mask::

    82 01 <length> | 08 <status> [11 <event time>] [1a <n> <null mask>] | <packed numbers, by type> | <texts ...>
      frame        |   head                                             |   fixed part

So rows that look alike are one matrix. Another server may write the same message in another way, which protobuf allows;
such rows are not taken for ours: the bytes between the values are compared, and :func:`from_messages` reads the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from featurestore.client.framing import varint
from featurestore.errors import ServingError
from featurestore.types import DType
from featurestore.v1 import serving_pb2 as pb

_FRAME = b"\x82\x01"
#: The packed lists of FeatureRow in the order of their field numbers, with their tags.
_PACKED = {"doubles": 0x22, "int64s": 0x2A, "floats": 0x32, "int32s": 0x3A, "bools": 0x42}
_DELIMITED = {"strings": 0x4A, "blobs": 0x52, "nested": 0x5A}
_STATUS, _EVENT, _NULLS = 0x08, 0x11, 0x1A
_STATUSES = frozenset((pb.ROW_STATUS_PRESENT, pb.ROW_STATUS_NOT_FOUND, pb.ROW_STATUS_OUTSIDE_MAX_AGE))


class UnlikeOursError(ValueError):
    """The bytes are not written as our server writes them."""


class Block(NamedTuple):
    """One packed list of a view's rows.

    Attributes:
        wire: the list: ``doubles``.
        numpy: the type of one number.
        start: where it begins in the fixed part.
        end: where it ends there.
        members: the features in it, by position in the view, in order.
        widths: how many numbers each has: those of an Embedding are several.
    """

    wire: str
    numpy: np.dtype[np.generic]
    start: int
    end: int
    members: tuple[int, ...]
    widths: tuple[int, ...]


class Layout:
    """How the rows of a view are laid out.

    Args:
        dtypes: of its features, in order.

    Attributes:
        dtypes: the same.
        blocks: the lists of numbers.
        variable: the positions of the features that have no fixed width.
        tails: the tags of these, in the order of the bytes.
        mask_bytes: of the null mask.
        width: bytes of the fixed part.
    """

    def __init__(self, dtypes: Sequence[DType]) -> None:
        self.dtypes = tuple(dtypes)
        self.variable = tuple(place for place, dtype in enumerate(self.dtypes) if dtype.wire not in _PACKED)
        wires = [self.dtypes[place].wire for place in self.variable]
        self.tails = tuple(tag for wire, tag in _DELIMITED.items() for _ in range(wires.count(wire)))
        self.mask_bytes = (len(self.dtypes) + 7) // 8
        blocks: list[Block] = []
        template, between = bytearray(), list[int]()
        for wire, tag in _PACKED.items():
            members = tuple(place for place, dtype in enumerate(self.dtypes) if dtype.wire == wire)
            if not members:
                continue
            length = sum(self.dtypes[place].width for place in members)
            head = bytes((tag, *_varint(length)))
            between += range(len(template), len(template) + len(head))
            template += head
            start = len(template)
            template += bytes(length)
            one = np.dtype(self.dtypes[members[0]].numpy).base
            widths = tuple(self.dtypes[place].size or 1 for place in members)
            blocks.append(Block(wire, one, start, len(template), members, widths))
        self.blocks = tuple(blocks)
        self.width = len(template)
        self._between = np.array(between, np.intp)
        self._template = np.frombuffer(bytes(template), np.uint8)
        self._alike: dict[tuple[int, _Head], NDArray[np.intp]] = {}

    def check(self, fixed: NDArray[np.uint8]) -> None:
        """Refuse fixed parts in which the lists do not stand where they should.

        Raises:
            UnlikeOursError: they do not.
        """
        if (fixed[:, self._between] != self._template[self._between]).any():
            raise UnlikeOursError

    def alike(self, frame: int, head: _Head) -> NDArray[np.intp]:
        """Return the places, in a record with frame, that rows must have in common to be one matrix."""
        found = self._alike.get((frame, head))
        if found is None:
            places = [*range(frame + 2)]  # and the status
            if head.event:
                places.append(frame + head.event - 1)
            if head.mask:
                places += [frame + head.mask - 2, frame + head.mask - 1]
            fixed = self._between + frame + head.values if head.has_values else self._between[:0]
            # A layout has few kinds of rows: by status, by event time, by mask.
            found = self._alike[frame, head] = np.concatenate([np.array(places, np.intp), fixed])
        return found


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


@dataclass(frozen=True, kw_only=True)
class ViewRows:
    """The rows of one view, for each entity row one.

    Attributes:
        statuses: numbers of ``RowStatus``, of shape (rows,).
        events: when the values were true, in microseconds since 1970, of shape (rows,); 0 where there is no instant.
        valid: where there is a value, of shape (rows, features).
        fixed: the fixed parts, of shape (rows, width); zeros where a row has no values.
    """

    statuses: NDArray[np.uint8]
    events: NDArray[np.int64]
    valid: NDArray[np.bool_]
    fixed: NDArray[np.uint8]

    def numbers(self, block: Block) -> NDArray[np.generic]:
        """Return the numbers of a packed list, of shape (rows, numbers)."""
        part = np.ascontiguousarray(self.fixed[:, block.start : block.end])
        return part.view(block.numpy)


class _Head(NamedTuple):
    """What stands before the values of a row: places from the row's first byte, 0 for what it has not."""

    status: int
    event: int
    mask: int
    values: int
    has_values: bool


def read(data: bytes, at: int, count: int, layouts: Sequence[Layout]) -> list[ViewRows]:
    """Return the rows of each view.

    Args:
        data: a response.
        at: where its first row begins.
        count: entity rows.
        layouts: of the views, in order.

    Raises:
        UnlikeOursError: the rows are not written as our server writes them, or are not as many.
    """
    found = []
    try:
        for layout in layouts:
            rows = _uniform(data, at, count, layout)
            if rows is None:
                rows, at = _mixed(data, at, count, layout)
            elif count:
                at += count * (varint(data, at + len(_FRAME))[0] + len(_frame(data, at)))
            found.append(rows)
    except (IndexError, ValueError):  # the bytes end too early; UnlikeOursError is a ValueError
        raise UnlikeOursError from None
    if at != len(data):
        raise UnlikeOursError
    return found


def _frame(data: bytes, at: int) -> bytes:
    return data[at : varint(data, at + len(_FRAME))[1]]


def _uniform(data: bytes, at: int, count: int, layout: Layout) -> ViewRows | None:
    """Return rows that all look like the first one; None if they do not, or have parts that do not tell."""
    if not count:
        return _empty(0, layout)
    if layout.tails:
        return None
    length, start = _framed(data, at)
    head = _head(data, start, start + length, layout)
    frame = start - at
    stride = frame + length
    if len(data) - at < count * stride:
        return None
    matrix = np.frombuffer(data, np.uint8, count * stride, at).reshape(count, stride)
    places = layout.alike(frame, head)
    if (matrix[:, places] != matrix[0, places]).any():
        return None
    rows = _empty(count, layout)
    rows.statuses[:] = head.status
    if head.event:
        events = matrix[:, frame + head.event : frame + head.event + 8]
        rows.events[:] = np.ascontiguousarray(events).view("<i8")[:, 0]
    if not head.has_values:
        return rows
    rows.valid[:] = True
    if head.mask:
        masks = matrix[:, frame + head.mask : frame + head.mask + layout.mask_bytes]
        rows.valid[:] = _unmasked(np.ascontiguousarray(masks), layout)
    fixed = matrix[:, frame + head.values : frame + head.values + layout.width]
    layout.check(fixed[:1])
    return ViewRows(statuses=rows.statuses, events=rows.events, valid=rows.valid, fixed=fixed)


def _mixed(data: bytes, at: int, count: int, layout: Layout) -> tuple[ViewRows, int]:
    """Return rows that differ in status, mask or length, and where they end."""
    rows = _empty(count, layout)
    heads, starts = [], []
    for _ in range(count):
        length, start = _framed(data, at)
        at = start + length
        if at > len(data):
            raise UnlikeOursError
        heads.append(_head(data, start, at, layout))
        starts.append(start)
    rows.statuses[:] = [head.status for head in heads]
    timed = [row for row, head in enumerate(heads) if head.event]
    if timed:
        events = _joined(data, [starts[row] + heads[row].event for row in timed], 8)
        rows.events[timed] = events.view("<i8")[:, 0]
    full = [row for row, head in enumerate(heads) if head.has_values]
    if full:
        width = layout.width
        rows.valid[full] = True
        if width:
            fixed = _joined(data, [starts[row] + heads[row].values for row in full], width)
            layout.check(fixed)
            rows.fixed[full] = fixed
        masked = [row for row in full if heads[row].mask]
        if masked:
            masks = _joined(data, [starts[row] + heads[row].mask for row in masked], layout.mask_bytes)
            rows.valid[masked] = _unmasked(masks, layout)
    return rows, at


def _joined(data: bytes, starts: Sequence[int], size: int) -> NDArray[np.uint8]:
    """Return pieces of equal size as a matrix."""
    return np.frombuffer(b"".join(data[start : start + size] for start in starts), np.uint8).reshape(-1, size)


def _framed(data: bytes, at: int) -> tuple[int, int]:
    """Return the length of a row, and where it starts."""
    if data[at : at + 2] != _FRAME:
        raise UnlikeOursError
    return varint(data, at + 2)


def _head(data: bytes, start: int, end: int, layout: Layout) -> _Head:
    status = data[start + 1]
    if data[start] != _STATUS or status not in _STATUSES:
        raise UnlikeOursError
    at = start + 2
    event = mask = 0
    if at < end and data[at] == _EVENT:
        event = at + 1 - start
        at += 9
    if at < end and data[at] == _NULLS:
        if data[at + 1] != layout.mask_bytes:  # or it has over 127 bytes, and its length two: read the other way
            raise UnlikeOursError
        mask = at + 2 - start
        at += 2 + layout.mask_bytes
    values, has_values = at, at < end
    if has_values:
        at += layout.width
        for tag in layout.tails:
            if data[at] != tag:
                raise UnlikeOursError
            length, at = varint(data, at + 1)
            at += length
    if at != end or (not has_values and (mask or status == pb.ROW_STATUS_PRESENT)):
        raise UnlikeOursError
    return _Head(status, event, mask, values - start, has_values)


def _unmasked(masks: NDArray[np.uint8], layout: Layout) -> NDArray[np.bool_]:
    bits = np.unpackbits(masks, axis=1, bitorder="little")[:, : len(layout.dtypes)]
    valid: NDArray[np.bool_] = bits == 0
    return valid


def _empty(count: int, layout: Layout) -> ViewRows:
    return ViewRows(
        statuses=np.zeros(count, np.uint8),
        events=np.zeros(count, np.int64),
        valid=np.zeros((count, len(layout.dtypes)), np.bool_),
        fixed=np.zeros((count, layout.width), np.uint8),
    )


def from_messages(messages: Sequence[pb.FeatureRow], layout: Layout) -> ViewRows:
    """Return the rows of a view that protobuf has parsed, however they were written.

    Raises:
        ServingError: they are not laid out as the view's features are.
    """
    rows = _empty(len(messages), layout)
    for row, message in enumerate(messages):
        rows.statuses[row] = message.status
        rows.events[row] = message.event_timestamp
        if not has_values(message, layout.dtypes):
            continue
        rows.valid[row] = True
        nulls = np.frombuffer(message.nulls.ljust(layout.mask_bytes, b"\0")[: layout.mask_bytes], np.uint8)
        rows.valid[row] = _unmasked(nulls[np.newaxis], layout)[0]
        for block in layout.blocks:
            numbers = np.array(getattr(message, block.wire), block.numpy)
            if len(numbers) != sum(block.widths):
                raise ServingError(
                    "The server's answer is not laid out as the schema says.",
                    hint="Update this package, or the server: they are of different versions.",
                )
            rows.fixed[row, block.start : block.end] = np.frombuffer(numbers.tobytes(), np.uint8)
    return rows


def has_values(row: pb.FeatureRow, dtypes: Sequence[DType]) -> bool:
    """Return whether a row has values: one that is present, or one whose features have defaults."""
    return row.status == pb.ROW_STATUS_PRESENT or bool(dtypes and getattr(row, dtypes[0].wire))
