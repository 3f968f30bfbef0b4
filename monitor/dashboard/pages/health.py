"""The health of the configuration: what ``featurestore doctor`` says, once somebody asks for it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from featurestore.doctor import State, examine
from monitor.dashboard.page import Asked, Page, Values
from monitor.dashboard.reading import Reader


def read(reader: Reader, asked: Asked) -> Values:
    """Return what was found, what is at fault first; nothing where nobody has asked.

    It calls on every store and channel, which takes seconds: it is not done each time that something changes.
    """
    looked = "look" in asked.query
    found = examine(reader.config.root) if looked else []
    order = {State.fault: 0, State.warning: 1, State.well: 2}
    findings: list[dict[str, Any]] = [
        asdict(one) | {"state": one.state.value} for one in sorted(found, key=lambda one: order[one.state])
    ]
    return {
        "title": "Health",
        "looked": looked,
        "findings": findings,
        "faults": sum(one["state"] == "fault" for one in findings),
        "warnings": sum(one["state"] == "warning" for one in findings),
    }


PAGE = Page(
    name="health",
    path="/health",
    menu="Health",
    read=read,
    twin=lambda _: ("doctor",),
    query=("look",),
    seconds=60,
    steady=True,
)
