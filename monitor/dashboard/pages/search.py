"""Search over everything: definitions, datasets, models and incidents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from featurestore.errors import FeatureStoreError
from monitor.dashboard.page import Asked, Page, Values
from monitor.dashboard.reading import Reader

#: Things that are listed, and incidents that are looked through.
_MANY, _INCIDENTS = 200, 1_000
#: The page of each kind of definition.
_PAGES = {"feature_view": "/views", "on_demand_feature_view": "/views", "feature_service": "/services"}


def read(reader: Reader, asked: Asked) -> Values:
    """Return what the words of ``q`` are found in: every word has to be."""
    text = asked.query.get("q", "").strip()
    faults: list[dict[str, str]] = []
    found = list(_found(reader, text, faults)) if text else []
    return {
        "title": f"Search for {text}" if text else "Search",
        "q": text,
        "found": found[:_MANY],
        "count": len(found),
        "faults": faults,
    }


def _found(reader: Reader, text: str, faults: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
    words = text.casefold().split()
    try:
        registry = reader.registry
        for one in registry.search(text):
            page = _PAGES.get(one.kind)
            yield _line(one.kind, one.id, "; ".join(one.where), f"{page}/{one.name}" if page else "")
        for model in registry.models():
            if _has(words, model.id, model.service, model.created_by):
                yield _line("model", model.id, f"of {model.service}", f"/models/{model.id}")
        for dataset in registry.datasets():
            if _has(words, dataset.id, str(dataset.manifest.get("service", "")), dataset.created_by):
                yield _line(
                    "dataset", dataset.id, f"for {dataset.manifest.get('service', '')}", f"/datasets/{dataset.id}"
                )
    except FeatureStoreError as error:
        faults.append({"what": error.message, "hint": error.hint})
    if not reader.has_history():
        return
    try:
        with reader.history.read() as connection:
            incidents = reader.history.newest_incidents(connection, _INCIDENTS)
    except FeatureStoreError as error:
        faults.append({"what": error.message, "hint": error.hint})
        return
    for incident in reversed(incidents):
        rules = " ".join(f"{one.rule} {one.service} {' '.join(one.features)}" for one in incident.members)
        if _has(words, f"incident {incident.name}", incident.cause, rules):
            yield _line("incident", f"incident {incident.name}", incident.cause, f"/incidents/{incident.number}")


def _has(words: list[str], *texts: str) -> bool:
    whole = " ".join(texts).casefold()
    return all(one in whole for one in words)


def _line(kind: str, name: str, where: str, address: str) -> dict[str, Any]:
    return {"kind": kind.replace("_", " "), "name": name, "where": where, "address": address}


PAGE = Page(
    name="search",
    path="/search",
    read=read,
    twin=lambda asked: ("search", asked.query.get("q") or "WORDS"),
    query=("q",),
)
