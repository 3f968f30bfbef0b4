"""What a copy has done at its destination, line by line: whoever is killed is gone on with, and copies nothing twice.

It also tells what the copy has written from what was there before, or came since: the one may be written over when the
source has changed, the other never. Before something is written, the journal says so, and after it was read back, it
says what it was.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from featurestore.errors import ConfigError


class Done(NamedTuple):
    """A file that was copied and read back: its bytes, the source's stamp at that time, and SHA-256."""

    size: int
    stamp: int
    digest: str


class Journal:
    """The journal of one destination, opened by one process at a time; use it as a context manager.

    Args:
        file: made when it is opened.

    Attributes:
        owner: what is copied here; "" before anything was.
        finished: whether a run has come to its end.

    Raises:
        ConfigError: another process copies to the same destination.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._done: dict[tuple[str, str], Done] = {}
        self._begun: set[tuple[str, str]] = set()
        self._written: dict[str, set[str]] = {}
        self.owner = ""
        self.finished = False
        file.parent.mkdir(parents=True, exist_ok=True)
        self._out = file.open("a+", encoding="utf-8")
        try:
            fcntl.flock(self._out, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._out.close()
            raise ConfigError(f"Another process copies to this destination: it holds {file}.") from None
        self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._out.close()

    def own(self, owner: str) -> None:
        """Say what is copied here."""
        self.owner = owner
        self._say({"owner": owner})

    def finish(self) -> None:
        """Say that a run has come to its end."""
        self.finished = True
        self._say({"finished": True})

    def begin(self, part: str, name: str) -> None:
        """Say that a file is about to be written."""
        self._begun.add((part, name))
        self._say({"begin": [part, name]})

    def done(self, part: str, name: str, what: Done) -> None:
        """Say that a file is written, and was read back."""
        self._done[part, name] = what
        self._say({"done": [part, name], "is": list(what)})

    def removed(self, part: str, name: str) -> None:
        """Say that a file is removed again, as the source has it no more."""
        self._done.pop((part, name), None)
        self._begun.discard((part, name))
        self._say({"removed": [part, name]})

    def writing(self, part: str, digest: str) -> None:
        """Say what a database will hold when the transaction under way is committed."""
        self._written.setdefault(part, set()).add(digest)
        self._say({"writing": part, "is": digest})

    def found(self, part: str, name: str) -> Done | None:
        """Return what is known of a file that was copied."""
        return self._done.get((part, name))

    def is_ours(self, part: str, name: str) -> bool:
        """Return whether we have written a file, or begun to."""
        return (part, name) in self._begun or (part, name) in self._done

    def has_written(self, part: str, digest: str) -> bool:
        """Return whether a database holds what we wrote there."""
        return digest in self._written.get(part, ())

    def files(self, part: str) -> Iterator[tuple[str, Done]]:
        """Yield the files of a part that were copied."""
        yield from [(name, what) for (of, name), what in self._done.items() if of == part]

    def _say(self, what: dict[str, Any]) -> None:
        self._out.write(json.dumps(what) + "\n")
        self._out.flush()

    def _read(self) -> None:
        self._out.seek(0)
        for line in self._out:
            try:
                said = json.loads(line)
            except ValueError:  # of a process that died while it wrote it: what it says is found out again
                continue
            if "owner" in said:
                self.owner = said["owner"]
            elif "finished" in said:
                self.finished = True
            elif "begin" in said:
                self._begun.add(tuple(said["begin"]))
            elif "done" in said:
                self._done[tuple(said["done"])] = Done(*said["is"])
            elif "removed" in said:
                self._done.pop(tuple(said["removed"]), None)
                self._begun.discard(tuple(said["removed"]))
            elif "writing" in said:
                self._written.setdefault(said["writing"], set()).add(said["is"])
        self._out.seek(0, os.SEEK_END)
        if self._out.tell() and not _ends_a_line(self.file):
            self._out.write("\n")


def _ends_a_line(file: Path) -> bool:
    with file.open("rb") as opened:
        opened.seek(-1, os.SEEK_END)
        return opened.read(1) == b"\n"
