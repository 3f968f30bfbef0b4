"""The life of one feature: what it is, where it comes from, who uses it, and how far it has moved over time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from featurestore import plots
from featurestore.definitions import FeatureService
from featurestore.errors import FeatureStoreError, ObjectNotFoundError, closest
from featurestore.registry import Registry
from monitor.dashboard.lineage import drawing_of
from monitor.dashboard.page import Asked, Page, Picture, Values
from monitor.dashboard.reading import Reader
from monitor.dashboard.series import Point, Stream, points, streams_of

#: How far back the series goes, in days: what is offered, and what is shown where nothing is said.
DAYS = (1, 7, 30, 90)
_USUAL = 30


def read(reader: Reader, asked: Asked) -> Values:
    """Return everything about a feature.

    Raises:
        ObjectNotFoundError: there is no such view, or it has no such feature.
    """
    view, feature = asked.path["view"], asked.path["feature"]
    registry = reader.registry
    about = registry.show(view)
    field = _field(about, view, feature)
    faults: list[dict[str, str]] = []
    streams: list[dict[str, Any]] = []
    try:
        for stream in _streams(reader, registry, view, feature):
            with reader.history.read() as connection:
                seen = points(connection, stream, feature, days=_days(asked))
            streams.append(_told(stream, seen))
    except FeatureStoreError as error:
        faults.append({"what": error.message, "hint": error.hint})
    pii = str(field.get("tags", {}).get("pii", "")).lower() == "true"
    return {
        "title": f"{feature} of {view}",
        "feature": feature,
        "view": view,
        "id": about["id"],
        "kind": about["kind"],
        "type": field["dtype"],
        "pii": pii,
        "description": field.get("description", ""),
        # What is checked of a personal field may itself say something of persons.
        "checks": {} if pii else _checks(field),
        "tags": dict(field.get("tags", {})),
        "owner": about["definition"].get("owner", ""),
        "ttl": about["definition"].get("ttl"),
        "used_by": about["used_by"],
        "versions": about["versions"],
        "current_version": about["current_version"],
        "lineage": _lineage(reader, view, feature, faults),
        "streams": streams,
        "days": _days(asked),
        "offered": list(DAYS),
        "faults": faults,
    }


def _field(about: Mapping[str, Any], view: str, feature: str) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = about["definition"].get("schema", {})
    if feature not in fields:
        raise ObjectNotFoundError(f'View "{view}" has no feature "{feature}".', hint=closest(feature, fields))
    found: Mapping[str, Any] = fields[feature]
    return found


def _checks(field: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in field.items() if key not in ("dtype", "description", "tags")}


def _days(asked: Asked) -> int:
    given = asked.query.get("days", "")
    return int(given) if given in {str(one) for one in DAYS} else _USUAL


def _lineage(reader: Reader, view: str, feature: str, faults: list[dict[str, str]]) -> dict[str, Any]:
    def made() -> dict[str, Any]:
        found = reader.store.lineage(f"{view}:{feature}")
        return {**drawing_of(found), "text": found.render("text"), "notes": list(found.notes)}

    try:
        registry = reader.registry
        trained = len(registry.datasets()), len(registry.models())
        return reader.known(("lineage", view, feature, *trained), made)
    except FeatureStoreError as error:
        faults.append({"what": error.message, "hint": error.hint})
        return {"boxes": [], "lines": [], "width": 0, "height": 0, "left_out": 0, "text": "", "notes": []}


def _streams(reader: Reader, registry: Registry, view: str, feature: str) -> list[Stream]:
    """Return the streams whose service gives the feature, those of the current versions first."""
    with reader.history.read() as connection:
        known = streams_of(connection)
    return [one for one in known if _gives(registry, one.service, view, feature)]


def _gives(registry: Registry, service: str, view: str, feature: str) -> bool:
    try:
        definition = registry.service(service).definition
    except FeatureStoreError:
        return False  # a stream of something else, or of a service that is gone
    assert isinstance(definition, FeatureService)  # noqa: S101 - it was asked for
    return any(field.name == feature for field in definition.outputs.get(view, ()))


def _told(stream: Stream, seen: list[Point]) -> dict[str, Any]:
    last = seen[-1] if seen else None
    return {
        "policy": stream.policy,
        "service": stream.service,
        "baseline": stream.baseline,
        "points": [one.to_json() for one in seen],
        "last": None if last is None else last.to_json(),
        "moves": [] if last is None else list(last.moves),
    }


def draw(reader: Reader, asked: Asked) -> str:
    """Return effect and nulls of a feature in one stream over time.

    Raises:
        ObjectNotFoundError: there is nothing to draw.
    """
    feature, registry = asked.path["feature"], reader.registry
    for stream in _streams(reader, registry, asked.path["view"], feature):
        if stream.service == asked.path["service"] and stream.policy == asked.path["policy"]:
            with reader.history.read() as connection:
                seen = points(connection, stream, feature, days=_days(asked))
            if len(seen) > 1:
                return plots.svg(plots.chart("", list(_panels(seen))), dark="dark" in asked.query)
    raise ObjectNotFoundError(f'Nothing was judged of "{feature}" yet.')


def _panels(seen: list[Point]) -> Iterator[plots.Panel]:
    last = max(one.end for one in seen)
    x = [(one.end - last) / timedelta(days=1) for one in seen]
    effects = {
        "effect": [one.effect for one in seen],
        "its 95 % interval, low": [one.low for one in seen],
        "and high": [one.high for one in seen],
        "threshold": [one.threshold for one in seen],
    }
    shown = {"effect": effects}
    if any(one.nulls or one.baseline_nulls for one in seen):
        shown["share of nulls"] = {
            "now": [one.nulls for one in seen],
            "before": [one.baseline_nulls for one in seen],
        }
    for title, lines in shown.items():
        yield plots.Panel(
            x="days before the last window",
            y=title,
            lines=[plots.Line(name=name, x=x, y=y) for name, y in lines.items()],
        )


PAGE = Page(
    name="feature",
    path="/features/{view}/{feature}",
    read=read,
    twin=lambda asked: ("lineage", f"{asked.path['view']}:{asked.path['feature']}"),
    query=("days",),
)
PICTURE = Picture(path="/features/{view}/{feature}/{policy}/{service}.svg", draw=draw)
