"""A case, run on a throw-away store: offline, and through the online path."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from featurestore import types
from featurestore.client import FeatureClient
from featurestore.definitions import Definition, FeatureService, FeatureView, OnDemandFeatureView
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.errors import DefinitionError, FeatureStoreError, closest
from featurestore.online import MemoryStore
from featurestore.serving.lookup import Lookups
from featurestore.serving.plan import compile_plan
from featurestore.serving.replay import ReplayFeed
from featurestore.store import FeatureStore
from featurestore.testing.cases import FeatureCase
from featurestore.testing.comparing import Mismatch, compare_rows, instant, shown
from featurestore.testing.computing import computed
from featurestore.testing.given import put_given, rows_of_view, throw_away

_STATUS = "__status"
_STATUSES = {1: "PRESENT", 2: "NOT_FOUND", 3: "OUTSIDE_MAX_AGE"}


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """What became of a case.

    Attributes:
        case: the case.
        mismatches: values that are not as expected.
        error: why it could not be run; empty if it was.
        hint: what to do about it.
    """

    case: FeatureCase
    mismatches: tuple[Mismatch, ...] = ()
    error: str = ""
    hint: str = ""

    @property
    def passed(self) -> bool:
        """Whether it ran, and all was as expected."""
        return not self.error and not self.mismatches


def run_case(case: FeatureCase, definitions: Sequence[Definition] = ()) -> CaseResult:
    """Run a case on a store of its own in a temporary folder, which is removed afterwards.

    Args:
        case: what to run.
        definitions: those that a case may name.
    """
    try:
        target = _target(case, definitions)
        if isinstance(target, OnDemandFeatureView):
            if not case.given:
                return CaseResult(case=case, mismatches=tuple(computed(case, target)))
            # A name of its own, as names are unique over all kinds.
            target = FeatureService(name=f"case_of_{target.name}", features=[target])
        _check_expected(case, target)
        with tempfile.TemporaryDirectory(prefix="featurestore-case-") as folder:
            return CaseResult(case=case, mismatches=tuple(_run(case, target, Path(folder))))
    except FeatureStoreError as error:
        return CaseResult(case=case, error=error.message, hint=error.hint)


def _target(case: FeatureCase, definitions: Sequence[Definition]) -> FeatureService | FeatureView | OnDemandFeatureView:
    found: FeatureService | FeatureView | OnDemandFeatureView | str = case.of
    if isinstance(found, str):
        kinds = (FeatureService, FeatureView, OnDemandFeatureView)
        named = {one.name: one for one in _reached(definitions) if isinstance(one, kinds)}
        if found not in named:
            raise DefinitionError(
                f'The definitions have no feature service or view "{found}".', hint=closest(found, named)
            )
        found = named[found]
    if not isinstance(found, FeatureView) and found.shared:
        raise DefinitionError(
            f'"{found.name}" reads views of another project, which are defined there.',
            hint="Test what your own views give; test the others in their project.",
        )
    return found


def _reached(definitions: Sequence[Definition]) -> Iterator[Definition]:
    for one in definitions:
        yield one
        if isinstance(one, FeatureService) and not one.shared:
            yield from one.on_demand_views
            yield from one.views


def _check_expected(case: FeatureCase, target: FeatureService | FeatureView) -> None:
    if isinstance(target, FeatureView):
        if case.ask:
            raise DefinitionError(
                f'"{target.name}" is a feature view: its rows are compared, and there is nothing to ask for.',
                hint="Leave ask out, and expect its rows; or make the case of a service.",
            )
        known = [*target.keys, *(one.name for one in target.schema), target.timestamp_field]
    else:
        known = [one.name for fields in target.outputs.values() for one in fields]
        known += [f"{use.name}{_STATUS}" for use in target.uses]
        if case.expect and not case.ask:
            raise DefinitionError(f'The case asks "{target.name}" for no rows.', hint="Give ask=[{...}].")
    for row in case.expect:
        for name in row:
            if name not in known:
                raise DefinitionError(f'"{target.name}" gives no "{name}".', hint=closest(str(name), known))


def _run(case: FeatureCase, target: FeatureService | FeatureView, folder: Path) -> Iterator[Mismatch]:
    with throw_away(folder, case, target) as store:
        store.apply([target])
        yield from put_given(store, case, target)
        if isinstance(target, FeatureView):
            yield from _compare_view(case, target, rows_of_view(store, target))
        elif case.ask:
            yield from _compare_service(case, target, store)


def _compare_view(case: FeatureCase, view: FeatureView, got: list[dict[str, Any]]) -> Iterator[Mismatch]:
    """Compare rows that have no order: by key and instant."""
    names = [*view.keys, view.timestamp_field]
    if not case.expect:
        return
    found = {_identity(row, names): row for row in got}
    pairs = []
    for row in case.expect:
        missing = [name for name in names if name not in row]
        if missing:
            raise DefinitionError(
                f'An expected row of "{view.name}" has no "{missing[0]}".', hint="Rows are found by key and instant."
            )
        mine = found.pop(_identity(row, names), None)
        if mine is None:
            yield Mismatch(path="rows", row=_label(row, names), feature="row", expected="a row", got="none")
        else:
            pairs.append((row, mine))
    labels = [_label(row, names) for row, _ in pairs]
    yield from compare_rows("rows", labels, [row for row, _ in pairs], [row for _, row in pairs], case.tolerance)
    for row in found.values():
        yield Mismatch(path="rows", row=_label(row, names), feature="row", expected="no such row", got="a row")


def _compare_service(case: FeatureCase, service: FeatureService, store: FeatureStore) -> Iterator[Mismatch]:
    asked = [
        {name: instant(value) if name == EVENT_TIMESTAMP else value for name, value in row.items()} for row in case.ask
    ]
    for number, row in enumerate(asked, 1):
        when = row.get(EVENT_TIMESTAMP)
        if not isinstance(when, datetime) or when.tzinfo is None:
            raise DefinitionError(
                f"Row {number} of ask has {EVENT_TIMESTAMP}={when!r}.",
                hint='Say at which instant, with its zone: "2013-01-01T07:00Z".',
            )
    names = [*service.keys, *(one.name for one in service.request), EVENT_TIMESTAMP]
    labels = [f"{number}: {_label(row, names)}" for number, row in enumerate(asked, 1)]
    for path, got in (("offline", _offline(store, service, asked)), ("online", _online(store, service, asked))):
        yield from compare_rows(path, labels, case.expect, got, case.tolerance)


def _offline(store: FeatureStore, service: FeatureService, asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (
        store.get_historical_features(asked, service.name, with_status=True).to_arrow().to_pylist()
    )
    names = [f"{use.name}{_STATUS}" for use in service.uses]
    return [row | {name: _STATUSES[row[name]] for name in names} for row in found]


def _online(store: FeatureStore, service: FeatureService, asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ask as a rehearsal does: the clock moves from instant to instant, and what was known then is there."""
    online = MemoryStore()
    feed = ReplayFeed(store.offline, online)
    lookups = Lookups(
        online, {service.name: compile_plan(store.registry.service(service.name))}, max_rows=1, replay=True
    )
    order = sorted(range(len(asked)), key=lambda place: asked[place][EVENT_TIMESTAMP])
    got: list[dict[str, Any]] = [{} for _ in asked]
    try:
        feed.start(asked[order[0]][EVENT_TIMESTAMP])
        feed.follow(service.views)
        for place in order:
            row = asked[place]
            feed.advance(types.microseconds(row[EVENT_TIMESTAMP]))
            needed = [*service.keys, *(one.name for one in service.request)]
            answer = FeatureClient(transport=lookups.transport).get_online_features(
                service.name, [{name: row[name] for name in needed if name in row}]
            )
            values = {name: column[0] for name, column in answer.to_dict().items()}
            statuses = {f"{view}{_STATUS}": status[0] for view, status in answer.statuses.items()}
            got[place] = values | statuses
    finally:
        feed.close()
    return got


def _identity(row: Mapping[str, Any], names: Sequence[str]) -> tuple[Any, ...]:
    *keys, when = (row[name] for name in names)
    return (*keys, instant(when))


def _label(row: Mapping[str, Any], names: Sequence[str]) -> str:
    return ", ".join(f"{name}={shown(row[name])}" for name in names if name in row)
