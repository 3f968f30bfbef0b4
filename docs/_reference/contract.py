"""The contract, as its files say it: a heading for each service, message and enumeration, under its own comment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_FOLDER = Path(__file__).parents[2] / "proto" / "featurestore" / "v1"
_FILES = ("serving.proto", "signals.proto")
#: What stands at the left margin, with the comment before it, up to the bracket that closes it there.
_PART = re.compile(
    r"^(?P<comment>(?://[^\n]*\n)*)(?P<text>(?:service|message|enum) (?P<name>\w+) \{(?:\}|.*?^\}))",
    re.MULTILINE | re.DOTALL,
)


def contract() -> str:
    """Return the page: file by file, part by part."""
    return "\n".join(line for name in _FILES for line in _lines(name))


def _lines(name: str) -> Iterator[str]:
    text = (_FOLDER / name).read_text(encoding="utf-8")
    head, _, _ = text.partition("syntax =")
    yield from (f"## `{name}`", "", _plain(head), "")
    for part in _PART.finditer(text):
        yield from (f"### `{part['name']}`", "", _plain(part["comment"]), "", "```proto", part["text"], "```", "")


def _plain(comment: str) -> str:
    return "\n".join(line.removeprefix("//").strip() for line in comment.splitlines())
