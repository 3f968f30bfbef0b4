"""What a lookup answers: values, statuses and event times, in the forms that users want."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from featurestore import types
from featurestore.client import packed
from featurestore.client.framing import places as places_of
from featurestore.client.packed import ViewRows
from featurestore.client.schema import ServiceSchema, ViewSchema
from featurestore.errors import InvalidRequestError, ServingError
from featurestore.types.wire import read_members
from featurestore.v1 import serving_pb2 as pb

if TYPE_CHECKING:
    import pyarrow as pa

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_ZERO = date(1970, 1, 1)
#: The field of GetOnlineFeaturesResponse that holds the rows, all others before it.
_ROWS = 16
_STATUSES = np.array([name.removeprefix("ROW_STATUS_") for name in pb.RowStatus.keys()], object)  # noqa: SIM118
_NULL_VALUE = "NULL_VALUE"


class OnlineFeatures:
    """The answer to one lookup: a value for each entity row and feature.

    Attributes:
        service: what answered: ``flight_delay@1``.
        request_id: names the request in the serving log.
        served_at: the instant against which ages were judged.
        replay: whether that is the clock of a rehearsal.
        stale: whether the online store was away, and the answer is from a local copy of it, which may be behind.
        complete_to: up to when that copy has all that was written; None of an answer that is not stale.
        names: the features, in order.
    """

    def __init__(self, head: Head, schema: ServiceSchema) -> None:
        self._data = head.data
        self._rows_at = head.rows_at
        self._schema = schema
        self._count = head.message.row_count
        self.service = head.service
        self.request_id = head.message.request_id
        self.served_at = _EPOCH + timedelta(microseconds=head.message.served_at)
        self.replay = head.message.replay
        self.stale = head.message.stale
        self.complete_to = _EPOCH + timedelta(microseconds=head.message.complete_to) if self.stale else None
        self.names = tuple(schema.features)

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        said = ", REPLAY" if self.replay else ""
        if self.complete_to is not None:
            said += f", STALE: complete to {self.complete_to.isoformat()}"
        rows = f"{len(self)} row{'s' * (len(self) != 1)} x {len(self.names)} features"
        return f"<OnlineFeatures {self.service}: {rows} at {self.served_at.isoformat()}{said}>"

    @property
    def statuses(self) -> dict[str, list[str]]:
        """By view, for each entity row: ``PRESENT``, ``NOT_FOUND`` or ``OUTSIDE_MAX_AGE``."""
        return {
            view.name: _STATUSES[rows.statuses].tolist()
            for view, rows in zip(self._schema.views, self._rows, strict=True)
        }

    @property
    def feature_statuses(self) -> dict[str, list[str]]:
        """By feature, for each entity row: the status of its view's row, or ``NULL_VALUE``.

        ``NULL_VALUE`` is a row that is there and has no value for this feature. Where a feature has a default, a value
        may stand beside ``NOT_FOUND`` or ``OUTSIDE_MAX_AGE``: it is the default.
        """
        found: dict[str, list[str]] = {}
        for view, rows in zip(self._schema.views, self._rows, strict=True):
            names = _STATUSES[rows.statuses]
            null = ~rows.valid & (rows.statuses == pb.ROW_STATUS_PRESENT)[:, np.newaxis]
            found |= {
                name: np.where(null[:, place], _NULL_VALUE, names).tolist() for place, name in enumerate(view.features)
            }
        return found

    @property
    def event_timestamps(self) -> dict[str, list[datetime | None]]:
        """By stored view, for each entity row: when its values were true; None where there is no row."""
        return {
            view.name: [
                None if status == pb.ROW_STATUS_NOT_FOUND else _EPOCH + timedelta(microseconds=event)
                for status, event in zip(rows.statuses.tolist(), rows.events.tolist(), strict=True)
            ]
            for view, rows in zip(self._schema.views, self._rows, strict=True)
            if not view.on_demand
        }

    def to_dict(self) -> dict[str, list[Any]]:
        """Return the values by feature; None where a value is null or its row is not present.

        A Decimal is a :class:`decimal.Decimal`, an Array and an Embedding a list, a Struct a dict.
        """
        found: dict[str, list[Any]] = {}
        for index, (view, rows) in enumerate(zip(self._schema.views, self._rows, strict=True)):
            for place, numbers in _numbers(view, rows):
                values = (numbers.T if view.layout.dtypes[place].size else numbers[0]).tolist()
                read, valid = _READ.get(view.layout.dtypes[place].name), rows.valid[:, place]
                if read is not None:
                    values = [read(value) for value in values]
                if not valid.all():
                    values = [value if known else None for value, known in zip(values, valid.tolist(), strict=True)]
                found[view.features[place]] = values
            found |= self._variable(index)
        return {name: found[name] for name in self.names}

    def to_numpy(self) -> NDArray[np.float64]:
        """Return an array of shape (rows, numbers) of float64, NaN where a value is null or its row not present.

        A feature is one number of a row, an Embedding as many as it has, in the order of the features. A Decimal is
        rounded to the nearest float.

        Raises:
            InvalidRequestError: a feature is neither a number, a truth value nor an Embedding.
        """
        for name, dtype in self._schema.features.items():
            if not (dtype.numeric or dtype.size or dtype == types.Bool):
                raise InvalidRequestError(
                    f'Feature "{name}" is {dtype}, which has no place in an array of numbers.',
                    hint="Use to_dict() or to_arrow(), or a service without it.",
                )
        widths = [[dtype.size or 1 for dtype in view.layout.dtypes] for view in self._schema.views]
        made = np.empty((len(self), sum(map(sum, widths))))
        first = 0
        for index, (view, rows) in enumerate(zip(self._schema.views, self._rows, strict=True)):
            ends = np.cumsum(widths[index])
            part = made[:, first : first + int(ends[-1])]
            first += int(ends[-1])
            for block in view.layout.blocks:
                numbers = rows.numbers(block)
                if numbers.shape == part.shape:  # all of the view is of one type
                    part[:] = numbers
                    continue
                starts = ends[list(block.members)] - block.widths
                part[:, np.concatenate([np.arange(a, a + b) for a, b in zip(starts, block.widths, strict=True)])] = (
                    numbers
                )
            for name, values in self._variable(index).items():
                part[:, ends[view.features.index(name)] - 1] = [value or 0 for value in values]
            if not rows.valid.all():
                part[np.repeat(~rows.valid, widths[index], axis=1)] = np.nan
        return made

    def to_arrow(self) -> pa.Table:
        """Return an Arrow table in the declared types; pyarrow must be installed.

        Raises:
            ServingError: pyarrow is not installed.
        """
        try:
            import pyarrow
        except ImportError:
            raise ServingError("to_arrow() needs pyarrow.", hint="pip install pyarrow") from None
        found: dict[str, pa.Array] = {}
        for index, (view, rows) in enumerate(zip(self._schema.views, self._rows, strict=True)):
            for place, numbers in _numbers(view, rows):
                valid, dtype = rows.valid[:, place], view.layout.dtypes[place]
                null = None if valid.all() else ~valid
                if dtype.size:
                    values, mask = pyarrow.array(numbers.T.ravel()), None if null is None else pyarrow.array(null)
                    made = pyarrow.FixedSizeListArray.from_arrays(values, dtype.size, mask=mask)
                else:
                    made = pyarrow.array(numbers[0], dtype.to_arrow(), mask=null)
                found[view.features[place]] = made
            for name, texts in self._variable(index).items():
                found[name] = pyarrow.array(texts, self._schema.features[name].to_arrow())
        return pyarrow.table({name: found[name] for name in self.names})

    @cached_property
    def _rows(self) -> list[ViewRows]:
        layouts = [view.layout for view in self._schema.views]
        try:
            return packed.read(self._data, self._rows_at, self._count, layouts)
        except packed.UnlikeOursError:
            return [packed.from_messages(self._messages(index), layout) for index, layout in enumerate(layouts)]

    def _variable(self, index: int) -> dict[str, list[Any]]:
        """Return the values of those features of a view that have no fixed width; for them the message is parsed."""
        view = self._schema.views[index]
        dtypes, places = view.layout.dtypes, view.layout.variable
        if not places:
            return {}
        nothing = [None] * len(dtypes)
        # A row that is not present has no values, unless features have defaults: then each list has what it needs.
        rows = [
            read_members(row, dtypes, _read) if packed.has_values(row, dtypes) else nothing
            for row in self._messages(index)
        ]
        return {view.features[place]: [values[place] for values in rows] for place in places}

    def _messages(self, view: int) -> Sequence[pb.FeatureRow]:
        rows: Sequence[pb.FeatureRow] = self._message.rows[view * self._count : (view + 1) * self._count]
        return rows

    @cached_property
    def _message(self) -> pb.GetOnlineFeaturesResponse:
        message = _parsed(self._data)
        if len(message.rows) != len(self._schema.views) * self._count:
            raise ServingError(
                f"The server's answer has {len(message.rows)} rows, and its schema {len(self._schema.views)} views for "
                f"{self._count} entity rows.",
                hint="Update this package, or the server: they are of different versions.",
            )
        return message


class Head:
    """What stands before the rows of a response; the rows are not looked at.

    Attributes:
        data: the response.
        message: its fields before the rows.
        rows_at: where the rows begin.

    Raises:
        ServingError: the bytes are no response.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        try:
            self.rows_at = next((one.start for one in places_of(data) if one.number == _ROWS), len(data))
        except ValueError:
            self.rows_at = len(data)
        self.message = _parsed(data[: self.rows_at])
        if not (self.message.service and self.message.row_count) and self.rows_at < len(data):
            # Written in another order than that of the fields, which is allowed.
            self.message = _parsed(data)
        if not self.message.service:
            raise ServingError("The server's answer names no service.", hint="Is it a feature server?")

    @property
    def service(self) -> str:
        """The version that answered."""
        service: str = self.message.service
        return service


