"""What a migration, or a backup, has copied, and the proof that both sides hold the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """What became of a part."""

    copied = "copied"
    present = "was there"
    stays = "stays"
    nothing = "nothing"
    rebuilt = "rebuilt"
    planned = "to copy"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What one side holds of a part.

    Attributes:
        items: rows of a database or of the online store, or files.
        bytes: of the files; 0 for rows.
        digest: SHA-256 over all that is in it, as hexadecimal digits; "" where it was not computed.
        counts: the same in more detail: rows by table.
    """

    items: int = 0
    bytes: int = 0
    digest: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PartReport:
    """One part of a store.

    Attributes:
        part: its name, as ``--only`` takes it.
        unit: what is counted: ``rows`` or ``files``.
        state: what became of it.
        here: what the source holds, as of the point.
        there: what the destination holds.
        copied: how many items this run has copied; the rest was there.
        apart: why both sides need not hold the same, such as tables that were not online yet; empty where they must.
        note: what else is to be known.
    """

    part: str
    unit: str
    state: State
    here: Measure = Measure()
    there: Measure = Measure()
    copied: int = 0
    apart: tuple[str, ...] = ()
    note: str = ""

    @property
    def equal(self) -> bool:
        """Whether both sides hold the same."""
        return (self.here.items, self.here.digest) == (self.there.items, self.there.digest)

    @property
    def holds(self) -> bool:
        """Whether all is well with the part: both sides are equal as far as they are meant to be."""
        return self.equal or bool(self.apart) or self.state in (State.stays, State.nothing, State.planned)


@dataclass(frozen=True, kw_only=True)
class MoveReport:
    """What was copied from one store to another.

    Attributes:
        source: the configuration's file, or the backup.
        destination: the same of the other side.
        point: the instant that the copy is of, ISO 8601; "" for a dry run.
        held_seconds: for how long pushes had to wait.
        rounds: how often files were gone through, as some had changed while they were copied.
        parts: each part.
        changed: what was written to the source since the point, a sentence each.
        notes: what is not in it, and what is to be done now.
        check: whether nothing was done.
    """

    source: str
    destination: str
    point: str = ""
    held_seconds: float = 0.0
    rounds: int = 0
    parts: tuple[PartReport, ...] = ()
    changed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    check: bool = False

    @property
    def equal(self) -> bool:
        """Whether both sides hold the same, in every part that was copied; see :attr:`PartReport.holds`."""
        return all(one.holds for one in self.parts)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        parts = [asdict(one) | {"equal": one.equal} for one in self.parts]
        return asdict(self) | {"parts": parts, "equal": self.equal}


def digest_of(lines: Mapping[str, str]) -> str:
    """Return SHA-256 over what is said of each name, in the order of the names; "" if there are none."""
    if not lines:
        return ""
    return hashlib.sha256("".join(f"{name}\0{lines[name]}\n" for name in sorted(lines)).encode()).hexdigest()
