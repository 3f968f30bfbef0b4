"""Search: objects by what people call them, or by what they wrote about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from featurestore.registry.versions import Stored

#: How much a match counts, by where it is: what is named so before what only mentions it.
_EXACT, _BEGINS, _PART = 8, 4, 2
_NAME, _FIELD, _TAG, _DESCRIPTION = 8, 4, 2, 1


@dataclass(frozen=True, kw_only=True)
class Match:
    """An object that was found.

    Attributes:
        kind: ``feature_view`` and so on.
        name: the object.
        version: its current version.
        description: what its definition says of it.
        where: the places that match: ``name``, ``field temp``, ``tag pii=true``, ``description: ...``.
        score: the higher, the better it matches.
    """

    kind: str
    name: str
    version: int
    description: str
    where: tuple[str, ...]
    score: int

    @property
    def id(self) -> str:
        """``weather@1``."""
        return f"{self.name}@{self.version}"

    def to_json(self) -> dict[str, Any]:
        """Return the match as JSON values."""
        return {
            "id": self.id,
            "kind": self.kind,
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "where": list(self.where),
            "score": self.score,
        }


def match(stored: Stored, words: tuple[str, ...]) -> Match | None:
    """Return how an object matches a search, or None if one of the words is nowhere in it.

    Args:
        stored: the object's current version.
        words: in small letters.
    """
    places = list(_places(stored.row.name, stored.spec, stored.notes))
    where: dict[str, None] = {}
    score = 0
    for word in words:
        found = [(weight * _closeness(text.casefold(), word), place) for text, weight, place in places]
        found = [(points, place) for points, place in found if points]
        if not found:
            return None
        score += max(points for points, _ in found)
        where |= dict.fromkeys(place for _, place in sorted(found, key=lambda one: -one[0]))
    return Match(
        kind=stored.row.kind,
        name=stored.row.name,
        version=stored.row.version,
        description=stored.notes.get("description", ""),
        where=tuple(where),
        score=score,
    )


def _closeness(text: str, word: str) -> int:
    if text == word:
        return _EXACT
    return _BEGINS if text.startswith(word) else _PART if word in text else 0


def _places(name: str, spec: Mapping[str, Any], notes: Mapping[str, Any]) -> Iterator[tuple[str, int, str]]:
    """Yield each text that is searched, what a match there counts, and how the place is called."""
    yield name, _NAME, "name"
    yield from _written(notes, "")
    for key, called in (("schema", "field"), ("request", "request field")):
        for one, about in zip(spec.get(key) or (), notes.get(key) or (), strict=False):
            yield one["name"], _FIELD, f"{called} {one['name']}"
            yield from _written(about, f" of {called} {one['name']}")
    for use in (*(spec.get("features") or ()), *(one.get("use", {}) for one in spec.get("inputs") or ())):
        if "name" in use:
            yield use["name"], _FIELD, f"use {use['name']}"
    for key, _ in spec.get("join_keys") or ():
        yield key, _FIELD, f"join key {key}"


def _written(notes: Mapping[str, Any], of: str) -> Iterator[tuple[str, int, str]]:
    for tag, value in (notes.get("tags") or {}).items():
        yield tag, _TAG, f"tag {tag}={value}{of}"
        yield value, _TAG, f"tag {tag}={value}{of}"
        yield f"{tag}={value}", _TAG, f"tag {tag}={value}{of}"
    if notes.get("owner"):
        yield notes["owner"], _TAG, f"owner {notes['owner']}{of}"
    if notes.get("description"):
        yield notes["description"], _DESCRIPTION, f"description{of}: {notes['description']}"
