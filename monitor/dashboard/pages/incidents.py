"""The incidents: those that go on, and with ``all`` those that are over."""

from __future__ import annotations

from monitor.alerts.incident_state import Incident
from monitor.alerts.showing import incident_values
from monitor.dashboard.page import Asked, Page, Values
from monitor.dashboard.reading import Reader

#: Incidents that are listed, of all there ever were.
_MANY = 200


def read(reader: Reader, asked: Asked) -> Values:
    """Return the incidents, the newest first."""
    everything = "all" in asked.query
    with reader.history.read() as connection:
        found = (
            reader.history.newest_incidents(connection, _MANY)
            if everything
            else reader.history.open_incidents(connection)
        )
    return {"title": "Incidents", "all": everything, "incidents": [_line(one) for one in reversed(found)]}


def _line(incident: Incident) -> dict[str, object]:
    values = incident_values(incident)
    onset = min((one.onset for one in incident.members if one.onset is not None), default=incident.opened_at)
    return values | {"onset": onset.isoformat()}


PAGE = Page(
    name="incidents",
    path="/incidents",
    menu="Incidents",
    read=read,
    twin=lambda asked: ("monitor", "incidents", *(("--all",) if "all" in asked.query else ())),
    query=("all",),
)
