"""One view: its definition and versions, its loads, and the rows that were kept aside, by reason; no row is shown."""

from __future__ import annotations

from typing import Any

from featurestore.definitions import FeatureView, OnDemandFeatureView
from featurestore.errors import DataError, FeatureStoreError, ObjectNotFoundError
from monitor.dashboard.page import Action, Asked, Doing, Page, Values
from monitor.dashboard.pages.views import loads_of
from monitor.dashboard.people import Role
from monitor.dashboard.reading import Reader

#: Loads that are listed.
_LOADS = 30
#: Rows in quarantine that are tried again from here: more of them take longer than a browser waits.
MOST_RETRIED = 100_000


def read(reader: Reader, asked: Asked) -> Values:
    """Return everything about a view.

    Raises:
        ObjectNotFoundError: there is no such view.
    """
    name, registry = asked.path["name"], reader.registry
    registered = registry.get(name)
    definition = registered.definition
    if not isinstance(definition, FeatureView | OnDemandFeatureView):
        raise ObjectNotFoundError(f'"{name}" is no view but a {registered.kind.replace("_", " ")}.')
    about = registry.show(name)
    stored = isinstance(definition, FeatureView)
    faults: list[dict[str, str]] = []
    return {
        "title": f"View {registered.name}",
        "name": registered.name,
        "id": about["id"],
        "kind": about["kind"],
        "description": about["definition"].get("description", ""),
        "owner": about["definition"].get("owner", ""),
        "ttl": about["definition"].get("ttl"),
        "entities": list(about["definition"].get("entities", {})),
        "uses": about["uses"],
        "used_by": about["used_by"],
        "versions": about["versions"],
        "current_version": about["current_version"],
        "features": [
            {"feature": one.name, "type": str(one.dtype), "pii": one.pii, "description": one.description}
            for one in definition.schema
        ],
        "stored": stored,
        "loads": loads_of(reader, definition, _LOADS) if isinstance(definition, FeatureView) else [],
        "quarantined": _quarantined(reader, registered.name, faults) if stored else 0,
        "most_retried": MOST_RETRIED,
        "faults": faults,
    }


def _quarantined(reader: Reader, name: str, faults: list[dict[str, str]]) -> int:
    try:
        return reader.store.quarantined_rows(name)
    except FeatureStoreError as error:
        faults.append({"what": error.message, "hint": error.hint})
        return 0


def _retry(reader: Reader, doing: Doing) -> str:
    name, reason = doing.path["name"], doing.form.get("reason", "").strip()
    if not reason:
        raise DataError("No reason is given, so nothing was tried.", hint="Others read why.")
    with reader.acting_as(doing.who) as store:
        rows = store.quarantined_rows(name)
        if rows > MOST_RETRIED:
            raise DataError(
                f"{rows:,} rows are too many to be tried from a page.", hint=f"featurestore quarantine {name} --retry"
            )
        report: Any = store.reingest_quarantine(name, reason=reason)
        left = store.quarantined_rows(name)
    return f"{report}; still in quarantine: {left:,} row{'s' * (left != 1)}."


PAGE = Page(name="view", path="/views/{name}", read=read, twin=lambda asked: ("show", asked.path["name"]), seconds=30)
ACTIONS = (
    Action(
        path="/views/{name}/retry",
        role=Role.operator,
        act=_retry,
        back=lambda path: f"/views/{path['name']}",
    ),
)
