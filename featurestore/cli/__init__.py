"""The command ``featurestore``."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line and exit: 0 done, 1 error, 130 interrupted.

    A user's mistake is one sentence and a hint; ``--debug``, anywhere on the line, shows the traceback.
    """
    try:
        from featurestore.cli.app import run
    except KeyboardInterrupt:
        # Loading takes a moment, in which somebody may think better of it.
        sys.stderr.write("Interrupted.\n")
        sys.exit(130)
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    code = run([one for one in arguments if one != "--debug"], debug=debug)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (head, less) has gone; without this Python complains once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
