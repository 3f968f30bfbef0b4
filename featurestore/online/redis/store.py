"""The online store on Redis or Valkey: one server, a master that sentinels watch, or a cluster.

The rows are those of LMDB, to the byte. On one server a read is from one instant, over all tables, and a write of up to
a thousand rows is seen whole or not at all. In a cluster that holds for the rows of one entity; and a write of more
rows, here or there, is done in pieces, of which readers may see some. Nothing else is different: whoever restores or
rebuilds a table holds it alone meanwhile, and of two rows of a key the newest wins, whatever the order of writes, as it
is the server that compares them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

import structlog

from featurestore.errors import FeatureStoreError, OnlineStoreError
from featurestore.online.base import (
    ORDER_BYTES,
    Expired,
    Read,
    Row,
    Space,
    Standing,
    TableStatus,
    Written,
)
from featurestore.online.redis.files import write_files_anew
from featurestore.online.redis.gets import Gets, Known, Requests
from featurestore.online.redis.holding import Holding
from featurestore.online.redis.keeping import Keeping
from featurestore.online.redis.layout import Layout
from featurestore.online.redis.lookups import Waiting
from featurestore.online.redis.nodes import Call, Nodes, call
from featurestore.online.redis.scanning import Scanning
from featurestore.online.redis.scripts import NOTE
from featurestore.online.redis.sections import PATIENCE_SECONDS, Section, Writing, lost
from featurestore.online.redis.state import State, Table
from featurestore.settings.online import RedisConfig

#: Rows that a replacement writes at once.
_BATCH_ROWS = 8_000
#: How long a change of the state waits for a replica to have it.
_STATE_SECONDS = 1.0
#: How long a write waits for the replicas that the settings ask for.
_REPLICA_SECONDS = 2.0

_logger = structlog.get_logger(__name__)


class RedisStore:
    """An :class:`~featurestore.online.base.OnlineStore` on servers.

    Args:
        settings: whose passwords are read already.
        patience: seconds that a writer waits for one that holds a table.

    Raises:
        ConfigError: a package is not installed.
    """

    def __init__(self, settings: RedisConfig, *, patience: float = PATIENCE_SECONDS) -> None:
        self.settings = settings
        self.layout = Layout(settings.prefix, cluster=settings.mode == "cluster")
        self.known = Known(many=self.layout.many)
        self._nodes = Nodes(settings, self.layout)
        self._writing = Writing(self._nodes, self.layout, self.known, patience=patience)
        self._holding = Holding(self._nodes, self.layout, patience=patience)
        self._scanning = Scanning(self._nodes, self.layout)
        self._keeping = Keeping(self._nodes, self.layout, self._writing, self._scanning)
        self._cleaning: list[threading.Thread] = []
        self._waitings: list[Waiting] = []

    # Reading

    def read(self, requests: Requests) -> Read:
        """See :meth:`OnlineStore.read <featurestore.online.base.OnlineStore.read>`."""
        gets = Gets(self.layout, self.known, requests)
        asked: dict[int, State | None] = dict.fromkeys(gets.open)
        while asked:
            answers = self._nodes.run([Call(bucket, gets.command(bucket, by)) for bucket, by in asked.items()])
            again = {}
            for (bucket, by), said in zip(asked.items(), answers, strict=True):
                state = gets.take(bucket, said, by)
                if state is not None:
                    again[bucket] = state
            asked = again  # type: ignore[assignment]
        return gets.result()

    def waiting(self) -> Waiting:
        """Return what reads for the lookups of the event loop that runs; it must be closed in that.

        Raises:
            OnlineStoreError: a file that TLS needs cannot be read.
        """
        made = Waiting(self.settings, self._nodes, self.layout, self.known)
        self._waitings.append(made)
        return made

    def snapshot(self) -> int | None:
        """See :meth:`OnlineStore.snapshot <featurestore.online.base.OnlineStore.snapshot>`."""
        return None

    def clock(self) -> int | None:
        """See :meth:`OnlineStore.clock <featurestore.online.base.OnlineStore.clock>`."""
        return self.read(()).clock

    def interruptions(self) -> int:
        """See :meth:`OnlineStore.interruptions <featurestore.online.base.OnlineStore.interruptions>`."""
        return self._nodes.interruptions + sum(one.losses for one in self._waitings)

    # Writing

    def put_newest(self, storage_id: str, rows: Iterable[Row]) -> Written:
        """See :meth:`OnlineStore.put_newest <featurestore.online.base.OnlineStore.put_newest>`."""
        return self.put_all({storage_id: list(rows)})  # a source that fails midway must leave nothing behind

    def put_all(self, rows: Mapping[str, Sequence[Row]]) -> Written:
        """See :meth:`OnlineStore.put_all <featurestore.online.base.OnlineStore.put_all>`."""
        sections = [_newest(name, part) for name, part in rows.items()]
        done = self._writing.write(sections)
        self._replicated(sections)
        return done

    def settle(self, storage_id: str, rows: Iterable[tuple[bytes, bytes, bytes]]) -> int:
        """See :meth:`OnlineStore.settle <featurestore.online.base.OnlineStore.settle>`."""
        listed = list(rows)
        section = Section(storage_id, "s", [row[0] for row in listed], [row[1:] for row in listed])
        done = self._writing.write([section])
        self._replicated([section], least=True)  # whoever settles forgets the rows then
        return done.written

    def replace(self, storage_id: str, rows: Iterable[Row], *, progress: bytes | None = None) -> int:
        """See :meth:`OnlineStore.replace <featurestore.online.base.OnlineStore.replace>`."""
        number = self._table(storage_id).number
        with self._holding.held(storage_id, number) as token:
            generation = self._new_generation(storage_id)
            try:
                source = iter(rows)
                while some := list(islice(source, _BATCH_ROWS)):
                    section = _newest(storage_id, some)._replace(generation=generation)
                    self._writing.write([section], {storage_id: token})
                    self._replicated([section], least=True)
            except BaseException:
                self._clean(number, unfinished=generation)
                raise
            self._writing.move(
                lambda now: now.with_table(storage_id, now.tables[storage_id]._replace(generation=generation)),
                place=lambda _: number,
                held=(storage_id, token, progress or b""),
            )
            self._state_replicated()
        self._clean(number)
        return generation

    def replace_keys(
        self,
        storage_id: str,
        keys: Iterable[bytes],
        rows: Iterable[Row],
        *,
        expected: bytes | None,
        progress: bytes,
    ) -> Written | None:
        """See :meth:`OnlineStore.replace_keys <featurestore.online.base.OnlineStore.replace_keys>`.

        Rows and keys are kept in memory until all are read; each key is replaced at once, and not all together.
        """
        number = self._table(storage_id).number
        with self._holding.held(storage_id, number) as token:
            if self._progress(number) != expected:
                return None
            theirs: dict[bytes, bytes] = dict.fromkeys(keys, b"")
            others: list[Row] = []
            written = older = 0
            for key, value in rows:
                present = theirs.get(key)
                if present is None:
                    others.append((key, value))
                elif not present or present[:ORDER_BYTES] < value[:ORDER_BYTES]:
                    theirs[key] = value
                    written += 1
                else:
                    older += 1
            replaced = Section(storage_id, "w", list(theirs), [(value,) for value in theirs.values()])
            put = _newest(storage_id, others)
            self._writing.write([replaced], {storage_id: token})
            done = self._writing.write([put], {storage_id: token})
            self._replicated([replaced, put], least=True)
            self._note(number, token, progress)
            return Written(written + done.written, older + done.older)

    def put_step(
        self,
        storage_id: str,
        rows: Sequence[Row],
        *,
        expected: bytes | None,
        progress: Callable[[Written], bytes],
    ) -> Written | None:
        """See :meth:`OnlineStore.put_step <featurestore.online.base.OnlineStore.put_step>`."""
        number = self._table(storage_id).number
        with self._holding.held(storage_id, number) as token:
            if self._progress(number) != expected:
                return None
            section = _newest(storage_id, rows)
            done = self._writing.write([section], {storage_id: token})
            self._replicated([section], least=True)  # before it counts as done
            self._note(number, token, progress(done))
            return done

    def advance(self, expected: int | None, now: int, rows: Mapping[str, Sequence[Row]]) -> Written | None:
        """See :meth:`OnlineStore.advance <featurestore.online.base.OnlineStore.advance>`."""
        if self.layout.many:
            raise OnlineStoreError(
                "A cluster has no clock of a rehearsal.", hint="Rehearsals have a store of their own, on the disk."
            )
        sections = [_newest(name, part) for name, part in rows.items()]
        while True:
            state = self._writing.state()
            if state.clock != expected:
                return None
            new = state.with_tables(rows).changed(clock=now)
            done = self._writing.write_with(state, new, sections)
            if done is not None:
                return done

    def delete(self, storage_id: str, keys: Iterable[bytes]) -> int:
        """See :meth:`OnlineStore.delete <featurestore.online.base.OnlineStore.delete>`."""
        listed = list(keys)
        if storage_id not in self._writing.state().tables:
            return 0
        section = Section(storage_id, "d", listed)
        done = self._writing.write([section])
        self._replicated([section])
        return done.written

    def clear(self) -> None:
        """See :meth:`OnlineStore.clear <featurestore.online.base.OnlineStore.clear>`."""
        emptied: list[State] = []

        def empty(now: State) -> State:
            emptied[:] = [now]
            return now.empty()

        state = self._writing.move(empty)
        head = self.layout.heads[0]
        numbers = [table.number for table in emptied[0].tables.values()]
        names = [head + b"%b%d" % (kind, number) for kind in (b"p", b"e", b"k", b"g") for number in numbers]
        if names:
            self._nodes.run([Call(0, (b"UNLINK", *names))])
        self._scanning.remove(state)

    # How far a table is filled

    def standing(self, storage_id: str) -> Standing:
        """See :meth:`OnlineStore.standing <featurestore.online.base.OnlineStore.standing>`.

        Rows that the server itself removes are not counted: as soon as there may be some, one at least counts as
        expired.
        """
        table = self._writing.state().tables.get(storage_id)
        return Standing(None, None, 0) if table is None else self._keeping.standing(table)

    def keep(self, storage_id: str, milliseconds: int | None) -> bool:
        """See :meth:`OnlineStore.keep <featurestore.online.base.OnlineStore.keep>`."""
        table = self._writing.state().tables.get(storage_id)
        if table is None:
            if milliseconds is None:
                return True
            return self._keeping.keep(storage_id, self._table(storage_id), milliseconds, new=True)
        return self._keeping.keep(storage_id, table, milliseconds)

    def expire(self, storage_id: str, before: int, *, after: bytes | None = None, limit: int = 10_000) -> Expired:
        """See :meth:`OnlineStore.expire <featurestore.online.base.OnlineStore.expire>`.

        A step looks at about so many names, of whatever table; and tells the rows that stay for how long, if they are
        to be told.
        """
        table = self._writing.state().tables.get(storage_id)
        return Expired(0, None) if table is None else self._keeping.expire(storage_id, table, before, after, limit)

    # All rows

    def keys(self, storage_id: str) -> Iterator[bytes]:
        """See :meth:`OnlineStore.keys <featurestore.online.base.OnlineStore.keys>`."""
        table = self._writing.state().tables.get(storage_id)
        if table is not None:
            for some in self._scanning.keys(table):
                yield from some

    def status(self) -> dict[str, TableStatus]:
        """See :meth:`OnlineStore.status <featurestore.online.base.OnlineStore.status>`."""
        return {name: self._scanning.status(table) for name, table in self._writing.state().tables.items()}

    def space(self) -> Space:
        """See :meth:`OnlineStore.space <featurestore.online.base.OnlineStore.space>`."""
        return Space(0, 0)

    def forget(self) -> None:
        """See :meth:`OnlineStore.forget <featurestore.online.base.OnlineStore.forget>`.

        Rows of former generations go, and a server that keeps a file writes it anew. One that may not be asked to is
        told of in the log.
        """
        for thread in self._cleaning:
            thread.join()
        self._cleaning.clear()
        self._scanning.remove(self._writing.state())
        for server in self._nodes.masters():
            write_files_anew(server)

    def close(self) -> None:
        """See :meth:`OnlineStore.close <featurestore.online.base.OnlineStore.close>`."""
        for thread in self._cleaning:
            thread.join()
        self._cleaning.clear()
        self._nodes.close()

    # Within

    def _table(self, storage_id: str) -> Table:
        """Return a table, made if it is not there."""
        found = self._writing.state().tables.get(storage_id)
        if found is not None:
            return found
        state = self._writing.move(lambda now: None if (new := now.with_tables([storage_id])) is now else new)
        self._state_replicated()
        return state.tables[storage_id]

    def _new_generation(self, storage_id: str) -> int:
        """Return a generation that nobody has ever begun."""
        table = self._writing.state().tables[storage_id]
        name = self.layout.heads[0] + b"g%d" % table.number
        (begun,) = self._nodes.run([Call(0, (b"GET", name))])
        generation = max(int(begun or 0), table.generation) + 1
        self._nodes.run([Call(0, (b"SET", name, generation))])
        return generation

    def _progress(self, number: int) -> bytes | None:
        (found,) = self._nodes.run([Call(0, (b"GET", self.layout.heads[0] + b"p%d" % number))])
        return found if found is None else bytes(found)

    def _note(self, number: int, token: bytes, progress: bytes) -> None:
        head = self.layout.heads[0]
        (noted,) = self._nodes.run([call(NOTE, 0, [head + b"l%d" % number, head + b"p%d" % number], [token, progress])])
        if not noted:
            raise lost()

    def _clean(self, number: int, *, unfinished: int = 0) -> None:
        """Remove, in the background, the rows of a table's former generations, and of one that came to nothing."""
        arguments = (number, unfinished)
        thread = threading.Thread(target=self._cleaned, args=arguments, name="online-cleanup", daemon=True)
        self._cleaning = [one for one in self._cleaning if one.is_alive()] + [thread]
        thread.start()

    def _cleaned(self, number: int, unfinished: int) -> None:
        try:
            self._scanning.remove(self._writing.state(), [number], unfinished=unfinished)
        except FeatureStoreError as error:
            _logger.warning("rows of former generations stay for now", error=error.message, hint=error.hint)

    def _replicated(self, sections: Sequence[Section], *, least: bool = False) -> None:
        """Wait until replicas have what was written: those that the settings ask for.

        Args:
            sections: what was written.
            least: whether one is to have it in any case, if there is one: where nothing else knows of the rows.

        Raises:
            OnlineStoreError: they do not have it in time; it is written, and may be lost if the master dies now.
        """
        copies = self.settings.replicas
        if not copies and not (least and self.settings.mode != "single"):
            return
        buckets = {self.layout.bucket(key) for one in sections for key in one.keys}
        if buckets and not self._nodes.replicated(sorted(buckets), copies, _REPLICA_SECONDS):
            raise OnlineStoreError(
                f"Fewer than {max(1, copies)} replicas of the online store had a write within {_REPLICA_SECONDS:g} s.",
                hint='Bring them back, or lower "replicas" under [online] in featurestore.toml. '
                "The rows are on the master; writing them again does no harm.",
            )

    def _state_replicated(self) -> None:
        if self.settings.mode != "single":
            self._nodes.replicated([0], self.settings.replicas, _STATE_SECONDS)


def _newest(storage_id: str, rows: Sequence[Row]) -> Section:
    return Section(storage_id, "n", [row[0] for row in rows], [row[1:] for row in rows])
