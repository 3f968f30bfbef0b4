"""What backups are told of an erasure that came after them: who was erased, beside each backup, as keyed hashes.

A backup is not changed. ``NAME.erased.jsonl`` beside it is read when it is loaded, which erases them again. It survives
the store, and without the secret of ``[erasure]`` it tells nobody whose keys they are.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from featurestore.config import Config
from featurestore.errors import OfflineStoreError

#: What tells a folder that is a backup of ours from others.
_MANIFEST = "backup.json"


@dataclass(frozen=True, kw_only=True)
class Erased:
    """A key that was erased, or let in again, after a backup was made.

    Attributes:
        project: whose.
        members: see :func:`featurestore.offline.erasure.suppression.members`.
        digest: the keyed hash.
        request: whose wish it was.
        lifted: whether loads may bring rows of the key again.
    """

    project: str
    members: str
    digest: str
    request: str
    lifted: bool = False


def listed_backups(config: Config) -> list[Path]:
    """Return what ``[erasure] backups`` names and is there."""
    patterns = [str(config.path(one)) for one in config.erasure.backups]
    return [Path(path) for pattern in patterns for path in sorted(glob.glob(pattern))]  # noqa: PTH207 - absolute


def is_ours(backup: Path) -> bool:
    """Return whether a backup is one that ``featurestore backup load`` reads."""
    return backup.suffix == ".tar" or (backup / _MANIFEST).exists()


def note_erased(config: Config, whose: str, digests: Collection[str], request: str, *, lifted: bool = False) -> None:
    """Write beside each backup of ours who was erased, or let in again.

    Raises:
        OfflineStoreError: a disk refuses.
    """
    for backup in listed_backups(config):
        if is_ours(backup):
            note_beside(backup, config.project, whose, digests, request, lifted=lifted)


def note_beside(
    backup: Path, project: str, whose: str, digests: Collection[str], request: str, *, lifted: bool = False
) -> None:
    """Write beside one backup who was erased, or let in again; see :func:`note_erased`."""
    erased = [
        Erased(project=project, members=whose, digest=one, request=request, lifted=lifted) for one in sorted(digests)
    ]
    try:
        with _beside(backup).open("a", encoding="utf-8") as out:
            out.write("".join(json.dumps(asdict(one)) + "\n" for one in erased))
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        raise OfflineStoreError(
            f"{_beside(backup)} cannot be written, and so the backup would bring the rows back: {error.strerror}.",
            hint='Let this user write beside the backup, or take it out of "backups" under [erasure].',
        ) from error


def read_erased(backup: Path) -> Iterator[Erased]:
    """Yield who was erased, or let in again, after a backup was made, in that order."""
    try:
        lines = _beside(backup).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        yield Erased(**json.loads(line))


def _beside(backup: Path) -> Path:
    backup = backup.absolute()
    return backup.with_name(f"{backup.name}.erased.jsonl")
