"""``python racing_tables.py FOLDER WRITERS LOADS OFFLINE``: several processes load into one table, and one compacts it.

Every load that was reported must be there once, whole, and in the ledger. It ends with an error if something is wrong;
else it prints what it did, as JSON.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

from killed_tables import ROWS, VIEW, begin, child, done, rows

from featurestore import FeatureStore
from featurestore.definitions.names import LOAD_ID
from featurestore.errors import TableConflictError
from featurestore.storage.parquet import read_table


def write(root: Path, writer: int, loads: int) -> None:
    """Load; the first writer's loads are tried by all of them."""
    with FeatureStore(root) as store:
        for number in range(loads):
            store.ingest("readings", rows(number), load_id=f"everybody-{number}")
            store.ingest("readings", rows(number), load_id=f"load-{writer}-{number}")


def compact(root: Path, times: int) -> None:
    """Merge files while others load."""
    with FeatureStore(root) as store:
        for _ in range(times):
            try:
                store.compact("readings")
            except TableConflictError:  # says so, and has changed nothing
                continue


def main(root: Path, writers: int, loads: int, offline: str) -> None:
    """Race, and count."""
    done(child(lambda: begin(root, offline)))
    racing = [child(lambda one=one: write(root, one, loads)) for one in range(writers)]  # type: ignore[misc]
    racing.append(child(lambda: compact(root, loads)))
    for one in racing:
        done(one)
    done(child(lambda: look(root, writers, loads)))


def look(root: Path, writers: int, loads: int) -> None:
    """Check that every load is there once."""
    wanted = {"load-0", *(f"everybody-{number}" for number in range(loads))}
    wanted |= {f"load-{writer}-{number}" for writer in range(writers) for number in range(loads)}
    with FeatureStore(root) as store:
        table = store.offline.table(VIEW)
        counted: Counter[str] = Counter()
        for file in table.snapshot().files:
            counted.update(read_table(file.place, columns=[LOAD_ID]).column(0).to_pylist())
        assert counted == dict.fromkeys(wanted, ROWS), counted
        assert {one.load_id for one in store.loads("readings")} == wanted
        changed = sum(one.change is not None for one in table.commits())
    sys.stdout.write(json.dumps({"writers": writers, "loads": len(wanted), "compactions": changed}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), "".join(sys.argv[4:]))
