"""What the code says of itself, as Markdown: one function for each mark of a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from _reference.commands import commands
from _reference.contract import contract
from _reference.errors import errors
from _reference.measured import measured
from _reference.monitor import monitor
from _reference.python import python
from _reference.results import results

#: By the name in the mark.
PAGES: Mapping[str, Callable[[], str]] = {
    "commands": commands,
    "contract": contract,
    "errors": errors,
    "measured": measured,
    "monitor": monitor,
    "python": python,
    "results": results,
}
