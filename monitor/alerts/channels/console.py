"""The terminal, or the service manager's journal: one readable block a message."""

from __future__ import annotations

from datetime import datetime

from rich.console import Console as Terminal
from rich.text import Text

from featurestore.settings.channels import ConsoleConfig
from monitor.alerts.base import Message, Outcome, Status
from monitor.alerts.wording import Limits, Template, words

_COLOURS = {"bad": "bold red", "warning": "bold yellow", "good": "bold green", "neutral": "bold"}
_LIMITS = Limits(first=500, line=500, text=10_000)


class Console:
    """Prints each message on standard error.

    Args:
        name: the channel's name in ``featurestore.toml``.
        config: its section.
        terminal: where to print; standard error when not given.

    Raises:
        ConfigError: a template has an unknown name.
    """

    def __init__(self, name: str, config: ConsoleConfig, terminal: Terminal | None = None) -> None:
        self.name = name
        self.rehearsals = config.rehearsals
        self._template = Template(name, config)
        self._terminal = terminal if terminal is not None else Terminal(stderr=True, highlight=False)

    def close(self) -> None:
        """There is nothing to release."""

    def deliver(self, message: Message, *, now: datetime) -> Outcome:  # noqa: ARG002 - the protocol's signature
        """Print the message; see :class:`monitor.alerts.base.Channel`."""
        said = words(message, _LIMITS, self._template)
        # A terminal of another encoding shows a question mark for what it does not have.
        block = Text(said.text().encode(self._terminal.encoding, "replace").decode(self._terminal.encoding))
        block.stylize(_COLOURS[said.tone], 0, len(said.first))
        try:
            self._terminal.print(block, soft_wrap=True)
        except (OSError, ValueError) as error:  # a closed pipe, a closed file
            return Outcome(Status.RETRY, f"the terminal cannot be written: {error}", untaken=True)
        return Outcome(Status.DELIVERED)

    def probe(self, *, now: datetime) -> Outcome:  # noqa: ARG002
        """Find out whether there is a terminal or a file to print to; see :class:`monitor.alerts.base.Channel`."""
        if self._terminal.file.closed:
            return Outcome(Status.RETRY, "the terminal cannot be written: it is closed")
        return Outcome(Status.DELIVERED)
