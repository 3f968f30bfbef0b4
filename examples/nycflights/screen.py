"""What the demo prints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console


class Screen:
    """Numbered steps, each with what happened and how long it took."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self._steps = 0

    @property
    def is_terminal(self) -> bool:
        """Whether somebody looks on, so that a moving bar makes sense."""
        return self.console.is_terminal

    @contextmanager
    def step(self, title: str) -> Iterator[Callable[[str], None]]:
        """Announce a step; the function it yields prints one line of what happened."""
        self._steps += 1
        self.console.print(f"[bold cyan]{self._steps:>2}[/]  [bold]{title}[/]")
        started = time.monotonic()
        yield lambda line: self.console.print(f"    {line}", markup=False)
        self.console.print(f"    [dim]{time.monotonic() - started:.1f} s[/]")

    def fail(self, message: str, hint: str = "") -> None:
        """Say why the demo stops."""
        error = Console(stderr=True, highlight=False, soft_wrap=True)
        error.print(f"[bold red]Error:[/] {message}")
        if hint:
            error.print(f"[bold]Hint:[/] {hint}")

    def closing(self, summary: dict[str, Any], folder: Path) -> None:
        """Print the summary and where to look next."""
        self.console.print("\n[bold]Summary[/]")
        for name, value in summary.items():
            shown = ", ".join(value) if isinstance(value, list) else f"{value:,}" if isinstance(value, int) else value
            self.console.print(f"    {name.replace('_', ' '):<20} {shown}", markup=False)
        place = folder.absolute()
        if place.is_relative_to(Path.cwd()):
            place = place.relative_to(Path.cwd())
        self.console.print(f"\nThe store is in {place}/repo. Look around:")
        for command in (
            "status",
            "quarantine weather",
            "monitor status --replay july",
            "dashboard --replay july",
        ):
            self.console.print(f"    .venv/bin/featurestore {command} --repo {place}/repo", markup=False)
