"""The rows of a baseline, which are read several times: more of them than memory holds, and a few columns at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.definitions import Field
from featurestore.errors import DataError, SchemaError, TimestampError

#: Opens a stream of rows anew, with the columns named (or more).
Opener = Callable[[Sequence[str]], Iterable[pa.RecordBatch]]

#: Columns that are held while their quantiles are found.
_HELD_BYTES = 256 << 20
_TEXT_BYTES, _LIST_BYTES = 64, 4096


@dataclass(frozen=True)
class RereadRows:
    """Rows that may be read several times, filtered."""

    rows: pa.Table | Opener
    time_column: str
    weight: str | None
    filter: pa.Array | pa.ChunkedArray | pc.Expression | None

    def parts(self, names: Sequence[str]) -> Iterable[pa.Table]:
        """Yield tables that have the columns, the times and the weights; rows that do not count are gone."""
        wanted = list(dict.fromkeys([*names, self.time_column, *([self.weight] if self.weight else [])]))
        found: Iterable[pa.Table]
        if isinstance(self.rows, pa.Table):
            found = [self.rows]
        elif isinstance(self.filter, pc.Expression):
            # Which columns it is over cannot be asked of an expression: all.
            found = (pa.Table.from_batches([one]) for one in self.rows([]))
        elif self.filter is not None:
            raise DataError("A mask cannot filter a stream.", hint="Filter it by an expression over its columns.")
        else:
            found = (pa.Table.from_batches([one]) for one in self.rows(wanted))
        for part in found:
            for name in wanted:
                if name not in part.schema.names:
                    raise SchemaError(f'The baseline has no column "{name}".', hint=self._hint(name))
            kept = (part if self.filter is None else part.filter(self.filter)).select(wanted)
            if self.weight:
                kept = kept.filter(pa.array(self.weights(kept) != 0))
            yield kept

    def whole(self, names: Sequence[str]) -> pa.Table:
        """Return the columns in full."""
        return pa.concat_tables(part.select(names) for part in self.parts(names))

    def times(self, part: pa.Table) -> NDArray[np.int64]:
        """Return microseconds since 1970."""
        name, column = self.time_column, part.column(self.time_column)
        if not pa.types.is_timestamp(column.type) or column.type.tz is None:
            raise TimestampError(
                f'Column "{name}" of the baseline is {column.type}.', hint="It holds timestamps with a zone."
            )
        if column.null_count:
            raise TimestampError(
                f'Column "{name}" of the baseline is null in {column.null_count} rows.', hint="Every row has a time."
            )
        times: NDArray[np.int64] = column.cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.int64()).to_numpy()
        return times

    def weights(self, part: pa.Table) -> NDArray[np.float64] | None:
        """Return the weight of each row; None where none was named."""
        if self.weight is None:
            return None
        column = part.column(self.weight)
        numeric = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        found = column.cast(pa.float64(), safe=False).to_numpy() if numeric and not column.null_count else None
        if found is None or not np.all(np.isfinite(found) & (found >= 0)):
            raise DataError(
                f'Column "{self.weight}" holds weights that are negative, null, infinite or no numbers.',
                hint="A weight is the number of rows that a row stands for.",
            )
        weights: NDArray[np.float64] = found
        return weights

    def _hint(self, name: str) -> str:
        if name == self.time_column:
            return "It holds the time of each row."
        if name == self.weight:
            return "It holds the weight of each row."
        return "It needs one for each feature of the service."


def held_at_once(fields: Sequence[Field], rows: int) -> Iterator[list[Field]]:
    """Yield fields, in order, as many together as memory is to hold the columns of."""
    together: list[Field] = []
    held = 0
    for one in fields:
        takes = rows * _width(one.dtype.to_arrow())
        if together and held + takes > _HELD_BYTES:
            yield together
            together, held = [], 0
        together.append(one)
        held += takes
    if together:
        yield together


def _width(kind: pa.DataType) -> int:
    """Return the bytes of a value, about; of texts, lists and structures so many as they seldom have."""
    if pa.types.is_primitive(kind) or pa.types.is_decimal(kind):
        return max(1, int(kind.bit_width) // 8)
    return _TEXT_BYTES if pa.types.is_string(kind) else _LIST_BYTES
