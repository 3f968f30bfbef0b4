"""What executors do with joined rows: status, defaults and on-demand views, by the code that does it everywhere.

Rows come home as Arrow streams in a column of bytes: so they have the declared types, whatever Spark has of them, and
both kinds of session hand them over alike. An error that a user is to read comes home as a row too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore import errors, types
from featurestore.definitions import FeatureService, Field
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.errors import ConfigError, FeatureStoreError
from featurestore.libraries import libraries
from featurestore.offline.join.computing import PRESENT, computed, filled, statuses
from featurestore.offline.spark.types import received
from featurestore.transforms import Transform

#: The columns of what comes home.
HOME = "rows BINARY, fault STRING"
POSITION, INSTANT = "position", "instant"
_COMPUTING = ("featurestore", "polars")


def computing() -> dict[str, str]:
    """Return the versions here of the packages that a value may depend on."""
    return {name: version for name, version in libraries().items() if name in _COMPUTING}


@dataclass(frozen=True, kw_only=True)
class Finishing:
    """Turns joined rows into what is asked for; it goes to the executors.

    Attributes:
        service: what is joined.
        typed: keys and request fields, by their column in the frame.
        wanted: by use, the features that are read.
        prefixes: by use, what its columns in the frame begin with; a use that is not in it has no row at all.
        libraries: of whoever asks; see :func:`computing`.
    """

    service: FeatureService
    typed: Mapping[str, tuple[str, types.DType]]
    wanted: Mapping[str, Sequence[Field]]
    prefixes: Mapping[str, str]
    libraries: Mapping[str, str]

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield each batch as it goes home."""
        try:
            check_libraries(self.libraries)
            transforms = {view.name: Transform(view) for view in self.service.on_demand_views}
            for batch in batches:
                yield packed(self._finished(batch, transforms))
        except FeatureStoreError as error:
            yield fault(error)

    def _finished(self, batch: pa.RecordBatch, transforms: Mapping[str, Transform]) -> pa.RecordBatch:
        instants = batch.column(INSTANT).to_numpy()
        columns = {column: received(batch.column(name), dtype) for column, (name, dtype) in self.typed.items()}
        typed = pa.table({EVENT_TIMESTAMP: batch.column(INSTANT), **columns})
        told: dict[str, pa.Array] = {POSITION: batch.column(POSITION)}
        joined: dict[str, pa.Table] = {}
        for number, use in enumerate(self.service.uses):
            prefix = self.prefixes.get(use.name)
            events = pa.nulls(len(batch), pa.int64()) if prefix is None else batch.column(f"{prefix}event")
            there = events.is_valid().to_numpy(zero_copy_only=False)
            status = statuses(use.view, there, events.fill_null(0).to_numpy(), instants)
            told[f"status{number}"], told[f"event{number}"] = pa.array(status), events
            values = self._values(batch, self.wanted[use.name], prefix, status == PRESENT)
            joined[use.name] = filled(values, self.wanted[use.name])
        made = {name: computed(transform, joined, typed) for name, transform in transforms.items()}
        for owner, fields in self.service.outputs.items():
            source = made[owner] if owner in made else joined[owner]
            for one in fields:
                told[f"out{len(told)}"] = _one_chunk(source.column(one.feature))
        return pa.RecordBatch.from_pydict(told)

    def _values(
        self, batch: pa.RecordBatch, fields: Sequence[Field], prefix: str | None, present: NDArray[np.bool_]
    ) -> pa.Table:
        which = pa.array(np.arange(len(present)), mask=~present)
        columns = {}
        for place, one in enumerate(fields):
            if prefix is None:
                columns[one.name] = pa.nulls(len(present), one.dtype.to_arrow())
            else:
                columns[one.name] = received(batch.column(f"{prefix}f{place}").take(which), one.dtype)
        return pa.table(columns)


def check_libraries(theirs: Mapping[str, str]) -> None:
    """Check that an executor computes with the packages that whoever asks has.

    Raises:
        ConfigError: it does not.
    """
    for name, version in computing().items():
        if theirs.get(name) != version:
            raise ConfigError(
                f"Spark's executors have {name} {version}, and this process has {theirs.get(name)}: values may differ.",
                hint="Install the same release on both sides.",
            )


def packed(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch as it goes home: one row of bytes."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_batch(batch)
    return _home([sink.getvalue().to_pybytes()], [None])


def fault(error: FeatureStoreError) -> pa.RecordBatch:
    """Return an error as it goes home."""
    said = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
    return _home([None], [json.dumps(said)])


def _home(rows: list[bytes | None], faults: list[str | None]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"rows": pa.array(rows, pa.binary()), "fault": pa.array(faults, pa.string())})


def unpacked(rows: bytes | bytearray | None, told: str | None) -> pa.Table:
    """Return what :func:`packed` packed.

    Raises:
        FeatureStoreError: an executor met it.
    """
    if told is not None:
        said = json.loads(told)
        kind = getattr(errors, said["kind"])
        raise kind(said["message"], hint=said["hint"])
    return pa.ipc.open_stream(pa.py_buffer(bytes(rows or b""))).read_all()


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()
