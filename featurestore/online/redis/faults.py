"""What goes wrong with a server, as sentences that say what to do. No password is ever part of one."""

from __future__ import annotations

import os
import re
import ssl

from featurestore.errors import OnlineStoreAwayError, OnlineStoreError

#: What a server says while it is being replaced, or starts; it passes.
PASSING = ("LOADING", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "MASTERDOWN", "NOREPLICAS")

#: How a server says inside of a script what is NOPERM outside.
_NO_RIGHT = ("The user executing the script can't", "ACL failure in script", "No permission")

#: What the system's number is in the words of a library that has taken it off its error.
_NUMBER = re.compile(r"\[Errno (\d+)\]")

#: A deadline is met by so much: the time that the refusal takes.
_MARGIN_SECONDS = 0.02


def away(where: str, why: object) -> OnlineStoreAwayError:
    """Return the error for a server that does not answer.

    Args:
        where: its address.
        why: what the system, or the library, says.
    """
    cause = why.__cause__ or why.__context__ if isinstance(why, Exception) else None
    if isinstance(why, ssl.SSLError) or isinstance(cause, ssl.SSLError):
        return OnlineStoreAwayError(
            f"The online store at {where} cannot be reached by TLS: {_said(cause or why)}.",
            hint="Check [online.tls] in featurestore.toml: ca_file, certificate and key, and the name in addresses.",
        )
    return OnlineStoreAwayError(
        f"The online store at {where} is away: {_said(why)}.",
        hint="Start it, or check [online] in featurestore.toml; what needs it goes on by itself when it is back.",
    )


class LateError(OnlineStoreAwayError):
    """There is no answer, and no time left to try again."""


def before(seconds: float) -> float:
    """Return the seconds after which to give up for a caller who needs an answer within others: telling takes time."""
    return max(seconds - _MARGIN_SECONDS, seconds / 2)


def late(where: str, seconds: float) -> LateError:
    """Return the error for a server that does not answer as soon as a caller needs it.

    Args:
        where: its address.
        seconds: that the caller gave.
    """
    error = away(where, f"no answer within {seconds * 1000:.0f} ms")
    return LateError(error.message, hint=error.hint)


def refused(where: str, said: str) -> OnlineStoreError:
    """Return the error for what a server answers when it will not.

    Args:
        where: its address.
        said: its answer, ``NOPERM ...``.
    """
    said = said.rstrip(".")
    code = said.partition(" ")[0]
    if code in PASSING:
        return OnlineStoreAwayError(
            f"The online store at {where} is not ready: {said}.",
            hint="It starts, or another server takes over; what needs it goes on by itself then.",
        )
    hints = {
        "NOAUTH": "Give [online] a password in featurestore.toml: ${NAME} of the environment, or file:PATH.",
        "WRONGPASS": "Check user and password under [online] in featurestore.toml.",
        "NOPERM": "Give the user the commands and keys that docs/scaling.md lists: ACL SETUSER.",
        "OOM": "The server has no memory left: raise its maxmemory, or serve fewer rows.",
        "MISCONF": "The server cannot write its snapshot: its own log says why.",
        "CROSSSLOT": 'The server is a cluster: write mode = "cluster" under [online] in featurestore.toml.',
        "MOVED": 'The server is a cluster: write mode = "cluster" under [online] in featurestore.toml.',
    }
    if code == "ERR" and any(words in said for words in _NO_RIGHT):
        hint = hints["NOPERM"]
    elif "cluster support disabled" in said:
        hint = 'The server is no cluster: write mode = "single" under [online] in featurestore.toml.'
    else:
        hint = hints.get(code, "It has to be Redis 7 or later, or Valkey.")
    return OnlineStoreError(f"The online store at {where} refuses: {said}.", hint=hint)


def _said(why: object) -> str:
    """Return why, in the system's own words where it is the system that says so: each library wraps them in others."""
    text = str(why).rstrip(".") or type(why).__name__
    error = why if isinstance(why, Exception) and not isinstance(why, TimeoutError) else None
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            # The resolver's numbers are its own.
            return os.strerror(error.errno) if error.errno > 0 else error.strerror or text
        found = _NUMBER.search(str(error)) if isinstance(error, OSError) else None
        if found is not None:
            return os.strerror(int(found[1]))
        cause = error.__cause__ or error.__context__
        error = cause if isinstance(cause, Exception) else None
    return text
