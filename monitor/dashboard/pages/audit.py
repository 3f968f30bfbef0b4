"""The audit log: who changed what; and whether anybody has tampered with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from featurestore.registry.audit import ACTIONS as KNOWN
from monitor.dashboard.page import Asked, Page, Values
from monitor.dashboard.reading import Reader

#: Entries that are listed, the newest; and letters of what one says.
_MANY, _LETTERS = 200, 300


def read(reader: Reader, asked: Asked) -> Values:
    """Return the newest entries, the newest first; with ``verify`` what the log's own hashes say.

    Raises:
        RegistryError: the log knows no such action.
    """
    registry = reader.registry
    given = {key: asked.query.get(key, "").strip() for key in ("object", "action", "who")}
    entries = registry.audit(
        object=given["object"] or None, action=given["action"] or None, who=given["who"] or None, limit=_MANY
    )
    return {
        "title": "Audit log",
        **given,
        "actions": list(KNOWN),
        "entries": [
            {
                "sequence": one.sequence,
                "at": one.at.isoformat(),
                "who": one.who,
                "action": one.action,
                "object": one.object,
                "said": "; ".join(_said(one.details))[:_LETTERS],
            }
            for one in reversed(entries)
        ],
        "most": _MANY,
        "verified": _verified(reader) if "verify" in asked.query else None,
    }


def _said(details: Mapping[str, Any]) -> Iterator[str]:
    for name, value in details.items():
        if isinstance(value, str | int | float) and value != "":
            yield f"{name.replace('_', ' ')} {value}"


def _verified(reader: Reader) -> dict[str, Any]:
    report = reader.store.verify_audit([], [])
    return {
        "intact": report.is_intact,
        "entries": report.entries,
        "heads": report.heads,
        "vouched": report.vouched,
        "problems": [str(one) for one in report.problems],
        "warnings": list(report.warnings),
    }


def _twin(asked: Asked) -> tuple[str, ...]:
    if "verify" in asked.query:
        return ("audit", "verify")
    given = [(f"--{key}", asked.query[key]) for key in ("object", "action", "who") if asked.query.get(key)]
    return ("audit", "list", *(word for pair in given for word in pair), "--verbose")


PAGE = Page(
    name="audit",
    path="/audit",
    menu="Audit",
    read=read,
    twin=_twin,
    query=("object", "action", "who", "verify"),
)
