"""Deciding on a retraining signal from a page: what ``featurestore monitor approve`` and ``reject`` do."""

from __future__ import annotations

from monitor.dashboard.page import Doing
from monitor.dashboard.reading import Reader
from monitor.retraining.asking import decide


def decided(reader: Reader, doing: Doing, signal: str, *, approve: bool) -> str:
    """Decide on a signal, and return what was decided.

    Raises:
        MonitorError: there is no such signal, it does not wait for that, or not for this person: who decides has to
            have proved who they are.
    """
    with reader.acting_as(doing.who) as store:
        found = decide(
            store,
            reader.history,
            signal,
            approve=approve,
            reason=doing.form.get("reason", "").strip(),
            who=store.who(),
            now=doing.now,
        )
    return f"Retraining signal {found.id[:12]} of {found.service} is {found.state}."
