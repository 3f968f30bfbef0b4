"""Deadlines: what nobody waits for any more is not computed."""

from __future__ import annotations

from typing import Any

from featurestore.errors import DeadlineExceededError


def check_deadline(context: Any) -> None:
    """Check that somebody still waits for the answer of a call.

    gRPC cancels a call whose deadline passes, but only once the loop gets to it: behind a long queue of requests, those
    whose callers have given up would be computed before, and the queue would never get shorter.

    Args:
        context: the call's.

    Raises:
        DeadlineExceededError: the deadline has passed.
    """
    left = context.time_remaining()
    if left is not None and left <= 0:
        raise DeadlineExceededError(
            "The deadline passed before the server got to the call.", hint="Allow more time, or add servers."
        )
