"""A plan as text, after Terraform's: ``+`` comes, ``~`` changes, ``-`` goes, ``!`` breaks users."""

from __future__ import annotations

import difflib
import json
import textwrap
from collections.abc import Iterator
from typing import Any

from featurestore.registry.differences import Difference

_INDENT = "      "
_DEEPER = _INDENT + "    "


def render_difference(difference: Difference) -> Iterator[str]:
    """Yield the lines of one value that changes; texts of several lines are shown as such, changed ones as a diff."""
    path, old, new = difference.path, difference.old, difference.new
    if isinstance(old, str) and isinstance(new, str) and "\n" in old + new:
        yield f"{_INDENT}~ {path}:"
        yield from _changed_text(old, new)
    elif old is None:
        yield from _value("+", path, new)
    elif new is None:
        yield from _value("-", path, old)
    else:
        yield f"{_INDENT}~ {path}: {_shown(old)} -> {_shown(new)}"


def _value(sign: str, path: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict) and not _is_field(value) and not _is_plain(value):
        for key, inner in value.items():
            if inner not in (None, "", [], {}):
                yield from _value(sign, f"{path}.{key}", inner)
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for inner in value:
            yield from _value(sign, f"{path}.{inner.get('name') or len(path)}", inner)
    elif isinstance(value, str) and "\n" in value:
        yield f"{_INDENT}{sign} {path} ="
        yield from (f"{_DEEPER}{line}" for line in _lines(value))
    else:
        yield f"{_INDENT}{sign} {path} = {_shown(value)}"


def _is_plain(value: dict[str, Any]) -> bool:
    """Whether a mapping reads best on one line: names with types, or references."""
    return all(_is_field(inner) or _is_reference(key, inner) for key, inner in value.items())


def _is_field(value: Any) -> bool:
    return isinstance(value, dict) and "dtype" in value


def _is_reference(name: str, value: Any) -> bool:
    return isinstance(value, str) and (value.startswith(f"{name}@") or value.isalnum())


def _shown(value: Any) -> str:
    if _is_field(value):
        checks = (f"{name}={json.dumps(inner, ensure_ascii=False)}" for name, inner in value.items() if name != "dtype")
        return ", ".join([value["dtype"], *checks])
    if isinstance(value, dict) and _is_plain(value):
        parts = [
            f"{name} {inner['dtype']}" if _is_field(inner) else inner if "@" in inner else f"{name} {inner}"
            for name, inner in value.items()
        ]
        return ", ".join(parts) or "none"
    return json.dumps(value, ensure_ascii=False)


def _changed_text(old: str, new: str) -> Iterator[str]:
    for line in difflib.ndiff(_lines(old), _lines(new)):
        if not line.startswith("?"):
            yield f"{_DEEPER}{line}".rstrip()


def _lines(text: str) -> list[str]:
    # The first line of a literal stands beside its quotes; the others carry the indentation of the file.
    first, _, rest = text.strip().partition("\n")
    return [first, *textwrap.dedent(rest).splitlines()] if rest else [first]
