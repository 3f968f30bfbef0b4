"""The life of one feature: what it is, where it comes from, who uses it, and how far it has moved over time."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from featurestore import plots
from featurestore.definitions import FeatureService, FeatureView, Field, OnDemandFeatureView
from featurestore.errors import FeatureStoreError, ObjectNotFoundError, closest
from featurestore.registry import Registry
from monitor.dashboard.histograms import Compared, compared
from monitor.dashboard.lineage import drawing_of
from monitor.dashboard.page import Asked, Page, Picture, Values, drawn_from
from monitor.dashboard.reading import Reader
from monitor.dashboard.series import Judged, Point, Stream, newest, points, profiles, streams_of

#: How far back the series goes, in days: what is offered, and what is shown where nothing is said.
DAYS = (1, 7, 30, 90)
_USUAL = 30
#: A catalog is for one question at a time.
_LINEAGE = threading.Lock()
#: The worst first.
_VERDICTS = ("severe", "drift", "not enough data", "ok")


@dataclass(frozen=True, kw_only=True)
class _Watched:
    """A feature in a stream.

    Attributes:
        stream: the stream.
        fields: its fields: whether one of them is personal counts, for slices too.
        judged: what the newest window said, of all rows first and then of each slice.
        slice: which of them is shown.
        name: which number is shown: the feature, or one that is taken from it; "" where nothing was judged.
    """

    stream: Stream
    fields: Mapping[str, Field]
    judged: Sequence[Judged]
    slice: str
    name: str

    @property
    def shown(self) -> Judged | None:
        """What the newest window said of the slice that is shown."""
        return next((one for one in self.judged if one.slice == self.slice), None)


def read(reader: Reader, asked: Asked) -> Values:
    """Return everything about a feature.

    Raises:
        ObjectNotFoundError: there is no such view, or it has no such feature.
    """
    view, feature = asked.path["view"], asked.path["feature"]
    registry = reader.registry
    about = registry.show(view)
    field = _field(registry, view, feature)
    faults: list[dict[str, str]] = []
    streams: list[dict[str, Any]] = []
    pii = field.pii
    try:
        watched = _watched(reader, asked)
        pii = pii or any(one.fields[feature].pii for one in watched)
        for one in watched:
            told = _told(one, _series(reader, asked, one)) | _values(reader, one, pii=pii)
            streams.append(told | {"drawn_from": drawn_from(told["points"], told["histogram"])})
    except FeatureStoreError as error:
        faults.append({"what": error.message, "hint": error.hint})
    spec = about["definition"]["schema"][feature]
    return {
        "title": f"{feature} of {view}",
        "feature": feature,
        "view": view,
        "id": about["id"],
        "kind": about["kind"],
        "type": spec["dtype"],
        "pii": pii,
        "description": spec.get("description", ""),
        # What is checked of a personal field may itself say something of persons.
        "checks": {} if pii else _checks(spec),
        "tags": dict(spec.get("tags", {})),
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


def _field(registry: Registry, view: str, feature: str) -> Field:
    definition = registry.get(view).definition
    known = definition.schema if isinstance(definition, FeatureView | OnDemandFeatureView) else ()
    fields = {one.name: one for one in known}
    if feature not in fields:
        raise ObjectNotFoundError(f'View "{view}" has no feature "{feature}".', hint=closest(feature, fields))
    return fields[feature]


def _checks(spec: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in spec.items() if key not in ("dtype", "description", "tags")}


def _days(asked: Asked) -> int:
    given = asked.query.get("days", "")
    return int(given) if given in {str(one) for one in DAYS} else _USUAL


def _lineage(reader: Reader, view: str, feature: str, faults: list[dict[str, str]]) -> dict[str, Any]:
    # With a parser of SQL, for which nothing else here has to wait.
    from featurestore.lineage import catalog_of, lineage

    def made() -> dict[str, Any]:
        # One catalog for all features: taking a thousand of them apart is most of the work.
        catalog = reader.known(("catalog", *trained), lambda: catalog_of(registry, reader.config))
        with _LINEAGE:
            found = lineage(registry, reader.config, f"{view}:{feature}", catalog=catalog)
        return {**drawing_of(found), "text": found.render("text"), "notes": list(found.notes)}

    try:
        registry = reader.registry
        trained = len(registry.datasets()), len(registry.models())
        return reader.known(("lineage", view, feature, *trained), made)
    except FeatureStoreError as error:
        faults.append({"what": error.message, "hint": error.hint})
        return {"boxes": [], "across": None, "down": None, "left_out": 0, "text": "", "notes": []}


def _watched(reader: Reader, asked: Asked) -> list[_Watched]:
    """Return the feature in each stream whose service gives it; in one of them, where the address names it.

    Raises:
        FeatureStoreError: the registry or the monitor's database cannot be read.
    """
    feature, found = asked.path["feature"], []
    with reader.history.read() as connection:
        for stream in streams_of(connection, reader.policies()):
            named = asked.path.get("policy", stream.policy), asked.path.get("service", stream.service)
            fields = _fields(reader, stream.service, asked.path["view"])
            if feature in fields and named == (stream.policy, stream.service):
                personal = {name for name, one in fields.items() if one.pii}
                # A field that is personal by now may have been sliced by before.
                judged = [
                    one
                    for one in newest(connection, reader.decided, stream, feature)
                    if one.slice.partition("=")[0] not in personal
                ]
                found.append(_chosen(asked, stream, fields, judged))
    return found


def _chosen(asked: Asked, stream: Stream, fields: Mapping[str, Field], judged: Sequence[Judged]) -> _Watched:
    """Return the slice and the number that were asked for; else all rows, and the number that is worst."""
    slice_, number = asked.query.get("slice", ""), asked.query.get("number", "")
    if all(one.slice != slice_ for one in judged):
        slice_ = ""
    known = next((one.points for one in judged if one.slice == slice_), {})
    worst = min(known, key=lambda name: (_urgency(known[name]), name), default="")
    name = number if number in known else worst
    return _Watched(stream=stream, fields=fields, judged=judged, slice=slice_, name=name)


def _fields(reader: Reader, service: str, view: str) -> dict[str, Field]:
    """Return the fields of a service by name, where it is known and gives any of the view."""
    outputs = reader.known(("outputs", service), lambda: _outputs(reader.registry, service))
    if view not in outputs:
        return {}
    others = {one.name: one for name, given in outputs.items() if name != view for one in given}
    return others | {one.name: one for one in outputs[view]}


def _outputs(registry: Registry, service: str) -> Mapping[str, Sequence[Field]]:
    try:
        definition = registry.service(service).definition
    except FeatureStoreError:
        return {}  # a stream of something else, or of a service that is gone
    assert isinstance(definition, FeatureService)  # noqa: S101 - it was asked for
    return definition.outputs


def _urgency(point: Point) -> tuple[int, float]:
    """Return what sorts points: the worst first, and of those the one that has surely moved most."""
    return _VERDICTS.index(point.verdict) if point.verdict in _VERDICTS else len(_VERDICTS), -point.low


def _told(one: _Watched, seen: list[Point]) -> dict[str, Any]:
    shown = None if one.shown is None else one.shown.points.get(one.name)
    return {
        "policy": one.stream.policy,
        "service": one.stream.service,
        "baseline": one.stream.baseline if one.shown is None else one.shown.baseline,
        "slice": one.slice,
        "number": one.name,
        "points": [each.to_json() for each in seen],
        "last": None if shown is None else shown.to_json(),
        "slices": _slices(one),
        "numbers": _numbers(one),
    }


def _slices(one: _Watched) -> list[dict[str, Any]]:
    """Return what the newest window said of each slice, the worst first after all rows; nothing without slices."""
    found = {judged.slice: judged.points[one.name] for judged in one.judged if one.name in judged.points}
    if len(found) < 2:
        return []
    order = sorted(found, key=lambda name: (name != "", _urgency(found[name]), name))
    return [{"slice": name, **found[name].to_json()} for name in order]


def _numbers(one: _Watched) -> list[dict[str, Any]]:
    """Return what the newest window said of each number that is taken from a vector; nothing for other fields."""
    found = {} if one.shown is None else one.shown.points
    if list(found) == [one.name] and "." not in one.name:
        return []
    return [{"number": name, **found[name].to_json()} for name in sorted(found, key=lambda name: _urgency(found[name]))]


def _series(reader: Reader, asked: Asked, one: _Watched) -> list[Point]:
    if not one.name:
        return []
    with reader.history.read() as connection:
        return points(connection, reader.decided, one.stream, one.name, days=_days(asked), slice_=one.slice)


def _values(reader: Reader, one: _Watched, *, pii: bool) -> dict[str, Any]:
    """Return what is told of the values of a feature: of a personal one nothing."""
    told: dict[str, Any] = {"moves": [], "histogram": None, "histogram_missing": ""}
    if one.shown is None or one.name not in one.shown.points or pii:
        return told
    told["moves"] = list(one.shown.points[one.name].moves)
    try:
        found = _compared(reader, one, one.shown)
    except FeatureStoreError as error:
        return told | {"histogram_missing": f"{error.message} {error.hint}".strip()}
    return told | {"histogram": None if found is None else found.to_json()}


def _compared(reader: Reader, one: _Watched, shown: Judged) -> Compared | None:
    """Return the baseline's rows beside those that the newest verdict is of."""
    reference = reader.baseline(shown.baseline)
    with reader.history.read() as connection:
        kept = profiles(connection, one.stream, shown, shown.points[one.name].judged_rows)
    return compared(reference, kept, one.name)


