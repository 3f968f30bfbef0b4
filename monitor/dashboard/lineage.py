"""Lineage as a drawing: boxes in columns, from what something comes from to what comes from it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from featurestore.lineage import Lineage

#: Boxes that people can read in one drawing; the rest is in the text.
MOST = 40
_WIDTH, _HEIGHT, _ACROSS, _DOWN, _EDGE = 200, 44, 60, 14, 8
#: Letters that a box has room for.
_LETTERS = 26


def drawing_of(found: Lineage) -> dict[str, Any]:
    """Return boxes and lines with their places, as JSON values.

    Returns:
        ``boxes`` (each with ``x``, ``y``, ``name``, ``kind``, ``root``, ``href``), ``lines`` (each with the points of a
        curve), ``width``, ``height``, and how many nodes were ``left_out``.
    """
    edges = [(one.source, one.target) for one in found.edges]
    layers = _layers(found.root.id, edges)
    nodes = {one.id: one for one in (found.root, *found.upstream, *found.downstream)}
    shown = sorted((one for one in nodes if one in layers), key=lambda one: (abs(layers[one]), one))[:MOST]
    columns: dict[int, list[str]] = {}
    for one in shown:
        columns.setdefault(layers[one], []).append(one)
    tallest = max((len(one) for one in columns.values()), default=0)
    places: dict[str, tuple[int, int]] = {}
    for column, layer in enumerate(sorted(columns)):
        above = (tallest - len(columns[layer])) * (_HEIGHT + _DOWN) // 2
        for row, one in enumerate(columns[layer]):
            places[one] = (_EDGE + column * (_WIDTH + _ACROSS), _EDGE + above + row * (_HEIGHT + _DOWN))
    return {
        "boxes": [
            {
                "x": x,
                "y": y,
                "name": nodes[one].name,
                "shown": _cut(nodes[one].name),
                "kind": nodes[one].kind.replace("_", " "),
                "pii": nodes[one].pii,
                "root": one == found.root.id,
            }
            for one, (x, y) in places.items()
        ],
        "lines": [
            _curve(places[source], places[target]) for source, target in edges if source in places and target in places
        ],
        "width": 2 * _EDGE + len(columns) * (_WIDTH + _ACROSS) - _ACROSS if columns else 0,
        "height": 2 * _EDGE + tallest * (_HEIGHT + _DOWN) - _DOWN if columns else 0,
        "left_out": len(nodes) - len(shown),
    }


def _layers(root: str, edges: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Return how many steps each node is behind the root, or before it: the longest way counts."""
    into: dict[str, list[str]] = {}
    out: dict[str, list[str]] = {}
    for source, target in edges:
        out.setdefault(source, []).append(target)
        into.setdefault(target, []).append(source)
    layers = {root: 0}
    for step, sign in ((out, 1), (into, -1)):
        _walk(root, lambda one, step=step: step.get(one, []), sign, layers)  # type: ignore[misc]
    return layers


def _walk(root: str, step: Callable[[str], list[str]], sign: int, layers: dict[str, int]) -> None:
    front, distance = [root], 0
    # A graph of definitions has no cycle; should one be made, its length bounds this.
    while front and distance < MOST:
        distance += 1
        front = list(dict.fromkeys(after for one in front for after in step(one)))
        for one in front:
            if one != root:
                layers[one] = sign * distance


def _curve(start: tuple[int, int], end: tuple[int, int]) -> str:
    x, y = start[0] + _WIDTH, start[1] + _HEIGHT // 2
    to_x, to_y = end[0], end[1] + _HEIGHT // 2
    half = (to_x - x) // 2
    return f"M{x} {y}C{x + half} {y} {to_x - half} {to_y} {to_x} {to_y}"


def _cut(name: str) -> str:
    return name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…"
