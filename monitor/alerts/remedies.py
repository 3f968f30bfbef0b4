"""What to do about a channel that does not take a test, by what it said; pure."""

from __future__ import annotations

import re

#: The first of these that a reason shows. ``{channel}`` is the channel's section.
_REMEDIES: tuple[tuple[str, str], ...] = (
    (
        "certificate is not accepted",
        "Have its certificate renewed, or name the authority that it is from: ca_file under [{channel}].",
    ),
    ("no TLS with it", "Has the port TLS at all? Check scheme, port and security under [{channel}]."),
    ("cannot be resolved", "Check the host under [{channel}], and that this machine can resolve names."),
    ("not a public address", "If it is meant to be there, set that under [{channel}]."),
    ("no connection to", "Check host and port under [{channel}], and that it is up."),
    (
        "did not answer in",
        "Is it up, and does no firewall stand between? timeout_seconds under [{channel}] waits longer.",
    ),
    ("user or the password", "Check user and password under [{channel}]."),
    ("STARTTLS", "Check port and security under [{channel}]."),
    (r"answered 40[13]\b", "Check the secret or the token under [{channel}], and what it may do over there."),
    (r"answered 404\b", "Check the path of the url under [{channel}]."),
    (r"answered 429\b", "It wants fewer messages; try again later."),
    (r"answered 5\d\d\b", "It is at fault itself; try again later, and ask who runs it."),
    ("cannot be written", "Check the path under [{channel}], and the rights of the user who runs the monitor."),
)
_ANY = "Look at [{channel}] in featurestore.toml, and at what it is to reach."
#: What a channel says that knows better.
_SAYS_ITSELF = re.compile(r"; (check|invite|allow)")


def remedy(channel: str, reason: str) -> str:
    """Return what to do, a sentence; "" where the reason says so itself.

    Args:
        channel: its name.
        reason: why it would take no message.
    """
    if _SAYS_ITSELF.search(reason) and "not a public address" not in reason:
        return ""
    found = next((text for pattern, text in _REMEDIES if re.search(pattern, reason)), _ANY)
    return found.format(channel=f"channels.{channel}")
