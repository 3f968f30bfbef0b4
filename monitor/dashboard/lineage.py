"""Lineage as a drawing: boxes, from what something comes from to what comes from it. Pure.

It is drawn in two ways. Across, a column of boxes for each step, where that fits beside the rest of a page. And down,
one box below the other with the lines at their left, which fits onto a phone however many steps there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from featurestore.lineage import Lineage, Node

#: Boxes that people can read in one drawing; the rest is in the text.
MOST = 40
#: Columns that fit beside the rest of a page, with letters of a size that people can read.
COLUMNS = 3
_WIDTH, _HEIGHT, _ACROSS, _DOWN, _EDGE = 200, 44, 60, 14, 8
#: Down: as wide as a phone leaves it.
_BOX, _GUTTER, _GAP = 264, 48, 12
#: Pixels of a letter, at the most that most have.
_LETTER = 7


def drawing_of(found: Lineage) -> dict[str, Any]:
    """Return boxes and lines with their places, as JSON values.

    Returns:
        ``boxes`` (each with ``name``, ``kind``, ``root``, ``pii``), how many nodes were ``left_out``, and two drawings
        of them, ``across`` and ``down``, each with ``boxes`` (which have ``x``, ``y``, and ``shown``, the name as it
        fits), ``lines`` (the points of a curve each), ``width``, ``height``, and the width of a ``box``. ``across`` is
        None where it would be too wide.
    """
    edges = [(one.source, one.target) for one in found.edges]
    layers = _layers(found.root.id, edges)
    nodes = {one.id: one for one in (found.root, *found.upstream, *found.downstream)}
    shown = sorted((one for one in nodes if one in layers), key=lambda one: (abs(layers[one]), one))[:MOST]
    kept = [(source, target) for source, target in edges if source in shown and target in shown]
    boxes = {one: _box(nodes[one], root=one == found.root.id) for one in shown}
    columns: dict[int, list[str]] = {}
    for one in shown:
        columns.setdefault(layers[one], []).append(one)
    steps = [columns[layer] for layer in sorted(columns)]
    return {
        "boxes": list(boxes.values()),
        "across": _across(steps, kept, boxes) if 0 < len(steps) <= COLUMNS else None,
        "down": _down(steps, kept, boxes),
        "left_out": len(nodes) - len(shown),
    }


def _box(node: Node, *, root: bool) -> dict[str, Any]:
    return {"name": node.name, "kind": node.kind.replace("_", " "), "pii": node.pii, "root": root}


def _across(
    steps: Sequence[Sequence[str]], edges: Sequence[tuple[str, str]], boxes: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    tallest = max(len(one) for one in steps)
    places: dict[str, tuple[int, int]] = {}
    for column, step in enumerate(steps):
        above = (tallest - len(step)) * (_HEIGHT + _DOWN) // 2
        for row, one in enumerate(step):
            places[one] = (_EDGE + column * (_WIDTH + _ACROSS), _EDGE + above + row * (_HEIGHT + _DOWN))
    return {
        "boxes": _placed(places, boxes, _WIDTH),
        "lines": [_curve(places[source], places[target]) for source, target in edges],
        "width": 2 * _EDGE + len(steps) * (_WIDTH + _ACROSS) - _ACROSS,
        "height": 2 * _EDGE + tallest * (_HEIGHT + _DOWN) - _DOWN,
        "box": _WIDTH,
    }


def _down(
    steps: Sequence[Sequence[str]], edges: Sequence[tuple[str, str]], boxes: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    order = [one for step in steps for one in step]
    rows = {one: row for row, one in enumerate(order)}
    places = {one: (_GUTTER, _EDGE + row * (_HEIGHT + _GAP)) for one, row in rows.items()}
    return {
        "boxes": _placed(places, boxes, _BOX),
        "lines": [
            _bow(places[source][1], places[target][1], abs(rows[target] - rows[source])) for source, target in edges
        ],
        "width": _GUTTER + _BOX + _EDGE,
        "height": 2 * _EDGE + len(order) * (_HEIGHT + _GAP) - _GAP,
        "box": _BOX,
    }


def _placed(
    places: Mapping[str, tuple[int, int]], boxes: Mapping[str, Mapping[str, Any]], width: int
) -> list[dict[str, Any]]:
    letters = (width - 20) // _LETTER
    return [
        {"x": x, "y": y, "shown": _cut(boxes[one]["name"], letters), **boxes[one]} for one, (x, y) in places.items()
    ]


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


def _bow(start: int, end: int, steps: int) -> str:
    """Return a line at the left of the boxes, further out the more of them it passes, with a point where it ends."""
    if steps == 1 and end > start:
        x = _GUTTER + 18
        return f"M{x} {start + _HEIGHT}V{end}m-4 -5l4 5l4 -5"
    out = max(2, _GUTTER - 10 - 5 * steps)
    y, to_y = start + _HEIGHT // 2 + 8, end + _HEIGHT // 2 - 8
    return f"M{_GUTTER} {y}C{out} {y} {out} {to_y} {_GUTTER} {to_y}m-5 -4l5 4l-5 4"


def _cut(name: str, letters: int) -> str:
    return name if len(name) <= letters else f"{name[: letters - 1]}…"
