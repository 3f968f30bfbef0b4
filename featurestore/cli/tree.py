"""The tree of commands, made as far as it is walked.

Typer reads the signature of every command before it runs one, which takes ten times as long as what most of them do.
Here a command is made when it is asked for: one for a line that is run, all of a group for its ``--help``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from typing import Any

import typer
from typer.main import get_command, get_command_name, get_group
from typer.models import CommandInfo, TyperInfo


def command_of(app: typer.Typer) -> Any:
    """Return the command that an application with a callback is, with its options for the shell's completion."""
    return _with_its_commands(get_command(_alone(app)), app)


class _Commands(Mapping[str, Any]):
    """The commands of a group by their names, in the order in which they were added."""

    def __init__(self, app: typer.Typer) -> None:
        self._makers: dict[str, Callable[[], Any]] = {}
        self._made: dict[str, Any] = {}
        for one in app.registered_commands:
            self._makers[_name(one)] = lambda one=one: get_command(_alone(app, one))  # type: ignore[misc]
        for group in app.registered_groups:
            self._makers[str(group.name)] = lambda group=group: _group(group)  # type: ignore[misc]

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def _alone(app: typer.Typer, *commands: CommandInfo) -> typer.Typer:
    """Return the application without its groups, and with these commands for its own."""
    alone = copy(app)
    alone.registered_commands, alone.registered_groups = list(commands), []
    if commands:
        alone.registered_callback, alone.info, alone._add_completion = None, TyperInfo(), False
    return alone


def _group(info: TyperInfo) -> Any:
    app: Any = info.typer_instance
    group = _with_its_commands(get_group(_alone(app)), app)
    group.name = info.name
    return group


def _with_its_commands(group: Any, app: typer.Typer) -> Any:
    group.commands = _Commands(app)
    return group


def _name(command: CommandInfo) -> str:
    return command.name or get_command_name(command.callback.__name__)  # type: ignore[union-attr]