def draw_series(reader: Reader, asked: Asked) -> str:
    """Return effect and nulls of a feature in one stream over time.

    Raises:
        ObjectNotFoundError: there is nothing to draw.
    """
    seen = _series(reader, asked, _asked_for(reader, asked))
    if len(seen) < 2:
        raise _nothing(asked)
    return plots.svg(plots.chart("", list(_panels(seen))), dark="dark" in asked.query)


def draw_histogram(reader: Reader, asked: Asked) -> str:
    """Return the bars of a feature in one stream, the baseline's beside those of now.

    Raises:
        ObjectNotFoundError: there is nothing to draw, or the feature is personal.
    """
    one, feature = _asked_for(reader, asked), asked.path["feature"]
    personal = one.fields[feature].pii or _field(reader.registry, asked.path["view"], feature).pii
    found = None
    if one.shown is not None and one.name and not personal:
        found = _compared(reader, one, one.shown)
    if found is None:
        raise _nothing(asked)
    return plots.svg(found.drawn(), dark="dark" in asked.query)


def _asked_for(reader: Reader, asked: Asked) -> _Watched:
    for one in _watched(reader, asked):
        return one
    raise _nothing(asked)


def _nothing(asked: Asked) -> ObjectNotFoundError:
    return ObjectNotFoundError(f'There is nothing to draw of "{asked.path["feature"]}".')


