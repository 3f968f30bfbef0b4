"""What a lookup answers: values, statuses and event times, in the forms that users want."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featurestore import types
from featurestore.errors import InvalidRequestError, ServingError
from featurestore.types.wire import read_members
from featurestore.v1 import serving_pb2 as pb

if TYPE_CHECKING:
    import pyarrow as pa

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_ZERO = date(1970, 1, 1)


class OnlineFeatures:
    """The answer to one lookup: a value for each entity row and feature.

    Attributes:
        service: what answered: ``flight_delay@1``.
        request_id: names the request in the serving log.
        served_at: the instant against which ages were judged.
        replay: whether that is the clock of a rehearsal.
        names: the features, in order.
    """

    def __init__(self, response: pb.GetOnlineFeaturesResponse, schema: pb.GetServiceSchemaResponse) -> None:
        self._response = response
        self._schema = schema
        self.service = response.service
        self.request_id = response.request_id
        self.served_at = _EPOCH + timedelta(microseconds=response.served_at)
        self.replay = response.replay
        self.names = tuple(field.name for view in schema.views for field in view.features)

    def __len__(self) -> int:
        return self._response.row_count

    def __repr__(self) -> str:
        replay = ", REPLAY" if self.replay else ""
        rows = f"{len(self)} row{'s' * (len(self) != 1)} x {len(self.names)} features"
        return f"<OnlineFeatures {self.service}: {rows} at {self.served_at.isoformat()}{replay}>"

    def _rows(self, view: int) -> Sequence[pb.FeatureRow]:
        count = self._response.row_count
        rows: Sequence[pb.FeatureRow] = self._response.rows[view * count : (view + 1) * count]
        return rows

    @property
    def statuses(self) -> dict[str, list[str]]:
        """By view, for each entity row: ``PRESENT``, ``NOT_FOUND`` or ``OUTSIDE_MAX_AGE``."""
        return {
            view.name: [pb.RowStatus.Name(row.status).removeprefix("ROW_STATUS_") for row in self._rows(index)]
            for index, view in enumerate(self._schema.views)
        }

    @property
    def event_timestamps(self) -> dict[str, list[datetime | None]]:
        """By stored view, for each entity row: when its values were true; None where there is no row."""
        return {
            view.name: [
                None if row.status == pb.ROW_STATUS_NOT_FOUND else _EPOCH + timedelta(microseconds=row.event_timestamp)
                for row in self._rows(index)
            ]
            for index, view in enumerate(self._schema.views)
            if not view.on_demand
        }

    def to_dict(self) -> dict[str, list[Any]]:
        """Return the values by feature; None where a value is null or its row is not present.

        A Decimal is a :class:`decimal.Decimal`, an Array and an Embedding a list, a Struct a dict.
        """
        found: dict[str, list[Any]] = {}
        for index, view in enumerate(self._schema.views):
            dtypes = [types.by_name(field.dtype) for field in view.features]
            columns: list[list[Any]] = [[] for _ in dtypes]
            for row in self._rows(index):
                for column, value in zip(columns, _values(row, dtypes), strict=True):
                    column.append(value)
            found |= {field.name: column for field, column in zip(view.features, columns, strict=True)}
        return found

    def to_numpy(self) -> NDArray[np.float64]:
        """Return an array of shape (rows, numbers) of float64, NaN where a value is null or its row not present.

        A feature is one number of a row, an Embedding as many as it has, in the order of the features. A Decimal is
        rounded to the nearest float.

        Raises:
            InvalidRequestError: a feature is neither a number, a truth value nor an Embedding.
        """
        columns: list[Any] = []
        values = self.to_dict()
        for view in self._schema.views:
            for field in view.features:
                dtype = types.by_name(field.dtype)
                if not (dtype.numeric or dtype.size or dtype == types.Bool):
                    raise InvalidRequestError(
                        f'Feature "{field.name}" is {dtype}, which has no place in an array of numbers.',
                        hint="Use to_dict() or to_arrow(), or a service without it.",
                    )
                null = [np.nan] * dtype.size if dtype.size else np.nan
                rows = [null if value is None else value for value in values[field.name]]
                columns.append(np.array(rows, np.float64).reshape(len(self), dtype.size or 1))
        return np.hstack(columns) if columns else np.empty((len(self), 0))

    def to_arrow(self) -> pa.Table:
        """Return an Arrow table in the declared types; pyarrow must be installed.

        Raises:
            ServingError: pyarrow is not installed.
        """
        try:
            import pyarrow
        except ImportError:
            raise ServingError("to_arrow() needs pyarrow.", hint="pip install pyarrow") from None
        dtypes = {field.name: types.by_name(field.dtype) for view in self._schema.views for field in view.features}
        return pyarrow.table(
            {name: pyarrow.array(values, dtypes[name].to_arrow()) for name, values in self.to_dict().items()}
        )


#: By type: how a value of FeatureRow is read.
_READ: dict[str, Callable[[Any], Any]] = {
    "Date": lambda days: _DAY_ZERO + timedelta(days=days),
    "Timestamp": lambda microseconds: _EPOCH + timedelta(microseconds=microseconds),
}


def _read(value: Any, dtype: types.DType) -> Any:
    read = Decimal if dtype.precision else _READ.get(dtype.name)
    return value if read is None else read(value)


def _values(row: pb.FeatureRow, dtypes: Sequence[types.DType]) -> list[Any]:
    """Return the values of one row of a view in the schema's order; None where null or absent."""
    # A row that is not present has no values, unless features have defaults: then each list has what it needs.
    if row.status != pb.ROW_STATUS_PRESENT and dtypes and not getattr(row, dtypes[0].wire):
        return [None] * len(dtypes)
    return read_members(row, dtypes, _read)
