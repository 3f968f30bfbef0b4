"""The state record of an LMDB store: its clock, its tables, and which of its files is the store."""

from __future__ import annotations

import json
import struct
from typing import Any

from featurestore import formats
from featurestore.errors import OnlineStoreError

FORMAT = 1
#: What the keys of a table's rows begin with: its number and its generation.
PREFIX = struct.Struct(">II")
#: The number of a snapshot.
SNAPSHOT = struct.Struct(">Q")
#: Before a table's number, the key of the snapshot in which its rows were last written.
_WRITES = b"writes-"


class State:
    """The state record: the clock, and by storage id [number, generation]."""

    def __init__(self, record: bytes | None) -> None:
        values = {"format": FORMAT, "clock": None, "tables": {}} if record is None else json.loads(record)
        otherwise = "Or materialize into a new store."
        formats.check(values, "The online store", FORMAT, error=OnlineStoreError, otherwise=otherwise)
        self.clock: int | None = values.pop("clock")
        self.tables: dict[str, list[int]] = values.pop("tables")
        #: What the transactions of this file are counted from: an older one of the store had as many.
        self.base: int = values.pop("base", 0)
        #: Whether the store is another file by now.
        self.moved: bool = values.pop("moved", False)
        #: What a neighbouring release says beside, which stays.
        self._others: dict[str, Any] = values
        self.prefixes = {name: PREFIX.pack(*table) for name, table in self.tables.items()}
        #: Tables whose rows a transaction writes.
        self.written: set[str] = set()

    def to_json(self) -> bytes:
        """Return the record."""
        values = self._others | {"clock": self.clock, "tables": self.tables, "base": self.base}
        return json.dumps(values | ({"moved": True} if self.moved else {})).encode()

    def prefix(self, storage_id: str) -> bytes:
        """Return the prefix of a table's rows, which are to be written; it is given a number if it has none."""
        self.written.add(storage_id)
        number, generation = self.tables.setdefault(storage_id, [len(self.tables) + 1, 1])
        return self.prefixes.setdefault(storage_id, PREFIX.pack(number, generation))

    def writes_key(self, storage_id: str) -> bytes:
        """Return the key, in ``state``, of the snapshot in which a table that there is was last written."""
        return _WRITES + self.tables[storage_id][0].to_bytes(4, "big")
