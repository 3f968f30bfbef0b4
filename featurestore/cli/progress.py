"""A bar for what takes longer than two seconds, where somebody looks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console

#: Seconds until a bar appears; what is done by then needs none.
_PATIENCE = 2.0


class RowsDone(Protocol):
    """Counts rows that are done."""

    def __call__(self, count: int, total: int | None = None) -> None:
        """Count rows more; ``total`` is how many there are in all, where that is known."""
        ...


@contextmanager
def rows_done(text: str, *, console: Console | None = None, patience: float = _PATIENCE) -> Iterator[RowsDone]:
    """Show how many rows are done while the block runs, if it runs long and standard error is a terminal.

    Args:
        text: what is being done, or the name of what it is done to.
        console: where to show it; standard error when not given.
        patience: seconds until the bar appears.

    Yields:
        A function that counts rows more; what has no count to give leaves it alone, and a clock runs.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = console or Console(stderr=True)
    if not console.is_terminal:  # where output is kept, what matters is printed when the step is done
        yield lambda count, total=None: None  # noqa: ARG005
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[done]}"),
        TimeElapsedColumn(),
    )
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task(text, total=None, done="")
    rows = 0

    def more(count: int, total: int | None = None) -> None:
        nonlocal rows
        rows += count
        if total is None:
            bar.update(task, done=f"{rows:,} rows")
        else:
            bar.update(task, completed=rows, total=total, done=f"{rows:,} of {total:,} rows")

    # A timer, as a long query may call nobody for a while.
    timer = threading.Timer(patience, bar.start)
    timer.daemon = True
    timer.start()
    try:
        yield more
    finally:
        timer.cancel()
        timer.join()
        bar.stop()
