"""The check: a sample of the serving log, the join at the same instants, and why the two differ where they do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.definitions import FeatureService, Field, PushSource, ViewProjection
from featurestore.definitions.names import EVENT_TIMESTAMP
from featurestore.errors import FeatureStoreError
from featurestore.offline.join.computing import NOT_FOUND
from featurestore.offline.store import OfflineStore
from featurestore.registry import Registered
from featurestore.serving.log import COMPLETE_TO
from monitor.parity.causes import RowCause, Seen, of_inputs, row_cause, value_cause
from monitor.parity.report import BUGS, CAUSES, Ages, Cause, Example, FeatureSkew, ParityReport, ViewLag, share_of
from monitor.parity.stored_rows import Key, stored_rows
from monitor.parity.values import EXACT, Tolerance, same_values
from monitor.store import Store
from monitor.windows import ServingLog

#: Differing rows that a report carries, for display here.
EXAMPLES = 5
#: Other versions of the service that are asked whether they give what was served, the newest first.
OTHER_VERSIONS = 5

#: What is known of the lag of rows that were served while the online store was away.
_FROM_A_COPY = "from a local copy"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT = pa.timestamp("us", "UTC")


class Rows(Protocol):
    """Joined rows."""

    def to_arrow(self) -> pa.Table:
        """Return an Arrow table."""
        ...


class JoinedStore(Store, Protocol):
    """What the check needs of a feature store."""

    def get_historical_features(self, entity_df: Any, features: str, *, with_status: bool = False) -> Rows:
        """Join a service's features to entity rows, each at its instant."""
        ...


def check_parity(
    store: JoinedStore,
    service: str,
    *,
    rows: int = 1000,
    tolerance: Tolerance = EXACT,
    since: datetime | None = None,
    until: datetime | None = None,
) -> ParityReport:
    """Compare a sample of the serving log with the point-in-time join, value by value, and say why they differ.

    Null equals null and NaN equals NaN; without a tolerance nothing else is forgiven.

    Args:
        store: configuration, registry and join.
        service: a version, ``flight_delay@1``; a bare name is resolved as in serving.
        rows: at most so many rows, chosen by hash.
        tolerance: how far apart two values may be.
        since: only rows that were served at this instant or later.
        until: only rows that were served before it.

    Raises:
        ObjectNotFoundError: there is no such service.
        OfflineStoreError: a table cannot be read.
        MonitorError: a file of the log is damaged.
    """
    registered = store.registry.resolve_service(service)
    logged = ServingLog(store.config).sample(registered.id, rows, since=since, until=until)
    if not logged.num_rows:
        return ParityReport(
            service=registered.id, checked=0, values=0, mismatches=0, lagged=0, by_feature={}, examples=()
        )
    return _Check(store, registered, logged, tolerance).report()


@dataclass
class _Differing:
    """The differing rows of one feature: their numbers, and the cause of each with its detail.

    ``expected`` has, for rows of which the row that was served is known and is not the join's, its value.
    """

    feature: Field
    view: str
    served: pa.ChunkedArray
    joined: pa.ChunkedArray
    rows: list[int]
    causes: dict[int, tuple[Cause, str]] = field(default_factory=dict)
    expected: dict[int, Any] = field(default_factory=dict)


