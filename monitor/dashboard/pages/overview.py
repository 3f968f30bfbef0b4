"""Whether all is well, in ten seconds: what is wrong, what waits for somebody, and how fresh everything is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from featurestore.definitions import FeatureView, storage_id
from featurestore.errors import FeatureStoreError
from featurestore.registry import Registered, Registry, live_views
from featurestore.types import microseconds
from monitor import budget, schema
from monitor.alerts import outbox
from monitor.alerts.incident_state import Incident
from monitor.alerts.showing import incident_values
from monitor.dashboard.marker import is_alive
from monitor.dashboard.page import Asked, Page, Values
from monitor.dashboard.reading import Reader
from monitor.dashboard.series import streams_of
from monitor.history import instant
from monitor.retraining.states import SignalState

#: Services, views and incidents that are shown; the lists have the rest.
_SHOWN = 50
_DAY = timedelta(days=1)


def read(reader: Reader, asked: Asked) -> Values:
    """Return what is wrong first, then what there is."""
    faults: list[dict[str, str]] = []
    registered = _registered(reader, faults)
    try:
        policies = reader.policies()
    except FeatureStoreError:
        policies = {}  # why, the lines before have said
    monitored = _monitored(reader, policies, asked.now, faults)
    return {
        "title": "Overview",
        "faults": faults,
        "project": reader.config.project,
        **registered,
        **monitored,
        "traffic": reader.servers.values(),
    }


def _registered(reader: Reader, faults: list[dict[str, str]]) -> dict[str, Any]:
    try:
        registry = reader.registry
        services = reader.known("services", lambda: [_service(one) for one in registry.list("feature_service")])
        live = live_views(registry)
        views = [_view(reader, registry, one) for one in live[:_SHOWN]]
        datasets, models = len(registry.datasets()), len(registry.models())
        promotions = [one for one in registry.promotions() if one.state == "pending"]
    except FeatureStoreError as error:
        faults.append(_fault("registry", error))
        return {
            "services": None,
            "more_services": 0,
            "views": None,
            "more_views": 0,
            "datasets": 0,
            "models": 0,
            "promotions": [],
        }
    return {
        "services": [one | {"aliases": registry.aliases(one["name"])} for one in services[:_SHOWN]],
        "more_services": max(0, len(services) - _SHOWN),
        "views": views,
        "more_views": max(0, len(live) - _SHOWN),
        "datasets": datasets,
        "models": models,
        "promotions": [{"number": one.number, "version": one.id, "alias": one.alias} for one in promotions],
    }


def _service(one: Registered[Any]) -> dict[str, Any]:
    features = sum(len(fields) for fields in one.definition.outputs.values())
    return {"name": one.name, "id": one.id, "features": features}


def _view(reader: Reader, registry: Registry, one: Registered[FeatureView]) -> dict[str, Any]:
    def described() -> tuple[str, float | None]:
        ttl = one.definition.ttl
        return storage_id(one.definition), None if ttl is None else ttl.total_seconds()

    table, ttl = reader.known(("view", one.id), described)
    done = registry.last_materialization(table)
    return {
        "name": one.name,
        "id": one.id,
        "ttl": ttl,
        "materialized_at": None if done is None else done.finished_at.isoformat(),
    }


def _monitored(
    reader: Reader, policies: Mapping[str, int], now: datetime, faults: list[dict[str, str]]
) -> dict[str, Any]:
    nothing: dict[str, Any] = {
        "monitor": None,
        "incidents": [],
        "streams": [],
        "budget": [],
        "signals_waiting": 0,
        "signals_held": 0,
        "messages": {},
        "disabled_channels": {},
    }
    try:
        history = reader.history
        with history.read() as connection:
            incidents = history.open_incidents(connection)
            found = {
                "monitor": _daemon(connection, reader.config.monitor.poll_seconds, now),
                "incidents": [incident_values(one) for one in _urgent_first(incidents)[:_SHOWN]],
                "streams": list(_streams(connection, policies)),
                "budget": _budget(reader, history.newest_incidents(connection, 1_000), now),
                "messages": outbox.counts(connection),
                "disabled_channels": outbox.disabled(connection),
                **_signals(connection),
            }
    except FeatureStoreError as error:
        faults.append(_fault("monitor", error))
        return nothing
    return found


def _fault(about: str, error: FeatureStoreError) -> dict[str, str]:
    return {"about": about, "what": error.message, "hint": error.hint}


def _urgent_first(incidents: list[Incident]) -> list[Incident]:
    order = {"page": 0, "ticket": 1, "info": 2}
    return sorted(incidents, key=lambda one: (bool(one.acknowledged_by), order.get(one.severity, 3), one.number))


def _daemon(connection: Connection, poll_seconds: float, now: datetime) -> dict[str, Any]:
    row = connection.execute(select(schema.heartbeats)).one_or_none()
    if row is None:
        return {"alive": False, "beat_at": None, "host": ""}
    beat = instant(row.beat_at)
    return {
        "alive": is_alive(row.beat_at, poll_seconds, now),
        "beat_at": None if beat is None else beat.isoformat(),
        "host": row.host,
    }


def _streams(connection: Connection, policies: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """Yield what the newest window of each stream said, and its traffic; no decision is read, which may be large."""
    windows = schema.windows
    for stream in streams_of(connection, policies):
        mine = (
            (windows.c.policy == stream.policy)
            & (windows.c.policy_version == stream.version)
            & (windows.c.service == stream.service)
            & (windows.c.slice == "")
        )
        newest = select(windows.c.window_end, windows.c.verdict, windows.c.rows).where(mine)
        last = connection.execute(
            newest.order_by(windows.c.window_start.desc(), windows.c.window_offset.desc()).limit(1)
        ).one_or_none()
        end = None if last is None else instant(last.window_end)
        rows = 0
        if end is not None:
            day = mine & (windows.c.window_start >= microseconds(end - _DAY))
            rows = int(connection.execute(select(func.coalesce(func.sum(windows.c.rows), 0)).where(day)).scalar_one())
        yield {
            "policy": stream.policy,
            "service": stream.service,
            "baseline": stream.baseline,
            "verdict": last.verdict if last is not None else "no window yet" if stream.baseline else "no baseline",
            "judged_until": None if end is None else end.isoformat(),
            "rows_of_last_day": rows,
        }


def _budget(reader: Reader, incidents: list[Incident], now: datetime) -> list[dict[str, Any]]:
    """Return, for each channel that pages, the pages that were sent in a quarter beside those that chance may send."""
    since = now - budget.QUARTER
    sent: dict[str, int] = {}
    for one in incidents:
        for told in one.told:
            if one.opened_at >= since and told.severity == "page":
                sent[told.channel] = sent.get(told.channel, 0) + 1
    budgets = {name: channel.budget for name, channel in reader.config.channels.items()}
    return [
        {"channel": name, "allowed": budgets.get(name, budget.DEFAULT_BUDGET), "sent": sent.get(name, 0)}
        for name in sorted({*budgets, *sent})
    ]


def _signals(connection: Connection) -> dict[str, int]:
    table = schema.signals
    counted = connection.execute(select(table.c.state, func.count()).group_by(table.c.state)).all()
    counts = {str(state): int(count) for state, count in counted}
    return {
        "signals_waiting": counts.get(str(SignalState.PENDING), 0),
        "signals_held": counts.get(str(SignalState.HELD), 0),
    }


PAGE = Page(name="overview", path="/overview", menu="Overview", read=read, twin=lambda _: ("monitor", "status"))