def _panels(seen: list[Point]) -> Iterator[plots.Panel]:
    last = max(one.end for one in seen)
    x = [(one.end - last) / timedelta(days=1) for one in seen]
    effect = plots.Line(
        name="effect, with its 95 % interval",
        x=x,
        y=[_known(one.effect) for one in seen],
        low=[_known(one.low) for one in seen],
        high=[_known(one.high) for one in seen],
    )
    shown = {"effect": [effect, plots.Line(name="threshold", x=x, y=[_known(one.threshold) for one in seen])]}
    if any(one.nulls or one.baseline_nulls for one in seen):
        shown["share of nulls"] = [
            plots.Line(name="now", x=x, y=[one.nulls for one in seen]),
            plots.Line(name="before", x=x, y=[one.baseline_nulls for one in seen]),
        ]
    for title, lines in shown.items():
        yield plots.Panel(x="days before the last window", y=title, lines=lines)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


PAGE = Page(
    name="feature",
    path="/features/{view}/{feature}",
    read=read,
    twin=lambda asked: ("lineage", f"{asked.path['view']}:{asked.path['feature']}"),
    query=("days", "slice", "number"),
)
PICTURES = (
    Picture(
        path="/features/{view}/{feature}/{policy}/{service}.svg",
        draw=draw_series,
        query=("days", "slice", "number"),
    ),
    Picture(
        path="/features/{view}/{feature}/{policy}/{service}/histogram.svg",
        draw=draw_histogram,
        query=("slice", "number"),
    ),
)
