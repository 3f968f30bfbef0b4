"""An action done, and undone, through what any user of the store may do: so it is checked and audited alike.

Each is done again without harm: whoever takes up what a dead monitor has begun need not know how far it came.
"""

from __future__ import annotations

from typing import Any

from featurestore.errors import MonitorError
from featurestore.registry.aliases import CANARY
from featurestore.registry.records import Promotion
from featurestore.store import FeatureStore
from monitor.rollback.values import Action, Deed


def carry_out(store: FeatureStore, action: Action) -> None:
    """Do what an action says.

    Raises:
        MonitorError: somebody has moved what it is about since it was decided.
        FeatureStoreError: the store refuses.
    """
    details = action.details
    if action.kind is Deed.RESTORE_LOAD:
        for step in details["steps"]:
            store.withdraw(step["view"], step["loads"], reason=_why(action))
    elif action.kind is Deed.STOP_CANARY:
        name, version = details["service"], details["version"]
        share = _canary(store, name, version)
        if share > 0:
            store.promote(f"{name}@{version}", alias=CANARY, share=0.0)
    else:
        name, alias = details["service"], details["alias"]
        if _pointed(store, name, alias) != details["to"]:
            _check(store, name, alias, details["version"])
            # Rows that were never brought online would make it be refused in the night.
            store.rollback(name, alias=alias, to=details["to"], catch_up=True)
    store.registry.record("act", action.target, _entry(action), who=store.who())


def take_back(store: FeatureStore, action: Action, *, reason: str) -> str:
    """Undo what an action did, all of it or a part, and return what a person has to do still; "" if nothing.

    Raises:
        MonitorError: somebody has moved what it is about since it was done.
        FeatureStoreError: the store refuses.
    """
    details, left = action.details, ""
    if action.kind is Deed.RESTORE_LOAD:
        for step in details["steps"]:
            store.reinstate(step["view"], step["loads"], reason=f"undo of {action.id}: {reason}")
    else:
        name, version = details["service"], details["version"]
        alias = CANARY if action.kind is Deed.STOP_CANARY else details["alias"]
        share = details["share"] if action.kind is Deed.STOP_CANARY else None
        if action.kind is Deed.STOP_CANARY:
            moved = _canary(store, name, version) != share
        elif moved := _pointed(store, name, alias) != version:
            _check(store, name, alias, details["to"])
        made = store.promote(f"{name}@{version}", alias=alias, share=share, catch_up=True) if moved else None
        if isinstance(made, Promotion):
            left = f"It waits for approval: featurestore approve {made.number}"
    store.registry.record("undo", action.target, _entry(action) | {"reason": reason}, who=store.who())
    return left


def _canary(store: FeatureStore, service: str, version: int) -> float:
    """Return the share of a canary.

    Raises:
        MonitorError: it is another one by now, or none.
    """
    found = store.registry.canaries().get(service)
    if found is None or found[0] != version:
        now = "there is none" if found is None else f"it is {service}@{found[0]}"
        raise MonitorError(
            f"The canary of {service} is {service}@{version} no more: {now}.",
            hint="Somebody has moved it; nothing was done.",
        )
    return found[1]


def _pointed(store: FeatureStore, service: str, alias: str) -> int | None:
    return store.registry.aliases(service).get(alias)


def _check(store: FeatureStore, service: str, alias: str, version: int) -> None:
    found = _pointed(store, service, alias)
    if found != version:
        now = "is not set" if found is None else f"points to {service}@{found}"
        raise MonitorError(
            f'The alias "{alias}" of {service} points to {service}@{version} no more: it {now}.',
            hint="Somebody has moved it; nothing was done.",
        )


def _why(action: Action) -> str:
    return f"monitor, incident {action.incident_number}, {action.id}: {action.summary}"


def _entry(action: Action) -> dict[str, Any]:
    return {
        "action": action.id,
        "kind": str(action.kind),
        "incident": action.incident_number,
        "policy": action.policy,
        "summary": action.summary,
    }
