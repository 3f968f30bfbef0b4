"""Who acts: a name that was proved by a key, or the operating system's user, marked as unverified.

The two can never look alike. A verified name is letters, digits, ``_``, ``-`` and ``.``; whatever else stands in the
place of a name (a host, a space, the mark itself) was never verified.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
import sys
from pathlib import Path

from featurestore.errors import DefinitionError

_MARK = " (unverified)"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def current_user() -> str:
    """Return the operating system's user and host, marked as what it is: ``ada@laptop (unverified)``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that has no name
        user = f"uid {os.getuid()}"
    # The name may come from the environment, and so hold anything; it must not write lines of its own into a listing.
    user = "".join(one if one.isprintable() else "?" for one in user)
    return f"{user}@{socket.gethostname()}{_MARK}"


def is_verified(who: str) -> bool:
    """Return whether an actor proved its name by a key.

    >>> is_verified("ada"), is_verified("ada@laptop (unverified)")
    (True, False)
    """
    return _NAME.fullmatch(who) is not None


def check_identity_name(name: str) -> str:
    """Return the name of an identity, if it can be one.

    Raises:
        DefinitionError: it cannot; it would read like an unverified name, for one.
    """
    if not _NAME.fullmatch(name):
        raise DefinitionError(
            f"{name!r} cannot name an identity.",
            hint='Use letters, digits, "_", "-" and ".", a letter or a digit first, at most 64 of them.',
        )
    return name


def origin() -> dict[str, str]:
    """Return from where this process acts: its host, and the program that was started.

    The program is ``featurestore`` for the command line, and a script's or server's own name where Python code calls.
    Its arguments and its folder stay out: they may say what nobody meant to keep for ever.
    """
    file = Path(sys.argv[0] if sys.argv else "")
    program = file.parent.name if file.name == "__main__.py" else file.name
    return {"host": socket.gethostname(), "program": {"": "python", "-c": "python -c"}.get(program, program)}
