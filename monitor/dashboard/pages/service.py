"""One service: its versions and aliases, its features, its models, and what was judged of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from featurestore.errors import FeatureStoreError
from featurestore.registry.aliases import CANARY, PRODUCTION
from monitor.alerts.showing import incident_values
from monitor.dashboard.page import Action, Asked, Doing, Page, Values
from monitor.dashboard.pages.models import model_values
from monitor.dashboard.pages.services import aliases_of
from monitor.dashboard.people import Role
from monitor.dashboard.promoting import decide_promotion
from monitor.dashboard.reading import Reader
from monitor.dashboard.rolling_back import roll_back
from monitor.dashboard.series import streams_of

#: Incidents that are listed, of those that go on.
_MANY = 20


def read(reader: Reader, asked: Asked) -> Values:
    """Return everything about a service.

    Raises:
        ObjectNotFoundError: there is no such service.
    """
    name, registry = asked.path["name"], reader.registry
    service = registry.service(name)
    about = registry.show(service.name)
    faults: list[dict[str, str]] = []
    aliases = aliases_of(registry, service.name)
    models = sorted(registry.models(service.name), key=lambda one: one.created_at, reverse=True)
    return {
        "title": f"Service {service.name}",
        "name": service.name,
        "id": service.id,
        "description": about["definition"].get("description", ""),
        "owner": about["definition"].get("owner", ""),
        "aliases": aliases,
        "versions": about["versions"],
        "current_version": about["current_version"],
        "used_by": about["used_by"],
        "features": [
            {"view": view, "feature": one.name, "type": str(one.dtype), "pii": one.pii}
            for view, fields in service.definition.outputs.items()
            for one in fields
        ],
        "models": [model_values(one) for one in models],
        "promotions": [
            {
                "number": one.number,
                "version": one.id,
                "alias": one.alias,
                "share": one.share if one.alias == CANARY else None,
                "approved_by": list(one.decided_by),
                "requested_by": one.requested_by,
                "requested_at": one.requested_at.isoformat(),
            }
            for one in registry.promotions(service.name)
            if one.state == "pending"
        ],
        "back": next((one for one in aliases if one["alias"] == PRODUCTION and one["before"]), None)
        if not reader.config.replay
        else None,
        **_watched(reader, service.name, faults),
        "faults": faults,
    }


def _watched(reader: Reader, name: str, faults: list[dict[str, str]]) -> dict[str, Any]:
    try:
        history = reader.history
        with history.read() as connection:
            known = streams_of(connection, reader.policies())
            streams = [one for one in known if one.service.partition("@")[0] == name]
            incidents = [
                one
                for one in history.open_incidents(connection)
                if any(member.service.partition("@")[0] == name for member in one.members)
            ]
    except FeatureStoreError as error:
        faults.append({"what": error.message, "hint": error.hint})
        return {"streams": [], "incidents": []}
    return {
        "streams": [{"policy": one.policy, "service": one.service, "baseline": one.baseline} for one in streams],
        "incidents": [incident_values(one) for one in incidents[:_MANY]],
    }


def _roll_back(reader: Reader, doing: Doing) -> str:
    return roll_back(reader, doing, doing.path["name"])


def _approve(reader: Reader, doing: Doing) -> str:
    return decide_promotion(reader, doing, doing.path["name"], int(doing.path["number"]), approve=True)


def _reject(reader: Reader, doing: Doing) -> str:
    return decide_promotion(reader, doing, doing.path["name"], int(doing.path["number"]), approve=False)


def _back(path: Mapping[str, str]) -> str:
    return f"/services/{path['name']}"


PAGE = Page(
    name="service",
    path="/services/{name}",
    read=read,
    twin=lambda asked: ("show", asked.path["name"]),
)
_PROMOTION = "/services/{name}/promotions/{number:int}"
ACTIONS = (
    Action(path="/services/{name}/rollback", role=Role.operator, act=_roll_back, back=_back),
    Action(path=f"{_PROMOTION}/approve", role=Role.approver, act=_approve, back=_back),
    Action(path=f"{_PROMOTION}/reject", role=Role.approver, act=_reject, back=_back),
)
