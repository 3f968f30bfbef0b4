"""Messages that could not become rows, kept as they came until somebody has mended what was wrong.

A file of JSON lines for each batch, in a folder for each stream. It appears under its name when it is whole and on the
disk, and the name follows from the messages: a batch that is read again, as its consumer died, writes the same file.
Where batches were cut otherwise then, a message may be in two files; it is listed once, and counts once.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from featurestore.errors import OfflineStoreError
from featurestore.storage.durable import sync
from featurestore.streaming.messages import Message, Poisoned

_SUFFIX = ".jsonl"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A message in quarantine.

    Attributes:
        stream: which read it.
        view: whose row it was to be.
        poisoned: the message, and why it is here.
        at: since when.
    """

    stream: str
    view: str
    poisoned: Poisoned
    at: datetime


class MessageQuarantine:
    """The quarantine of all streams of a store; several processes may use it.

    Args:
        folder: made when the first message comes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, stream: str, view: str, poisoned: Sequence[Poisoned]) -> None:
        """Keep messages; they are on the disk when this returns.

        Raises:
            OfflineStoreError: the disk refuses.
        """
        if not poisoned:
            return
        now = datetime.now(UTC)
        kept = [Kept(stream=stream, view=view, poisoned=one, at=now) for one in poisoned]
        places = json.dumps([one.message.place for one in poisoned])
        digest = hashlib.sha256(places.encode()).hexdigest()[:32]
        self._write(self._folder / stream / f"{digest}{_SUFFIX}", kept)

    def messages(self, stream: str) -> list[Kept]:
        """Return the messages that a stream has set aside, each once, in the order of their places.

        Raises:
            OfflineStoreError: a file cannot be read.
        """
        return list(_distinct(one for file in self._files(stream) for one in _read(file)))

    def count(self, stream: str) -> int:
        """Return how many there are; see :meth:`messages`."""
        return len(self.messages(stream))

    def streams(self) -> list[str]:
        """Return the streams that have set messages aside, also those that are in no settings any more."""
        return sorted(one.parent.name for one in {file.parent: file for file in self._every_file()}.values())

    def take(self, stream: str, again: Callable[[Sequence[Kept]], Sequence[Kept]]) -> int:
        """Give the messages of each file to somebody who may have a use for them now, and return how many are left.

        Args:
            stream: whose.
            again: takes some, and returns those that stay.

        Raises:
            OfflineStoreError: a file cannot be read or written.
        """
        left: list[Kept] = []
        with self._alone():
            for file in self._files(stream):
                rest = list(again(list(_distinct(_read(file)))))
                self._rewrite(file, rest)
                left += rest
        return len(list(_distinct(left)))

    def without(self, gone: Callable[[Kept], bool], *, dry_run: bool) -> tuple[int, int]:
        """Remove messages for good, and return how many they were, and in how many files; for an erasure."""
        rows = files = 0
        with nullcontext() if dry_run else self._alone():
            for file in self._every_file():
                found = list(_read(file))
                rest = [one for one in found if not gone(one)]
                if len(rest) == len(found):
                    continue
                rows, files = rows + len(found) - len(rest), files + 1
                if not dry_run:
                    self._rewrite(file, rest)
        return rows, files

    def partial(self) -> Iterator[Path]:
        """Yield the files that are being written, or that writers left who died."""
        yield from self._folder.glob("*/.*")

    def _every_file(self) -> list[Path]:
        return sorted(self._folder.glob(f"*/[!.]*{_SUFFIX}"))

    def _files(self, stream: str) -> list[Path]:
        return sorted((self._folder / stream).glob(f"[!.]*{_SUFFIX}"))

    def _rewrite(self, file: Path, rest: Sequence[Kept]) -> None:
        if rest:
            self._write(file, rest)
            return
        with _refused(file):
            file.unlink(missing_ok=True)
            sync(file.parent)

    def _write(self, file: Path, kept: Sequence[Kept]) -> None:
        part = file.with_name(f".{uuid.uuid4().hex}")
        with _refused(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                with part.open("x", encoding="utf-8") as out:
                    out.writelines(json.dumps(_to_json(one), ensure_ascii=False) + "\n" for one in kept)
                    out.flush()
                    os.fsync(out.fileno())
                part.replace(file)
                sync(file.parent)
            finally:
                part.unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let nobody else take messages out."""
        if not self._folder.is_dir():
            yield
            return
        with _refused(self._folder):
            descriptor = os.open(self._folder / "taking.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _distinct(kept: Iterable[Kept]) -> Iterator[Kept]:
    once = {one.poisoned.message.place: one for one in kept}
    yield from (once[place] for place in sorted(once))


def _to_json(one: Kept) -> dict[str, Any]:
    message = one.poisoned.message
    return {
        "stream": one.stream,
        "view": one.view,
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "timestamp": message.timestamp,
        "key": _text(message.key),
        "value": _text(message.value),
        "reason": one.poisoned.reason,
        "at": one.at.isoformat(),
    }


def _read(file: Path) -> Iterator[Kept]:
    try:
        lines = file.read_text(encoding="utf-8").split("\n")[:-1]
    except FileNotFoundError:  # somebody has taken its messages meanwhile
        return
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from error
    for line in lines:
        try:
            said = json.loads(line)
            message = Message(
                topic=said["topic"],
                partition=said["partition"],
                offset=said["offset"],
                timestamp=said["timestamp"],
                key=_bytes(said["key"]),
                value=_bytes(said["value"]),
            )
            poisoned = Poisoned(message=message, reason=said["reason"])
            at = datetime.fromisoformat(said["at"])
            yield Kept(stream=said["stream"], view=said["view"], poisoned=poisoned, at=at)
        except (KeyError, TypeError, ValueError) as error:
            raise _unreadable(file, error) from error


def _text(data: bytes | None) -> str | dict[str, str] | None:
    """Return bytes as JSON has them: as the text that they mostly are, so that people can read the file."""
    if data is None:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _bytes(said: str | dict[str, str] | None) -> bytes | None:
    if said is None:
        return None
    return said.encode() if isinstance(said, str) else base64.b64decode(said["base64"])


def _unreadable(file: Path, error: Exception) -> OfflineStoreError:
    return OfflineStoreError(
        f"The messages kept aside in {file} cannot be read: {error}.",
        hint="If the file is damaged, bring it back from a backup, or move it away.",
    )


@contextmanager
def _refused(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OfflineStoreError(
            f"Messages cannot be kept aside in {file}: {error.strerror or error}.",
            hint='Check the disk\'s space and rights, and "path" under [streaming] in featurestore.toml.',
        ) from error