class _Check:
    """One comparison."""

    def __init__(
        self, store: JoinedStore, service: Registered[FeatureService], logged: pa.Table, tolerance: Tolerance
    ) -> None:
        self._store = store
        self._service = service
        self._definition = service.definition
        self._logged = logged
        self._tolerance = tolerance
        self._replay = bool(store.config.replay)
        self._joined = self._join(service.id)
        self._served_at = _microseconds(logged.column("served_at"))
        self._stale = _stale_rows(logged)
        self._requests = logged.column("request_id").to_pylist()
        self._row_causes: dict[str, dict[int, RowCause]] = {}

    def report(self) -> ParityReport:
        outputs = {one.name: (view, one) for view, fields in self._definition.outputs.items() for one in fields}
        found = [one for name, (view, about) in outputs.items() if (one := self._differing(name, view, about)).rows]
        stored = {use.name for use in self._definition.uses}
        # Computed features last: what is wrong with their inputs is wrong with them.
        for one in sorted(found, key=lambda one: one.view not in stored):
            self._explain(one, found)
        return self._told(found, len(outputs))

    def _differing(self, name: str, view: str, one: Field) -> _Differing:
        joined = self._joined.column(name)
        served = _column(self._logged, name, joined.type)
        differs = ~same_values(served, joined, self._tolerance)
        return _Differing(one, view, served, joined, np.flatnonzero(differs).tolist())

    def _explain(self, one: _Differing, found: Sequence[_Differing]) -> None:
        uses = self._uses_of(one.view)
        for use in uses:
            self._explain_rows(use, one.rows)
        left: list[int] = []
        for row in one.rows:
            causes = [self._row_causes[use.name][row] for use in uses]
            cause = of_inputs([each for each in causes if self._holds(each, one, row)]).cause
            inherited = next((each.causes[row] for each in found if self._feeds(each, uses, one, row)), None)
            if cause is not None:
                one.causes[row] = (cause, _FROM_A_COPY if cause == "lag" and self._stale[row] else "")
            elif inherited is not None:
                one.causes[row] = inherited
            else:
                left.append(row)
        if left:
            one.causes |= self._by_values(one, left)

    def _holds(self, cause: RowCause, one: _Differing, row: int) -> bool:
        """Return whether a cause by rows is that of a feature: where earlier rows are left, one must have its value."""
        names = {use.name for use in self._definition.uses}
        if not cause.earlier or one.view not in names:
            return True
        values = pa.array([each.values[one.feature.feature] for each in cause.earlier], one.feature.dtype.to_arrow())
        earlier = pa.chunked_array([one.feature.filled(values)])
        served = one.served.take(pa.array([row] * len(values)))
        holds = bool(same_values(served, earlier, self._tolerance).any())
        if not holds:  # wrong also as a value of the row that was served
            one.expected[row] = earlier[-1].as_py()
        return holds

    def _uses_of(self, view: str) -> list[ViewProjection]:
        """Return the uses of stored views that the features of a use or an on-demand view come from."""
        own = [use for use in self._definition.uses if use.name == view]
        return own or [use for each in self._definition.on_demand_views if each.name == view for use in each.uses]

    @staticmethod
    def _feeds(each: _Differing, uses: Sequence[ViewProjection], one: _Differing, row: int) -> bool:
        return each.view != one.view and row in each.causes and each.view in {use.name for use in uses}

    def _by_values(self, one: _Differing, rows: Sequence[int]) -> dict[int, tuple[Cause, str]]:
        default = one.feature.default
        expected = {row: one.expected[row] if row in one.expected else one.joined[row].as_py() for row in rows}
        causes = {row: value_cause(one.served[row].as_py(), expected[row], default) for row in rows}
        joined = [row for row in rows if row not in one.expected]
        version = self._version_that_gives(one, joined)
        if version:
            causes |= dict.fromkeys(joined, ("transformation version", f"as of {version}"))
        casts = Counter(said for cause, said in causes.values() if cause == "type")
        # One number in many is an integer by chance: a cast shows in most of a feature's rows.
        believed = {said for said, count in casts.items() if 2 * count >= len(rows)}
        return {
            row: (cause, said) if cause != "type" or said in believed else ("unexplained", "")
            for row, (cause, said) in causes.items()
        }

    def _version_that_gives(self, one: _Differing, rows: Sequence[int]) -> str:
        """Return the other version of the service that gives what was served in all of these rows; "" if none does."""
        served = one.served.take(pa.array(rows, pa.int64()))
        if served.null_count == len(served):  # which every version gives that has no rows
            return ""
        for version, joined in self._other_versions.items():
            if one.feature.name in joined.column_names:
                given = joined.column(one.feature.name).take(pa.array(rows, pa.int64()))
                if same_values(served, given, self._tolerance).all():
                    return version
        return ""

    @cached_property
    def _other_versions(self) -> Mapping[str, pa.Table]:
        others = [one for one in self._store.registry.versions(self._service.name) if one.id != self._service.id]
        joined = {}
        for other in others[::-1][:OTHER_VERSIONS]:
            try:
                joined[other.id] = self._join(other.id)
            except FeatureStoreError:  # it asks for other columns, or is no longer here: it tells nothing
                continue
        return joined

    def _join(self, service: str) -> pa.Table:
        definition = self._store.registry.service(service).definition
        names = [*definition.keys, *(one.name for one in definition.request)]
        here = [name for name in names if name in self._logged.column_names]
        entities = self._logged.select(here).append_column(EVENT_TIMESTAMP, self._logged.column("served_at"))
        return self._store.get_historical_features(entities, service, with_status=True).to_arrow()

    def _explain_rows(self, use: ViewProjection, rows: Sequence[int]) -> None:
        """Find out why the row of a view that was served is not the join's, for rows of the log."""
        known = self._row_causes.setdefault(use.name, {})
        new = [row for row in rows if row not in known]
        served, joined = (_seen(table, use.name, new) for table in (self._logged, self._joined))
        keys = _keys(self._logged, use, new)
        stored = {} if self._replay or not new else self._stored(use, keys, new, served, joined)
        pushed = isinstance(use.view.source, PushSource)
        for at, row in enumerate(new):
            oldest = min((one.event for one in (served[at], joined[at]) if one.event is not None), default=0)
            mine = [one for one in stored.get(keys[at], ()) if one.event >= oldest]
            known[row] = row_cause(
                served[at], joined[at], int(self._served_at[row]), mine, pushed=pushed, replay=self._replay
            )

    def _stored(
        self,
        use: ViewProjection,
        keys: Sequence[Key],
        rows: Sequence[int],
        served: Sequence[Seen],
        joined: Sequence[Seen],
    ) -> Mapping[Key, Sequence[Any]]:
        events = [one.event for one in (*served, *joined) if one.event is not None]
        if not events:
            return {}
        last = max(int(self._served_at[row]) for row in rows)
        features = [one.feature for one in self._definition.outputs.get(use.name, ())]
        offline = OfflineStore(self._store.config, self._store.registry)
        return stored_rows(offline, use.view, set(keys), features, min(events), last)

    def _told(self, found: Sequence[_Differing], features: int) -> ParityReport:
        causes: dict[int, set[Cause]] = {}
        for one in found:
            for row, (cause, _) in one.causes.items():
                causes.setdefault(row, set()).add(cause)
        wrong = {row for row, said in causes.items() if said & BUGS}
        lagged = {row for row, said in causes.items() if "lag" in said} - wrong
        skews = sorted((self._skew(one) for one in found), key=lambda one: (-one.wrong, -sum(one.rows.values())))
        instants = self._served_at
        return ParityReport(
            service=self._service.id,
            checked=self._logged.num_rows,
            values=self._logged.num_rows * features,
            requests=len(set(self._requests)),
            since=_EPOCH + timedelta(microseconds=int(instants.min())),
            until=_EPOCH + timedelta(microseconds=int(instants.max())),
            mismatches=len(wrong),
            lagged=len(lagged),
            late=len(causes) - len(wrong) - len(lagged),
            stale=int(self._stale.sum()),
            by_feature={one.feature: one.wrong for one in skews if one.wrong},
            features=tuple(skews),
            lag=tuple(lag for use in self._definition.uses if (lag := self._lag(use)) is not None),
            examples=self._examples(found),
        )

    def _skew(self, one: _Differing) -> FeatureSkew:
        counted = Counter(cause for cause, _ in one.causes.values())
        details: dict[Cause, str] = {}
        for cause in counted:
            said = Counter(text for each, text in one.causes.values() if each == cause and text)
            if said:
                details[cause] = said.most_common(1)[0][0]
        wrong = {self._requests[row] for row, (cause, _) in one.causes.items() if cause in BUGS}
        return FeatureSkew(
            feature=one.feature.name,
            view=one.view,
            views=tuple(dict.fromkeys(use.view.name for use in self._uses_of(one.view))),
            rows=dict(sorted(counted.items(), key=lambda item: (-item[1], CAUSES.index(item[0])))),
            details=details,
            requests=len({self._requests[row] for row in one.rows}),
            wrong_requests=len(wrong),
            share=share_of(len(wrong), len(set(self._requests))),
        )

    def _lag(self, use: ViewProjection) -> ViewLag | None:
        lags = {row: one for row, one in self._row_causes.get(use.name, {}).items() if one.cause == "lag"}
        if not lags:
            return None
        rows = sorted(lags)
        events = [one.event for one in _seen(self._logged, use.name, rows)]
        ages = [int(self._served_at[row]) - event for row, event in zip(rows, events, strict=True) if event is not None]
        return ViewLag(
            view=use.name,
            rows=len(rows),
            share=share_of(len({self._requests[row] for row in rows}), len(set(self._requests))),
            served_age=Ages.of([age / 1e6 for age in ages]),
            waited=Ages.of([lags[row].waited / 1e6 for row in rows]),
            stale=int(self._stale[rows].sum()),
        )

    def _examples(self, found: Sequence[_Differing]) -> tuple[Example, ...]:
        ordered = sorted(
            ((one.causes[row][0] not in BUGS, row, at) for at, one in enumerate(found) for row in one.rows),
        )
        return tuple(self._example(found[at], row) for _, row, at in ordered[:EXAMPLES])

    def _example(self, one: _Differing, row: int) -> Example:
        events = {
            name: _seen(table, one.view, [row])[0].event
            for name, table in (("served", self._logged), ("joined", self._joined))
        }
        cause, detail = one.causes[row]
        return Example(
            request_id=self._requests[row],
            row=self._logged.column("row")[row].as_py(),
            keys={key: self._logged.column(key)[row].as_py() for key in self._definition.keys},
            feature=one.feature.name,
            served=one.served[row].as_py(),
            joined=one.joined[row].as_py(),
            cause=cause,
            detail=detail,
            served_at=_EPOCH + timedelta(microseconds=int(self._served_at[row])),
            served_event_time=_instant(events["served"]),
            joined_event_time=_instant(events["joined"]),
        )


