"""The log of pushed rows: what waits in it goes along, and is brought into the tables at the destination.

A segment keeps its number, which is the id of the load that it becomes. So rows that were flushed while they were
copied are in the log and in the table of the copy, and the flush there finds the load published: nothing is there
twice.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import ExitStack
from pathlib import Path

from featurestore.errors import ConfigError
from featurestore.moving.files import sha256, write_synced
from featurestore.moving.journal import Done, Journal
from featurestore.moving.report import Measure, PartReport, State, digest_of
from featurestore.pushing import PushLog
from featurestore.pushing.acknowledged import acknowledge, forget
from featurestore.pushing.log import Segment
from featurestore.pushing.segments import HEADER, parse

PART = "pushes"
_ORIGINS = "origins.json"


def check_target(source: Path, target: Path, journal: Journal | None) -> None:
    """Look whether rows wait in the destination's log that are neither ours nor the same as the source's.

    Raises:
        ConfigError: some do.
    """
    for segment in PushLog(target).segments():
        name, theirs = segment.path.name, source / segment.path.name
        if segment.path.stat().st_size <= len(HEADER) or (journal is not None and journal.is_ours(PART, name)):
            continue
        if not theirs.exists() or not theirs.read_bytes().startswith(segment.path.read_bytes()):
            raise ConfigError(
                f"The destination's log of pushed rows holds other data: {segment.path}.",
                hint="Bring its rows into the tables with: featurestore push --flush; or name another folder.",
            )


class PushCopy:
    """The copy of one log.

    Args:
        source: the folder of the log.
        target: that of the destination.
        journal: of the destination.

    Attributes:
        rows: how many wait in the log.
        held_since: since when pushes waited, by ``time.perf_counter``; None where they did not.
    """

    def __init__(self, source: Path, target: Path, journal: Journal) -> None:
        self._source, self._target, self._journal = PushLog(source), target, journal
        self._digests: dict[str, str] = {}
        self._sizes: dict[str, int] = {}
        self.rows = 0
        self.held_since: float | None = None
        self._copied = 0

    @property
    def here(self) -> Measure:
        """What was in the log at the point."""
        return Measure(items=self.rows, digest=digest_of(self._digests))

    def take(self, held: ExitStack) -> None:
        """Copy what was acknowledged so far; from then on until ``held`` is closed, no push is.

        Segments that grow no more are copied before. One that goes meanwhile is in its tables.

        Raises:
            OfflineStoreError: the log is damaged, or a disk refuses.
        """
        self._digests, self.rows = {}, 0
        log = self._source
        if not log.begun():
            return
        for segment in log.sealed():
            self._copy(segment, sealed=True)
        held.enter_context(log.committing())
        self.held_since = time.perf_counter()
        numbers = [one.path.name for one in log.segments()]
        for segment in log.segments():
            if segment.path.name not in self._digests:
                self._copy(segment, sealed=segment.path.name != numbers[-1])
        for gone in set(self._digests) - set(numbers):
            self._digests.pop(gone)
        self.rows = 0
        for name in self._digests:
            data = (self._target / name).read_bytes()
            self.rows += sum(entry.rows for entry in parse(data, name, sealed=True).entries)
        origins = log.folder / _ORIGINS
        if origins.exists():
            self._journal.begin(PART, _ORIGINS)
            write_synced([origins.read_bytes()], self._target / _ORIGINS)

    def remove_gone(self) -> None:
        """Remove what has gone from the source since an earlier run.

        Its rows are in the tables. Those that an earlier run has put online at the destination have their final order
        first: see :meth:`Flusher.settle_published <featurestore.pushing.flushing.Flusher.settle_published>`.
        """
        for name, _ in list(self._journal.files(PART)):
            if name not in self._digests:
                forget(self._target / name)
                (self._target / name).unlink(missing_ok=True)
                self._journal.removed(PART, name)

    def finish(self) -> PartReport:
        """Compare."""
        if self._target.exists():
            # None of ours may grow at the destination: its number is that of a load which the tables may have by then.
            PushLog(self._target).seal()
        there = {name: sha256(self._target / name) for name in self._digests}
        state = State.copied if self._copied else State.present if there else State.nothing
        return PartReport(
            part=PART,
            unit="rows",
            state=state,
            here=self.here,
            there=Measure(items=self.rows, digest=digest_of(there)),
            copied=self.rows if self._copied else 0,
        )

    def has_changed(self) -> bool:
        """Return whether rows were pushed, or brought into the tables, since the point."""
        if not self._source.begun():
            return False
        with self._source.committing():
            sizes = {one.path.name: one.path.stat().st_size for one in self._source.segments()}
        filled = {name: size for name, size in sizes.items() if size > len(HEADER)}
        return filled != {name: self._sizes[name] for name in self._digests}

    def _copy(self, segment: Segment, *, sealed: bool) -> None:
        name = segment.path.name
        try:
            data = segment.path.read_bytes()
        except FileNotFoundError:
            return
        if not parse(data, str(segment.path), sealed=sealed).entries:
            return
        digest = hashlib.sha256(data).hexdigest()
        self._digests[name], self._sizes[name] = digest, len(data)
        target = self._target / name
        before = self._journal.found(PART, name)
        if before is not None and before.digest == digest and target.exists() and sha256(target) == digest:
            return
        self._journal.begin(PART, name)
        forget(target)  # of a shorter one that an earlier run has copied
        write_synced([data], target)
        acknowledge(target, len(data), sync=True)
        self._journal.done(PART, name, Done(len(data), 0, digest))
        self._copied += 1
