"""Every command with its arguments and options, from the tree that the terminal runs."""

from __future__ import annotations

import html
import inspect
import re
from collections.abc import Iterator
from enum import Enum
from typing import Any

from featurestore.cli.app import build
from featurestore.cli.tree import command_of


def commands() -> str:
    """Return the page: a heading for each command, groups before what is in them."""
    return "\n".join(_lines("featurestore", command_of(build()), depth=2))


def _lines(path: str, command: Any, *, depth: int) -> Iterator[str]:
    for name, one in command.commands.items():
        if one.hidden:
            continue
        yield from (f"{'#' * depth} `{path} {name}`", "", _prose(one.help), "")
        if hasattr(one, "commands"):
            yield from _lines(f"{path} {name}", one, depth=depth + 1)
            continue
        yield from ("```text", " ".join([path, name, *(_usage(each) for each in _shown(one))]), "```", "")
        rows = [f"| {_names(each)} | {_default(each)} | {_cell(each.help)} |" for each in _shown(one)]
        if rows:
            yield from ("| | default | |", "| --- | --- | --- |", *rows, "")


def _shown(command: Any) -> list[Any]:
    return [one for one in command.params if not one.hidden and one.name != "help"]


def _is_argument(parameter: Any) -> bool:
    return not parameter.opts[0].startswith("-")


def _usage(parameter: Any) -> str:
    text = _metavar(parameter) if _is_argument(parameter) else parameter.opts[0]
    if not _is_argument(parameter) and not parameter.is_flag:
        text += f" {_metavar(parameter)}"
    text += " ..." if parameter.nargs == -1 or getattr(parameter, "multiple", False) else ""
    return text if parameter.required else f"[{text}]"


def _metavar(parameter: Any) -> str:
    kind = parameter.type_descriptor.annotation
    if inspect.isclass(kind) and issubclass(kind, Enum):
        return "|".join(str(one.value) for one in kind)
    return str(parameter.metavar or parameter.name.upper())


def _names(parameter: Any) -> str:
    if _is_argument(parameter):
        return f"`{_metavar(parameter)}`"
    return ", ".join(f"`{one}`" for one in (*parameter.opts, *parameter.secondary_opts))


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    if value in (None, "", ()) or value == [] or getattr(parameter, "is_flag", False) or callable(value):
        return ""
    return f"`{getattr(value, 'value', value)}`"


def _prose(text: str | None) -> str:
    return html.escape(re.sub(r"(?<!\n)\n(?!\n)", " ", text or ""), quote=False)


def _cell(text: str | None) -> str:
    return _prose(text).replace("\n", " ").replace("|", "\\|")
