"""Ties: rows that share key and event time. Where a file surely has none, its name says so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.errors import OfflineStoreError
from featurestore.offline import engine

#: Hashes that are sorted at once, 8 bytes each.
HASHES = 1 << 24


def unique_keys(path: Path, keys: Sequence[str], *, hashes: int = HASHES) -> bool:
    """Return whether surely no two rows of a Parquet file share keys and event time.

    Rows are compared by a 64-bit hash, so "yes" is certain, and "no" is wrong about once in 2^64 / rows^2 files, which
    costs a file its mark and nothing else. Memory is that of ``hashes`` numbers, whatever the size of the file: of
    larger ones the hashes are taken share by share, each by one more look at these columns.

    Args:
        path: the file.
        keys: the columns that, with the event time, should be unique; none of them holds a null.
        hashes: how many are sorted at once.

    Raises:
        OfflineStoreError: the file cannot be read.
    """
    columns = ", ".join(engine.identifier(name) for name in (*keys, EVENT_TIMESTAMP))
    scan = f"FROM (SELECT hash({columns}) AS h FROM {engine.parquet_scan([str(path)])})"
    try:
        with duckdb.connect(":memory:", config={"autoinstall_known_extensions": False}) as connection:
            (rows,) = connection.sql(f"SELECT count(*) {scan}").fetchall()[0]
            shares = -(-rows // hashes)
            return all(
                _unique(connection.sql(f"SELECT h {scan} {_share(share, shares)}").fetchnumpy()["h"])
                for share in range(shares)
            )
    except (duckdb.Error, OSError) as error:
        raise OfflineStoreError(f"{path} cannot be read: {engine.explain(error)}") from error


def _share(share: int, shares: int) -> str:
    return f"WHERE h % {shares} = {share}" if shares > 1 else ""


def _unique(values: NDArray[np.uint64]) -> bool:
    ordered = np.sort(np.asarray(values))
    return not bool((ordered[1:] == ordered[:-1]).any())
