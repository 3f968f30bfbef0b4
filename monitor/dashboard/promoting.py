"""Deciding on a promotion from a page: what ``featurestore approve`` and ``featurestore reject`` do."""

from __future__ import annotations

from featurestore.errors import MonitorError, ObjectNotFoundError
from monitor.dashboard.page import Doing
from monitor.dashboard.reading import Reader


def decide_promotion(reader: Reader, doing: Doing, service: str, number: int, *, approve: bool) -> str:
    """Approve or turn down a promotion of a service, and return what was decided.

    Args:
        reader: of the store.
        doing: who asks.
        service: of the page on which the promotion stood.
        number: the promotion's.
        approve: or turn it down.

    Raises:
        MonitorError: this is a rehearsal.
        ObjectNotFoundError: the service has no such promotion.
        RegistryError: it was decided, or not by this person: who approves has proved who they are, and has neither
            asked for it nor made the version; or the rows that the version would serve are behind.
    """
    if reader.config.replay:
        raise MonitorError("A rehearsal moves no alias.")
    with reader.acting_as(doing.who) as store:
        waiting = store.registry.promotion(number)
        if waiting.service != service:
            raise ObjectNotFoundError(f'Service "{service}" has no promotion {number}.')
        if not approve:
            done = store.reject(number)
            return f"Promotion {number} is rejected: {done.id} does not become {done.alias} of {done.service}."
        done = store.approve(number)
    if done.state == "approved":
        return f"Promotion {number} is approved: {done.alias} of {done.service} is now {done.id}."
    return f"Promotion {number} is approved by {', '.join(done.decided_by)}, and needs more approvals."