def _parsed(data: bytes) -> pb.GetOnlineFeaturesResponse:
    try:
        return pb.GetOnlineFeaturesResponse.FromString(data)
    except DecodeError:
        raise ServingError(
            "The server's answer is not a GetOnlineFeaturesResponse.", hint="Is it a feature server?"
        ) from None


def _numbers(view: ViewSchema, rows: ViewRows) -> Iterator[tuple[int, NDArray[np.generic]]]:
    """Yield each feature of fixed width: its position, and its numbers, of shape (numbers of one value, rows)."""
    for block in view.layout.blocks:
        # What is of one feature lies side by side then, which is what lists and Arrow are made of.
        numbers = np.ascontiguousarray(rows.numbers(block).T)
        at = 0
        for place, width in zip(block.members, block.widths, strict=True):
            yield place, numbers[at : at + width]
            at += width


#: By type: how a value of FeatureRow is read.
_READ: dict[str, Callable[[Any], Any]] = {
    "Date": lambda days: _DAY_ZERO + timedelta(days=days),
    "Timestamp": lambda microseconds: _EPOCH + timedelta(microseconds=microseconds),
}


def _read(value: Any, dtype: types.DType) -> Any:
    read = Decimal if dtype.precision else _READ.get(dtype.name)
    return value if read is None else read(value)
