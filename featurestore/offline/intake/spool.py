"""A stream of rows, which can be read once, kept on disk so that several versions of a view can each read it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pyarrow as pa

from featurestore.errors import OfflineStoreError


class Spool:
    """Rows on disk, which are read again from their first one by each :meth:`reader`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def reader(self) -> pa.RecordBatchReader:
        """Return the rows as a stream; the ones that were returned before must not be read on."""
        self._file.seek(0)
        return pa.ipc.open_stream(pa.PythonFile(self._file, mode="r"))


@contextmanager
def spooled(rows: pa.RecordBatchReader, folder: Path, what: str) -> Iterator[Spool]:
    """Write a stream to a file, batch by batch, and yield what reads it.

    The file has no name, so that nothing is left of it when the process dies, and nobody takes it for a leftover.

    Args:
        rows: the stream.
        folder: for what does not fit into memory.
        what: what the rows are for, to begin messages.

    Raises:
        OfflineStoreError: the disk refuses. What the stream itself raises comes through as it is.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed below
    except OSError as error:
        raise _refused(what, folder, error) from error
    with file:
        with pa.ipc.new_stream(pa.PythonFile(file, mode="w"), rows.schema) as writer:
            for batch in rows:
                try:
                    writer.write_batch(batch)
                except OSError as error:
                    raise _refused(what, folder, error) from error
        yield Spool(file)


def _refused(what: str, folder: Path, error: OSError) -> OfflineStoreError:
    return OfflineStoreError(
        f"{what} cannot be kept in {folder} while several versions of the view read them: {error}.",
        hint="Check the disk's space and rights; nothing was published.",
    )
