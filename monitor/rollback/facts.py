"""What the rules of actions go by: loads and their rows, aliases, versions compared. Read from the store."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from featurestore.definitions import MonitorPolicy
from featurestore.errors import FeatureStoreError
from featurestore.offline.intake.pushed import PUSHED
from featurestore.offline.tables.load_rows import FieldOfLoad
from featurestore.registry.aliases import CANARY, PRODUCTION
from featurestore.registry.records import Alias, Load
from featurestore.store import FeatureStore
from monitor.performance.comparison import Margin
from monitor.performance.versions import QUALITY, compare_versions
from monitor.rollback.rules import (
    OF_ROWS,
    OF_VERSIONS,
    AliasFacts,
    CanaryFacts,
    FaultyRows,
    LoadFacts,
    bad_load,
    suspects,
    worse_canary,
    worse_release,
)
from monitor.rollback.values import Opened, Outlook

#: The chance that a canary which is as good is called worse, however often one looks.
_ERROR = 0.01


def outlook(
    store: FeatureStore, policy: MonitorPolicy, opened: Opened, *, ill: frozenset[str], now: datetime
) -> Outlook:
    """Return what an alert of an open incident justifies.

    Args:
        store: whose loads, aliases and outcomes.
        policy: the one that watches.
        opened: the alert.
        ill: services that have a firing alert of the same rule.
        now: before which outcomes count.

    Raises:
        OfflineStoreError: rows cannot be read.
    """
    if opened.rule in OF_ROWS:
        try:
            return bad_load(opened, _loads(store, opened))
        except FeatureStoreError as error:
            return Outlook(reason=error.message)
    if opened.rule in OF_VERSIONS:
        name = opened.service.partition("@")[0]
        aliases = {one.alias: one for one in store.aliases(name)}
        canary = aliases.get(CANARY)
        if canary is not None and canary.id == opened.service:
            return worse_canary(opened, _canary(store, policy, canary, now))
        return worse_release(opened, _alias(aliases.get(PRODUCTION), ill))
    return Outlook(reason=f'nothing is done by itself about "{opened.rule}"')


def _loads(store: FeatureStore, opened: Opened) -> dict[str, list[LoadFacts]]:
    """Return the loads of the views of an alert's features, and what the suspects among them brought."""
    found: dict[str, list[LoadFacts]] = {}
    by_view: dict[str, list[str]] = {}
    for feature in opened.features:
        plain = feature.partition(".")[0]
        if plain in opened.views:
            by_view.setdefault(opened.views[plain], []).append(plain)
    for view, features in by_view.items():
        loads = {one.load_id: one for one in store.loads(view) if one.withdrawn_at is None}
        facts = [_fact(view, one) for one in loads.values()]
        suspected = {one.load_id for one in suspects(opened, facts)}
        found[view] = [
            _fact(view, loads[one.load_id], _faulty(store, opened, view, loads[one.load_id], features))
            if one.load_id in suspected
            else one
            for one in facts
        ]
    return found


def _fact(view: str, load: Load, faulty: Mapping[str, FaultyRows] | None = None) -> LoadFacts:
    return LoadFacts(
        view=view,
        load_id=load.load_id,
        published_at=load.published_at,
        pushed=load.load_id.startswith(PUSHED),
        faulty=faulty,
    )


def _faulty(
    store: FeatureStore, opened: Opened, view: str, load: Load, features: list[str]
) -> dict[str, FaultyRows] | None:
    definition = store.registry.feature_view(view).definition
    fields = store.offline.fields_of_load(definition, load, features)
    return None if fields is None else {name: _rows(opened.rule, one) for name, one in fields.items()}


def _rows(rule: str, field: FieldOfLoad) -> FaultyRows:
    if rule == "constant":
        return FaultyRows(rows=field.rows, constant=field.constant)
    faulty, before = {
        "null spike": (field.missing, field.missing_before),
        "unseen categories": (field.unseen, 0),
        "out of range": (field.outside, 0),
    }[rule]
    return FaultyRows(rows=field.rows, faulty=faulty, rows_before=field.rows_before, faulty_before=before)


def _canary(store: FeatureStore, policy: MonitorPolicy, canary: Alias, now: datetime) -> CanaryFacts:
    production = store.registry.resolve_service(canary.service)
    tasks = {model.evaluation.task for model in store.registry.models(canary.id)}
    usual = ["mae"] if tasks == {"regression"} else ["accuracy"]
    metrics = [one for one in policy.performance if one in QUALITY] or usual
    worse: list[str] = []
    unsure: list[str] = []
    for metric in metrics:
        found = compare_versions(
            store,
            production.id,
            canary.id,
            metric=metric,
            margin=Margin(),
            now=now,
            confidence=1 - _ERROR / len(metrics),
            always_valid=True,  # it is asked at each run
        )
        # Better by nothing at all is what is asked: "no" is an interval that lies below.
        (worse if found.comparison.answer == "no" else unsure).append(found.comparison.text)
    return CanaryFacts(
        service=canary.service,
        version=canary.version,
        production=production.version,
        share=canary.share,
        worse=tuple(worse),
        open=tuple(unsure),
    )


def _alias(alias: Alias | None, ill: frozenset[str]) -> AliasFacts | None:
    if alias is None:
        return None
    before = alias.before[0] if alias.before else None
    return AliasFacts(
        service=alias.service,
        alias=alias.alias,
        version=alias.version,
        before=before,
        moved_at=alias.moved_at,
        before_is_ill=f"{alias.service}@{before}" in ill,
    )
