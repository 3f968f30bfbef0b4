"""Rolling a service back from a page: what ``featurestore rollback`` does, to the version that the page has shown."""

from __future__ import annotations

from featurestore.errors import MonitorError
from monitor.dashboard.page import Doing
from monitor.dashboard.reading import Reader


def roll_back(reader: Reader, doing: Doing, service: str) -> str:
    """Point the alias production of a service to the version that a form names, and return what was done.

    Raises:
        MonitorError: the form names none, nobody said to be sure, or this is a rehearsal.
        FeatureStoreError: the store refuses.
    """
    if reader.config.replay:
        raise MonitorError("A rehearsal moves no alias.")
    to = doing.form.get("to", "")
    if doing.form.get("sure") != "yes" or not to.isdecimal():
        raise MonitorError(
            "Nothing was rolled back, as nobody said to be sure.", hint="Tick the box, and send it again."
        )
    with reader.acting_as(doing.who) as store:
        alias = store.rollback(service, to=int(to))
    return "The canary has ended." if alias is None else f"The alias {alias.alias} points to {alias.id} again."
