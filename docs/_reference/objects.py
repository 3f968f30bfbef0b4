"""Classes, functions and constants by where they are imported from, under headings, from their docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from importlib import import_module

#: Classes that users make and hand on, and call nothing of.
_MADE_ONLY = frozenset({"History"})


def pages_of(groups: Mapping[str, Mapping[str, Sequence[str]]]) -> str:
    """Return the groups of a page: by heading, and then by module, the names.

    Raises:
        AttributeError: a module has no such name any more.
    """
    return "\n\n".join(
        f"## {title}\n\n" + "\n\n".join(described(module, name) for module, names in modules.items() for name in names)
        for title, modules in groups.items()
    )


def described(module: str, name: str) -> str:
    """Return one object under a heading of its own: signature and docstring, of a class its public members too."""
    value = getattr(import_module(module), name)
    if name in _MADE_ONLY:
        directive = f".. autoclass:: {module}.{name}"
    elif inspect.isclass(value):
        directive = f".. autoclass:: {module}.{name}\n   :members:\n   :inherited-members: object, tuple, Exception"
    elif inspect.isfunction(value):
        directive = f".. autofunction:: {module}.{name}"
    else:
        directive = f".. autodata:: {module}.{name}"
    return f"### `{name}`\n\n```{{eval-rst}}\n{directive}\n```"