def _column(table: pa.Table, name: str, kind: pa.DataType) -> pa.ChunkedArray:
    """Return a column; nulls where the log has none of that name."""
    return table.column(name) if name in table.column_names else pa.chunked_array([pa.nulls(table.num_rows, kind)])


def _seen(table: pa.Table, use: str, rows: Sequence[int]) -> list[Seen]:
    wanted = pa.array(rows, pa.int64())
    statuses = _column(table, f"{use}__status", pa.int8()).take(wanted).fill_null(NOT_FOUND).to_pylist()
    events = _column(table, f"{use}__{EVENT_TIMESTAMP}", _INSTANT).take(wanted)
    return [Seen(*pair) for pair in zip(statuses, events.cast(_INSTANT).cast(pa.int64()).to_pylist(), strict=True)]


def _keys(logged: pa.Table, use: ViewProjection, rows: Sequence[int]) -> list[Key]:
    wanted = pa.array(rows, pa.int64())
    return list(zip(*(logged.column(column).take(wanted).to_pylist() for column in use.columns.values()), strict=True))


def _stale_rows(logged: pa.Table) -> NDArray[np.bool_]:
    if COMPLETE_TO not in logged.column_names:  # files of earlier releases alone
        return np.zeros(logged.num_rows, np.bool_)
    return np.asarray(logged.column(COMPLETE_TO).is_valid().to_numpy())


def _microseconds(column: pa.ChunkedArray) -> NDArray[np.int64]:
    instants: NDArray[np.int64] = column.cast(_INSTANT).cast(pa.int64()).to_numpy()
    return instants


def _instant(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)
