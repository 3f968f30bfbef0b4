"""The commands of featurestore, for tests that hold a file against them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import typer

from featurestore.cli.app import build


@functools.cache
def _commands() -> Any:
    return typer.main.get_command(build())


def check_command(words: Sequence[str]) -> None:
    """Check that a command line of ours is one: ``["featurestore", "monitor", "start", "--repo", "/store"]``."""
    assert words[0].rpartition("/")[2] == "featurestore", words
    node, rest = _commands(), list(words[1:])
    while hasattr(node, "commands"):
        assert rest[:1], f"{words} names no command"
        assert rest[0] in node.commands, words
        node, rest = node.commands[rest[0]], rest[1:]
    known = {option for parameter in node.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in rest if word.startswith("-")} <= known, words
