"""What an erasure did, for the user and for the receipt; no key is in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from featurestore import markup


@dataclass(frozen=True, kw_only=True)
class PlaceReport:
    """What was erased in one place.

    Attributes:
        place: its name.
        rows: in all files and copies.
        files: written anew, or removed.
        waiting: files of writers at work, in which rows may still be.
    """

    place: str
    rows: int
    files: int
    waiting: int = 0


@dataclass(frozen=True, kw_only=True)
class ErasureReport:
    """What an erasure did, or in a dry run would do.

    Attributes:
        request: whose wish it was.
        entity: whose members were erased.
        keys: how many.
        suppressed: how many of them no load could bring back before, and now none can.
        dry_run: whether nothing was done.
        places: what was erased where.
        notes: what the user should know.
        not_reached: what no erasure reaches, a sentence each: sources, files that were written, other projects,
            backups, models, and requests that still ask.
    """

    request: str
    entity: str
    keys: int
    suppressed: int
    dry_run: bool
    places: tuple[PlaceReport, ...]
    notes: tuple[str, ...] = ()
    not_reached: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        """What a notebook shows: rows by place, and what no erasure reaches; no key."""
        rows = [(one.place, f"{one.rows:,}", f"{one.files:,}", f"{one.waiting:,}") for one in self.places]
        done = "would be erased" if self.dry_run else "erased"
        caption = f"Request {self.request}: {self.keys:,} keys of {self.entity} {done}"
        said = markup.table(("place", "rows", "files", "waiting"), rows, caption=caption)
        return markup.text_of(said, markup.listed((*self.notes, *self.not_reached)))

    @property
    def rows(self) -> int:
        """Rows of all places."""
        return sum(one.rows for one in self.places)

    @property
    def finished(self) -> bool:
        """Whether nothing waits for a writer that is at work."""
        return not any(one.waiting for one in self.places)

    def receipt(self) -> Mapping[str, Any]:
        """Return what the audit log keeps: counts, no key."""
        return {
            "request": self.request,
            "keys": self.keys,
            "finished": self.finished,
            "places": {one.place: {"rows": one.rows, "files": one.files} for one in self.places if one.files},
        }

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self) | {"rows": self.rows, "finished": self.finished}
