"""A plan in a file: what CI planned and people agreed to is what is applied, or nothing.

The file is JSON. It holds the definitions themselves, so that applying it needs no definitions folder, and what they
would change, so that a registry which has moved on is noticed. Definitions name their connections and never hold
secrets, and nothing of ``featurestore.toml`` is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from featurestore import formats
from featurestore.definitions import Definition, content_hash
from featurestore.definitions.canonical import KINDS
from featurestore.errors import FeatureStoreError, RegistryError
from featurestore.places import place_of, remember
from featurestore.registry import schema, values
from featurestore.registry.graph import collect
from featurestore.registry.plan import Change, Plan
from featurestore.registry.usage import some

FORMAT = 1
_WHAT = "featurestore plan"
_AGAIN = "Plan again: featurestore plan --out FILE"


@dataclass(frozen=True, kw_only=True)
class SavedPlan:
    """A plan that was read back.

    Attributes:
        file: where it was.
        project: the namespace that it was made for.
        definitions: what it applies, each after those that it refers to.
        prune: whether it removes what is not among them.
        changes: what it was to change, by kind and name, as JSON values.
        audit_sequence: the newest audit entry of the registry that it was made for.
        made_at: when.
        made_by: by whom.
    """

    file: Path
    project: str
    definitions: tuple[Definition, ...]
    prune: bool
    changes: Mapping[tuple[str, str], Mapping[str, Any]]
    audit_sequence: int
    made_at: datetime
    made_by: str


def save(plan: Plan, file: Path, *, who: str) -> None:
    """Write a plan to a file.

    Raises:
        RegistryError: the file cannot be written.
    """
    content = {
        "what": _WHAT,
        "format": FORMAT,
        "project": plan.project,
        "made_at": values.instant(values.now()).isoformat(),
        "made_by": who,
        "prune": plan.prune,
        "audit_sequence": plan.audit_sequence,
        "definitions": [
            {
                "kind": one.kind,
                "content_hash": one.content_hash,
                "spec": one.definition.spec(),
                "notes": one.definition.notes(),
                "where": place_of(one.definition),
            }
            for one in collect(plan.definitions).values()
        ],
        "changes": plan.to_json()["changes"],
    }
    try:
        file.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise RegistryError(f"The plan cannot be written: {error}.") from error


def read(file: Path) -> SavedPlan:
    """Read a plan from a file.

    Raises:
        RegistryError: it cannot be read, is no plan, was edited, or a newer release wrote it.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RegistryError(f"The plan cannot be read: {error}.") from error
    except ValueError:
        content = None
    if not isinstance(content, dict) or content.get("what") != _WHAT or not isinstance(content.get("format"), int):
        raise RegistryError(f"{file} is not a plan.", hint="Make one: featurestore plan --out FILE")
    formats.check(content, f"The plan {file}", FORMAT, error=RegistryError)
    try:
        return SavedPlan(
            file=file,
            project=content["project"],
            definitions=tuple(_definitions(content["definitions"])),
            prune=content["prune"],
            changes={(one["kind"], one["name"]): {**one, **_effect(one)} for one in content["changes"]},
            audit_sequence=content["audit_sequence"],
            made_at=datetime.fromisoformat(content["made_at"]),
            made_by=content["made_by"],
        )
    except (KeyError, TypeError, ValueError, AttributeError, FeatureStoreError) as error:
        raise RegistryError(
            f"The plan {file} was edited, or another release wrote it: {error!r}.", hint=_AGAIN
        ) from error


def _definitions(entries: Sequence[Mapping[str, Any]]) -> list[Definition]:
    classes: dict[str, Any] = {kind: one for one, kind in KINDS.items()}
    built: dict[str, Definition] = {}
    for entry in entries:
        spec, notes = entry["spec"], entry["notes"]
        # A policy counts its service by name.
        service = [built[spec["service"]]] if isinstance(spec.get("service"), str) else []
        definition: Definition = classes[entry["kind"]].from_spec(spec, notes, *service)
        if content_hash(definition) != entry["content_hash"]:
            raise ValueError(f"{definition.name} is not what it was")
        remember(definition, entry["where"])
        built[definition.name] = definition
    return list(built.values())


def check_current(saved: SavedPlan, plan: Plan, connection: Connection) -> None:
    """Check that a saved plan would still do what it said.

    Args:
        saved: the plan of the file.
        plan: what its definitions would change now.
        connection: of the transaction in which that was found out.

    Raises:
        RegistryError: it would do something else; the message says what moved, and by whom.
    """
    now = {(change.kind, change.name): change for change in plan.changed}
    moved = [key for key in {**saved.changes, **now} if _effect(saved.changes.get(key)) != _effect(now.get(key))]
    if not moved:
        return
    since = _since(connection, plan.project, saved.audit_sequence, {name for _, name in moved})
    told = some(since or (_compared(key, saved.changes.get(key), now.get(key)) for key in moved))
    raise RegistryError(
        f"The plan {saved.file} is stale: it was made on {saved.made_at:%Y-%m-%d %H:%M} UTC by {saved.made_by}; "
        f"since then {told}.",
        hint=_AGAIN,
    )


def _effect(change: Change | Mapping[str, Any] | None) -> Any:
    if change is None:
        return None
    shown = change.to_json() if isinstance(change, Change) else change
    return json.loads(json.dumps({key: shown[key] for key in ("action", "from_version", "to_version", "differences")}))


def _since(connection: Connection, project: str, sequence: int, names: set[str]) -> list[str]:
    log = schema.audit
    query = select(log).filter_by(project=project).where(log.c.sequence > sequence).order_by(log.c.sequence)
    return [
        f"{row.object} ({row.action} by {row.who}, {values.instant(row.at):%Y-%m-%d %H:%M})"
        for row in connection.execute(query.where(log.c.action.in_(("apply", "delete"))))
        if row.object.partition("@")[0] in names
    ]


def _compared(key: tuple[str, str], saved: Mapping[str, Any] | None, now: Change | None) -> str:
    before = "unchanged" if saved is None else f"{saved['action']} @{saved['to_version']}"
    after = "unchanged" if now is None else f"{now.action} @{now.to_version}"
    return f"{' '.join(key)} would be: {after}, and was to be: {before}"
