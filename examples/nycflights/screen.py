"""What the demo prints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


class Screen:
    """Numbered steps, each with what happened and how long it took."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self._steps = 0

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
        table = Table(box=None, show_header=False, padding=(0, 2))
        for name, value in summary.items():
            if isinstance(value, list):
                value = ", ".join(value[:6]) + (" ..." if len(value) > 6 else "")
            table.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
        self.console.print()
        self.console.print(table)
        shown = folder if not folder.is_relative_to(Path.cwd()) else folder.relative_to(Path.cwd())
        self.console.print(f"\nThe store is in {shown}/repo. Look around:")
        for command in ("status", "quarantine weather", "monitor status --replay july"):
            self.console.print(f"    .venv/bin/featurestore {command} --repo {shown}/repo", markup=False)
