"""A question before what cannot be taken back."""

from __future__ import annotations

import signal
import sys

import typer

from featurestore.errors import DataError


def confirmed(question: str, *, err: bool = False) -> bool:
    """Ask at the terminal, and return whether the answer is yes; Ctrl-C interrupts the command.

    Args:
        question: what is to be answered by yes or no.
        err: whether it goes to standard error, as standard output is for a program.

    Raises:
        DataError: there is no terminal to answer at.
    """
    if not sys.stdin.isatty():
        raise DataError(
            f'"{question}" cannot be asked where there is no terminal, and nothing was changed.',
            hint="Pass --yes; --dry-run only shows what would be done.",
        )
    # A library's handler of Ctrl-C may have asked the system to read on as if nothing had happened.
    if hasattr(signal, "siginterrupt"):  # not on Windows
        signal.siginterrupt(signal.SIGINT, True)
    return typer.confirm(question, err=err)
