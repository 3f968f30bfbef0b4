"""Who acts, when nobody has authenticated."""

from __future__ import annotations

import getpass
import os
import socket


def current_user() -> str:
    """Return the operating system's user and host, marked as what it is: ``ada@laptop (unverified)``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that has no name
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()} (unverified)"
