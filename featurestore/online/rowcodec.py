"""Feature rows between Arrow and the bytes that a response carries: what is stored is what is sent.

A record is field 16 of ``GetOnlineFeaturesResponse`` (tag, length, ``FeatureRow``), in the canonical order of protobuf.
Joining records is therefore joining responses, and the server creates no object per feature. All that has a fixed
width stands at an offset that depends only on the fields and on whether the row has a null mask::

    82 01 <length> | 08 01 11 <event time> [1a <n> <null mask>] | <packed numbers, by type> | <texts> <blobs> <nested>
      frame        |   status, time, nulls (head)               |   fixed part            |   variable part

The numbers of an Embedding are as many as its type says, so they stand in the fixed part too.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore import types
from featurestore.definitions import Field
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.errors import OnlineStoreError
from featurestore.online.columns import delimited, from_delimited, from_numbers, numbers

#: Field 16 of the response, length-delimited.
_FRAME = b"\x82\x01"
_PRESENT = b"\x08\x01"
_EVENT_TAG = b"\x11"
_NULLS_TAG = b"\x1a"
#: The packed lists of FeatureRow in the order of their field numbers, with their tags.
_PACKED = {"doubles": b"\x22", "int64s": b"\x2a", "floats": b"\x32", "int32s": b"\x3a", "bools": b"\x42"}
_DELIMITED = {"strings": b"\x4a", "blobs": b"\x52", "nested": b"\x5a"}
_CHUNK_ROWS = 1024  # keeps the matrix of a chunk in the processor's cache

#: The record of a key that the store has not.
NOT_FOUND = _FRAME + b"\x02\x08\x02"


def outside_max_age(event_timestamp: int) -> bytes:
    """Return the record of a row that is older than its view's TTL.

    Args:
        event_timestamp: when it was true, microseconds since 1970.
    """
    return _FRAME + b"\x0b\x08\x03" + _EVENT_TAG + struct.pack("<q", event_timestamp)


#: Each varint of one byte.
_SMALL = tuple(bytes((value,)) for value in range(0x80))


def varint(value: int) -> bytes:
    """Return a length as protobuf writes it."""
    if value < 0x80:
        return _SMALL[value]
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    if byte < 0x80:
        return byte, at + 1
    value, shift = 0, 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


class RowCodec:
    """The layout of one view's rows, compiled.

    Args:
        fields: the features, in the view's order.
        event_time: whether rows carry one; those of on-demand views do not.
    """

    def __init__(self, fields: Sequence[Field], *, event_time: bool = True) -> None:
        self.fields = tuple(fields)
        self._head = _PRESENT + (_EVENT_TAG + bytes(8) if event_time else b"")
        self._event_time = event_time
        self._mask_bytes = (len(self.fields) + 7) // 8
        self._nulls = _NULLS_TAG + varint(self._mask_bytes) + bytes(self._mask_bytes)
        self._mask_at = len(self._head) + len(_NULLS_TAG + varint(self._mask_bytes))
        #: Offset in the fixed part, by position of the field.
        self.offsets: dict[int, int] = {}
        fixed = b""
        for wire, tag in _PACKED.items():
            members = [index for index, one in enumerate(self.fields) if one.dtype.wire == wire]
            if members:
                widths = [self.fields[index].dtype.width for index in members]
                fixed += tag + varint(sum(widths))
                for index, width in zip(members, widths, strict=True):
                    self.offsets[index] = len(fixed)
                    fixed += bytes(width)
        self._fixed = fixed
        #: Position of each field of variable width, in the order of the bytes.
        self.variable = [
            index for wire in _DELIMITED for index, one in enumerate(self.fields) if one.dtype.wire == wire
        ]

    # Encoding

    def encode(self, batch: pa.RecordBatch | pa.Table, *, prefix: NDArray[np.uint8] | None = None) -> list[bytes]:
        """Return the record of each row.

        Args:
            batch: has the features, in their declared types, and ``event_timestamp`` if rows carry one.
            prefix: bytes to put before each record, of shape (rows, n).
        """
        count = batch.num_rows
        columns = [_one_array(batch[one.name]) for one in self.fields]
        nulls = np.zeros((count, len(columns)), np.bool_)
        for index, column in enumerate(columns):
            if column.null_count:
                nulls[:, index] = column.is_null().to_numpy(zero_copy_only=False)
        events = numbers(_one_array(batch[EVENT_TIMESTAMP]), types.Timestamp) if self._event_time else None
        fixed = {index: numbers(columns[index], self.fields[index].dtype) for index in self.offsets}
        tails = self._tails(columns, count)
        before = np.empty((count, 0), np.uint8) if prefix is None else prefix
        masked = nulls.any(axis=1)
        if not masked.any():
            return self._encode_alike(before, events, None, fixed, tails)
        records: list[bytes] = [b""] * count
        for with_mask in (False, True):
            chosen = np.flatnonzero(masked == with_mask)
            made = self._encode_alike(
                before[chosen],
                None if events is None else events[chosen],
                np.packbits(nulls[chosen], axis=1, bitorder="little") if with_mask else None,
                {index: values[chosen] for index, values in fixed.items()},
                None if tails is None else [tails[row] for row in chosen],
            )
            for row, record in zip(chosen.tolist(), made, strict=True):
                records[row] = record
        return records

    def _encode_alike(
        self,
        prefix: NDArray[np.uint8],
        events: NDArray[np.generic] | None,
        masks: NDArray[np.uint8] | None,
        fixed: dict[int, NDArray[np.generic]],
        tails: list[bytes] | None,
    ) -> list[bytes]:
        """Encode rows of which all, or none, have a null mask: their fixed bytes lie at the same places."""
        head = self._head + (self._nulls if masks is not None else b"")
        # A record of fixed width has its frame in the template; else the frame is put in for each row.
        frame = _FRAME + varint(len(head) + len(self._fixed)) if tails is None else b""
        start, body = prefix.shape[1], prefix.shape[1] + len(frame)
        template = np.frombuffer(bytes(start) + frame + head + self._fixed, np.uint8)
        formats, offsets, values = [], [], []
        for index, offset in self.offsets.items():
            formats.append(self.fields[index].dtype.numpy)
            offsets.append(body + len(head) + offset)
            values.append(fixed[index])
        if events is not None:
            formats.append("<i8")
            offsets.append(body + len(_PRESENT + _EVENT_TAG))
            values.append(events)
        layout = np.dtype(
            {
                "names": [str(place) for place in range(len(formats))],
                "formats": formats,
                "offsets": offsets,
                "itemsize": len(template),
            }
        )
        made: list[bytes] = []
        for first in range(0, len(prefix), _CHUNK_ROWS):
            part = slice(first, first + _CHUNK_ROWS)
            matrix = np.empty((len(prefix[part]), len(template)), np.uint8)
            matrix[:] = template
            matrix[:, :start] = prefix[part]
            if masks is not None:
                matrix[:, body + self._mask_at : body + self._mask_at + self._mask_bytes] = masks[part]
            rows = matrix.view(layout)[:, 0]
            for place, column in enumerate(values):
                rows[str(place)] = column[part]
            made += matrix.view(f"V{len(template)}")[:, 0].tolist()
        if tails is None:
            return made
        fixed_length = len(template) - start
        return [
            row[:start] + _FRAME + varint(fixed_length + len(tail)) + row[start:] + tail
            for row, tail in zip(made, tails, strict=True)
        ]

    def _tails(self, columns: list[pa.Array], count: int) -> list[bytes] | None:
        """Return the variable part of each row; None if the view has no such field."""
        if not self.variable:
            return None
        tails = [b""] * count
        for index in self.variable:
            tag = _DELIMITED[self.fields[index].dtype.wire]
            values = delimited(columns[index], self.fields[index].dtype)
            tails = [tail + tag + varint(len(value)) + value for tail, value in zip(tails, values, strict=True)]
        return tails

    # Decoding

    def decode(self, records: Sequence[bytes | None]) -> dict[str, pa.Array]:
        """Return the features by name, one value for each record; null where the record is None.

        Args:
            records: made by :meth:`encode` of the same layout, without prefix.
        """
        places = [(row, record, _body(record)) for row, record in enumerate(records) if record is not None]
        valid = np.zeros((len(records), len(self.fields)), np.bool_)
        fixed = np.zeros((len(records), max(len(self._fixed), 1)), np.uint8)
        texts: dict[int, list[bytes | None]] = {index: [None] * len(records) for index in self.variable}
        if places:
            rows = [row for row, _, _ in places]
            starts = [self._fixed_at(record, body) for _, record, body in places]
            joined = b"".join(
                record[at : at + len(self._fixed)] for (_, record, _), at in zip(places, starts, strict=True)
            )
            if self._fixed:
                fixed[rows] = np.frombuffer(joined, np.uint8).reshape(len(rows), -1)
            valid[rows] = ~self._null_bits(places, starts)
            for (row, record, _), at in zip(places, starts, strict=True):
                where = at + len(self._fixed)
                for index in self.variable:
                    length, where = _read_varint(record, where + 1)
                    texts[index][row] = record[where : where + length]
                    where += length
        found: dict[str, pa.Array] = {}
        for index, one in enumerate(self.fields):
            if index in texts:
                values = [value if keep else None for value, keep in zip(texts[index], valid[:, index], strict=True)]
                found[one.name] = from_delimited(values, one.dtype)
                continue
            at = self.offsets[index]
            found[one.name] = from_numbers(fixed[:, at : at + one.dtype.width], valid[:, index], one.dtype)
        return found

    def _null_bits(self, places: list[tuple[int, bytes, int]], starts: list[int]) -> NDArray[np.bool_]:
        plain = bytes(self._mask_bytes)
        masks = b"".join(
            plain if at == body + len(self._head) else record[at - self._mask_bytes : at]
            for (_, record, body), at in zip(places, starts, strict=True)
        )
        bits = np.unpackbits(np.frombuffer(masks, np.uint8).reshape(len(places), -1), axis=1, bitorder="little")
        return bits[:, : len(self.fields)].astype(np.bool_)

    def _fixed_at(self, record: bytes, body: int) -> int:
        """Return where the fixed part of a record starts: after the null mask, if there is one."""
        at = body + len(self._head)
        return at + len(self._nulls) if record[at : at + 1] == _NULLS_TAG else at

    # Choosing features

    def projection(self, names: Sequence[str]) -> Projection:
        """Return what turns a record into one with some of the features, in the order of ``names``."""
        position = {one.name: index for index, one in enumerate(self.fields)}
        return Projection(self, [position[name] for name in names])


class Projection:
    """Cuts records of a view down to some of its features, without decoding them."""

    def __init__(self, codec: RowCodec, chosen: Sequence[int]) -> None:
        self._codec = codec
        self._chosen = tuple(chosen)
        self.fields = tuple(codec.fields[index] for index in chosen)
        #: Constant bytes, or where to cut them from the fixed part.
        self._pieces: list[bytes | tuple[int, int]] = []
        for wire, tag in _PACKED.items():
            members = [index for index in chosen if codec.fields[index].dtype.wire == wire]
            if members:
                self._pieces.append(tag + varint(sum(codec.fields[index].dtype.width for index in members)))
                self._pieces += [(codec.offsets[i], codec.offsets[i] + codec.fields[i].dtype.width) for i in members]
        self._variable = [i for wire in _DELIMITED for i in chosen if codec.fields[i].dtype.wire == wire]

    def __call__(self, record: bytes) -> bytes:
        """Return the record with the chosen features only."""
        codec = self._codec
        body = _body(record)
        head_end = body + len(codec._head)
        at = codec._fixed_at(record, body)
        parts = [record[body:head_end]]
        if at != head_end:
            bits = int.from_bytes(record[at - codec._mask_bytes : at], "little")
            mask = sum((bits >> index & 1) << place for place, index in enumerate(self._chosen))
            if mask:
                width = (len(self._chosen) + 7) // 8
                parts.append(_NULLS_TAG + varint(width) + mask.to_bytes(width, "little"))
        parts += [
            piece if isinstance(piece, bytes) else record[at + piece[0] : at + piece[1]] for piece in self._pieces
        ]
        if self._variable:
            where = at + len(codec._fixed)
            found: dict[int, bytes] = {}
            for index in codec.variable:
                length, start = _read_varint(record, where + 1)
                found[index] = record[where : start + length]
                where = start + length
            parts += [found[index] for index in self._variable]
        content = b"".join(parts)
        return _FRAME + varint(len(content)) + content


def _body(record: bytes) -> int:
    """Return where the FeatureRow starts: after the frame.

    Raises:
        OnlineStoreError: the bytes are not a record.
    """
    if record[:2] != _FRAME:
        raise OnlineStoreError("A stored row is not a record of this format.", hint="Materialize the view again.")
    return _read_varint(record, 2)[1]


def _one_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
