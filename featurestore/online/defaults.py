"""Defaults in the rows of a response: in place of nulls, and of rows that are not there or too old.

A row that has no null is sent as it is stored; only one that lacks a value with a default is taken apart.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pyarrow as pa

from featurestore.definitions import Field
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.online.rowcodec import RowCodec
from featurestore.v1 import serving_pb2 as pb

#: Bytes of a record before its null mask: status and event time.
_HEAD_BYTES = 11
_NULLS_TAG = 0x1A


class Defaults:
    """The defaults of some features, compiled into records.

    Args:
        fields: what a record holds, in order; one of them at least has a default.

    Attributes:
        not_found: the record of a key that the store has not.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        nothing = {one.name: one.filled(pa.nulls(1, one.dtype.to_arrow())) for one in fields}
        event = pa.array([1], pa.timestamp("us", tz="UTC"))
        (record,) = RowCodec(fields).encode(pa.table(nothing | {EVENT_TIMESTAMP: event}))
        self._row = pb.GetOnlineFeaturesResponse.FromString(record).rows[0]
        #: By position of each field that has a default: the list that it stands in, its first place there, and its end.
        self._places: dict[int, tuple[str, int, int]] = {}
        taken: dict[str, int] = {}
        for index, one in enumerate(fields):
            wire = one.dtype.wire
            first = taken.get(wire, 0)
            taken[wire] = first + (one.dtype.size or 1)
            if one.default is not None:
                self._places[index] = (wire, first, taken[wire])
        self._with_default = sum(1 << index for index in self._places)
        absent = pb.FeatureRow()
        absent.CopyFrom(self._row)
        absent.status = pb.ROW_STATUS_OUTSIDE_MAX_AGE
        old = _record(absent)
        at = len(old) - absent.ByteSize() + _HEAD_BYTES
        self._before_event, self._after_event = old[: at - 8], old[at:]
        absent.status = pb.ROW_STATUS_NOT_FOUND
        absent.ClearField("event_timestamp")
        self.not_found = _record(absent)

    def outside_max_age(self, event_timestamp: int) -> bytes:
        """Return the record of a row that is older than its view's TTL.

        Args:
            event_timestamp: when it was true, microseconds since 1970.
        """
        return self._before_event + struct.pack("<q", event_timestamp) + self._after_event

    def __call__(self, record: bytes) -> bytes:
        """Return the record of a row that is present, with defaults in place of its nulls."""
        at = 3
        while record[at - 1] >= 0x80:  # the length, of which every byte but the last has the highest bit
            at += 1
        at += _HEAD_BYTES
        if record[at : at + 1] != bytes((_NULLS_TAG,)):
            return record
        row = pb.GetOnlineFeaturesResponse.FromString(record).rows[0]
        nulls = int.from_bytes(row.nulls, "little")
        missing = nulls & self._with_default
        if not missing:
            return record
        for index, (wire, first, end) in self._places.items():
            if not missing >> index & 1:
                continue
            ours, theirs = getattr(self._row, wire), getattr(row, wire)
            if wire == "nested":
                theirs[first].CopyFrom(ours[first])
            else:
                theirs[first:end] = ours[first:end]
        rest = nulls & ~missing
        row.nulls = rest.to_bytes(len(row.nulls), "little") if rest else b""
        return _record(row)


def _record(row: pb.FeatureRow) -> bytes:
    return pb.GetOnlineFeaturesResponse(rows=[row]).SerializeToString(deterministic=True)


def defaults_of(fields: Sequence[Field]) -> Defaults | None:
    """Return the defaults of what a record holds; None if nothing has one."""
    return Defaults(fields) if any(one.default is not None for one in fields) else None
