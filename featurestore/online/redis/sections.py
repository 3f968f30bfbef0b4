"""Writes: rows of tables in pieces that one script takes, and what became of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from featurestore.errors import OnlineStoreError
from featurestore.online.base import Written
from featurestore.online.redis.gets import Known
from featurestore.online.redis.layout import Layout
from featurestore.online.redis.nodes import Call, Nodes, call
from featurestore.online.redis.patience import Patience
from featurestore.online.redis.scripts import MOVE, WRITE
from featurestore.online.redis.state import State

#: Rows of one run of a script: a lookup waits a millisecond for it at most.
PIECE_ROWS = 500
#: Rows, and bytes, of a transaction that is one run of a script all the same.
WHOLE_ROWS = 1_000
_WHOLE_BYTES = 1 << 20
#: Pieces that are sent together.
_TOGETHER = 16
#: How long a writer waits for one that holds a table.
PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.02


class Section(NamedTuple):
    """Rows of one table, and what is to be done with them.

    Attributes:
        storage_id: the table's.
        what: ``n`` put what is newer, ``s`` settle, ``w`` put or remove, ``d`` remove, ``x`` remove what is too old.
        keys: of the rows.
        values: those of each row; none for ``d`` and ``x``.
        before: the order that rows must not be below, for ``x``.
        generation: in which they are; None for the present one.
    """

    storage_id: str
    what: str
    keys: Sequence[bytes]
    values: Sequence[Sequence[bytes]] = ()
    before: bytes = b""
    generation: int | None = None

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return sum(len(value) for values in self.values for value in values)

    def part(self, places: Sequence[int]) -> Section:
        """Return a section of some of the rows."""
        values = [self.values[place] for place in places] if self.values else ()
        return self._replace(keys=[self.keys[place] for place in places], values=values)


class Piece(NamedTuple):
    """Sections of one bucket that are written in one run."""

    bucket: int
    sections: Sequence[Section]

    def call(self, layout: Layout, state: State, tokens: Mapping[str, bytes], new: bytes = b"") -> Call:
        """Return the call of the script; ``new`` is a state to put in the place of the one that is expected."""
        head = layout.heads[self.bucket]
        names: list[bytes] = [head + b"s", head + b"n"]
        values: list[bytes | int] = [state.record, new, len(self.sections)]
        tables = state.tables if not new else State.read(new).tables
        for one in self.sections:
            table = tables[one.storage_id]
            front = head + (table if one.generation is None else table._replace(generation=one.generation)).head
            names.append(head + b"l%d" % table.number)
            names += [front + key for key in one.keys]
            keep = b"" if table.keep is None else b"%d" % table.keep
            token = tokens.get(one.storage_id, b"")
            values += (table.number, one.what.encode(), token, keep, one.before, len(one.keys))
            for each in one.values:
                values += each
        return call(WRITE, self.bucket, names, values)


class Writing:
    """What writes to the servers of one store.

    Args:
        nodes: the servers.
        layout: names keys.
        known: the state that is known.
        patience: seconds that a writer waits for one that holds a table.
    """

    def __init__(self, nodes: Nodes, layout: Layout, known: Known, *, patience: float = PATIENCE_SECONDS) -> None:
        self._nodes = nodes
        self._layout = layout
        self._known = known
        self._patience = patience

    def state(self) -> State:
        """Return the present state, read anew.

        Raises:
            OnlineStoreError: the store cannot be read.
        """
        (record,) = self._nodes.run([Call(0, (b"GET", self._layout.heads[0] + b"s"))])
        return self._known.take(record)

    def move(
        self,
        change: Callable[[State], State | None],
        *,
        place: Callable[[State], int] = lambda _: 0,
        held: tuple[str, bytes, bytes] | None = None,
    ) -> State:
        """Change the state, in every bucket, and return the new one.

        Args:
            change: gives the new state from the present one; None if there is nothing to change.
            place: gives the number of the table that counts as written.
            held: a table, the token by which it is held, and its progress from then on, empty for none.

        Raises:
            OnlineStoreError: it cannot be written, or another one holds the table by now.
        """
        head = self._layout.heads[0]
        while True:
            state = self._known.state
            new = change(state)
            if new is None:
                if self.state() is state:
                    return state
                continue
            names = [head + b"s", head + b"n"]
            values: list[bytes | int] = [state.record, new.record, place(new), b"", b""]
            if held is not None:
                name, token, progress = held
                number = new.tables[name].number
                names += [head + b"l%d" % number, head + b"p%d" % number, head + b"e%d" % number]
                values[3:] = [token, progress]
            (said,) = self._nodes.run([call(MOVE, 0, names, values)])
            if said[0] == b"state":
                self._adopt(0, said[1])
                continue
            if said[0] == b"lost":
                raise lost()
            self._known.take(new.record)
            self.spread(new, place(new))
            return new

    def spread(self, state: State, place: int = 0) -> None:
        """Bring a state into every bucket that has an older one."""
        if not self._layout.many:
            return
        self._nodes.run([self._spread_call(bucket, state, place) for bucket in range(len(self._layout.heads))])

    def _spread_call(self, bucket: int, state: State, place: int = 0) -> Call:
        head = self._layout.heads[bucket]
        return call(MOVE, bucket, [head + b"s", head + b"n"], [b"*", state.record, place, b"", b""])

    def _adopt(self, bucket: int, record: bytes) -> None:
        """Go by the state that a bucket has; one that is older than what is known is brought up to it."""
        known = self._known.state
        found = self._known.take(record)
        if found.version < known.version:
            if not bucket:  # the record: a server took over that had not all of it, or the store was emptied
                self._known.state = found
            else:
                self._nodes.run([self._spread_call(bucket, known)])

    def write(self, sections: Sequence[Section], tokens: Mapping[str, bytes] | None = None) -> Written:
        """Write sections, those of few rows of one bucket at once; tables that are not there are made.

        Raises:
            OnlineStoreError: they cannot be written.
        """
        names = [one.storage_id for one in sections]
        tokens = tokens or {}
        pieces = list(self._pieces(sections))
        done = left = 0
        patience = Patience(names, self._patience)
        while pieces:
            state = self._known.state
            if any(name not in state.tables for name in names):
                self.move(lambda now: None if (new := now.with_tables(names)) is now else new)
                continue
            some, pieces = pieces[:_TOGETHER], pieces[_TOGETHER:]
            again: list[Piece] = []
            waiting = False
            answers = self._nodes.run([one.call(self._layout, state, tokens) for one in some])
            for piece, said in zip(some, answers, strict=True):
                if said[0] == b"ok":
                    done, left = done + said[1], left + said[2]
                    continue
                if said[0] == b"lost":
                    raise lost()
                if said[0] == b"state":
                    self._adopt(piece.bucket, said[1])
                else:
                    waiting = True
                again.append(piece)
            pieces = again + pieces
            if waiting:
                patience.wait()
        return Written(done, left)

    def write_with(self, state: State, new: State, sections: Sequence[Section]) -> Written | None:
        """Write sections and a new state in one run; None if the state is another by now.

        Raises:
            OnlineStoreError: they cannot be written.
        """
        piece = Piece(0, sections)
        (said,) = self._nodes.run([piece.call(self._layout, state, {}, new.record)])
        if said[0] == b"ok":
            self._known.take(new.record)
            return Written(said[1], said[2])
        if said[0] == b"state":
            self._adopt(0, said[1])
        else:
            time.sleep(_LOOK_SECONDS)
        return None

    def _pieces(self, sections: Sequence[Section]) -> Iterator[Piece]:
        whole = not self._layout.many and sum(len(one.keys) for one in sections) <= WHOLE_ROWS
        if whole and sum(one.size for one in sections) <= _WHOLE_BYTES:
            yield Piece(0, sections)
            return
        for one in sections:
            if not one.keys:
                yield Piece(0, [one])
            by_bucket = self._layout.by_bucket(one.keys) if self._layout.many else {0: list(range(len(one.keys)))}
            for bucket, places in by_bucket.items():
                for first in range(0, len(places), PIECE_ROWS):
                    yield Piece(bucket, [one.part(places[first : first + PIECE_ROWS])])


def lost() -> OnlineStoreError:
    """Return the error of a writer that was away for so long that another one may write by now."""
    return OnlineStoreError(
        "This process held a table of the online store and was not heard of for too long: another may write by now.",
        hint="Do it again; nothing is half done that the next run does not find.",
    )
