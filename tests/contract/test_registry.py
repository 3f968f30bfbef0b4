"""SQLite and PostgreSQL give the same answers: whatever is done to a registry, in either, with any text."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from featurestore import types
from featurestore.definitions import Entity, FeatureService, FeatureView, Field, Model
from featurestore.errors import FeatureStoreError
from featurestore.registry import Registry, open_registry
from tests import backends

Do = Callable[[Registry], object]

#: In the order of their URLs below.
KINDS = ("sqlite", "postgresql")
ON_BOTH = backends.marks("registry", *KINDS)

#: Two that only a binary order sorts alike everywhere.
NAMES = ("weather", "Zephyr")
AIRPORT = Entity(name="airport")
FIELDS = [Field(name="temp", dtype=types.Float64)]

#: Anything but half a character, which no text on the wire may hold.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
printable = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
names = st.sampled_from(NAMES)
numbers = st.integers(1, 3)
_projects = itertools.count(1)


def apply(name: str, hours: int, note: str, who: str, feature: str, breaking: bool) -> Do:
    schema = [Field(name=feature, dtype=types.Float64, description=note)]
    view = FeatureView(name=name, entities=[AIRPORT], ttl=timedelta(hours=hours), schema=schema, tags={note: note})
    service = FeatureService(name=f"serve{name}", features=[view])
    return lambda registry: registry.apply([service], who=who, allow_breaking=breaking).to_json()


def promote(name: str, version: int, alias: str, who: str) -> Do:
    return lambda registry: registry.promote(f"serve{name}@{version}", alias, who=who).id


def rollback(name: str, who: str) -> Do:
    return lambda registry: registry.rollback(f"serve{name}", who=who).id


def load(load_id: str, rows: int, reason: str, who: str) -> Do:
    return lambda registry: (
        registry.record_load(
            load_id=load_id,
            storage_id="weather-0f3a91c2b4d5",
            table_version=2**40,
            rows_read=rows + 1,
            rows_written=rows,
            rows_quarantined=1,
            reasons={reason: 1},
            author=who,
        ).order
    )


def dataset(name: str, value: str, who: str) -> Do:
    return lambda registry: registry.record_dataset(f"data{name}", {"value": value, "service": None}, who=who).id


def model(name: str, version: int, metric: float, who: str) -> Do:
    made = Model(name=f"fit{name}", service=f"serve{name}@{version}", dataset=f"data{name}@1", metrics={"rmse": metric})
    return lambda registry: registry.record_model(made, who=who).id


def materialize(until: datetime, who: str) -> Do:
    return lambda registry: (
        registry.record_materialization("weather-0f3a91c2b4d5", 2**40, until, {"read": 2**40}, who=who).until
    )


def remove(name: str, who: str) -> Do:
    return lambda registry: registry.remove(name, who=who).to_json()


instants = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive
finite = st.floats(allow_nan=False, allow_infinity=False)
steps = st.one_of(
    st.builds(apply, names, numbers, texts, printable, st.sampled_from(["temp", "Temp"]), st.booleans()),
    st.builds(promote, names, numbers, st.sampled_from(["production", "Shadow", "aged"]), printable),
    st.builds(rollback, names, printable),
    st.builds(load, printable, st.integers(0, 2**50), texts, printable),
    st.builds(dataset, names, texts, printable),
    st.builds(model, names, numbers, finite, printable),
    st.builds(materialize, instants, printable),
    st.builds(remove, st.sampled_from([*NAMES, "airport", "serveweather", "fitweather", "nothing"]), printable),
)


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory, postgresql_server: str) -> tuple[str, str]:
    """Return a file and a database; the latter sorts as English does, as a server in use often will."""
    file = tmp_path_factory.mktemp("registry") / "registry.db"
    with psycopg.connect(f"{postgresql_server}/postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE english TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'")
    return f"sqlite:///{file}", f"{postgresql_server}/english".replace("postgresql://", "postgresql+psycopg://")


def outcome(do: Do, registry: Registry) -> object:
    """Return what a step gave, or what was said against it."""
    try:
        return do(registry)
    except FeatureStoreError as error:
        return type(error), error.message, error.hint


def everything(registry: Registry) -> dict[str, Any]:
    """Return all that a registry tells, but for instants that the clock gave."""
    listed = registry.list()
    return {
        "list": [(one.id, one.kind, one.content_hash, one.definition, one.pins, one.applied_by) for one in listed],
        "versions": [[one.id for one in registry.versions(one.name)] for one in listed],
        "resolved": {name: one.id for name, one in registry.resolved_services().items()},
        "aliases": [registry.aliases(f"serve{name}") for name in NAMES],
        "loads": [
            (one.load_id, one.order, one.table_version, one.rows_written, one.reasons, one.author)
            for one in registry.loads("weather-0f3a91c2b4d5")
        ],
        "materialized": getattr(registry.last_materialization("weather-0f3a91c2b4d5"), "until", None),
        "datasets": [(one.id, one.manifest, one.created_by) for one in registry.datasets()],
        "models": [(one.id, one.service, one.dataset, one.metrics, one.created_by) for one in registry.models()],
        "audit": [(one.sequence, one.who, one.action, one.object, one.details) for one in registry.audit()],
        "problems": registry.verify_audit(),
        "revision": registry.revision(),
    }


@ON_BOTH[0]
@ON_BOTH[1]
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(todo=st.lists(steps, max_size=12))
def test_both_databases_give_the_same_answers(urls: tuple[str, str], todo: list[Do]) -> None:
    project = f"project{next(_projects)}"
    with open_registry(urls[0], project) as file, open_registry(urls[1], project) as server:
        for do in todo:
            assert outcome(do, file) == outcome(do, server)
        told = everything(file)
        assert told == everything(server)
        assert told["problems"] == []


@pytest.mark.parametrize("kind", backends.params("registry", *KINDS))
def test_a_bare_reference_to_a_service_means_the_same_asked_for_alone_and_with_all(
    urls: tuple[str, str], kind: str
) -> None:
    with open_registry(urls[KINDS.index(kind)], f"project{next(_projects)}") as registry:
        for name, hours in itertools.product(NAMES, (1, 2, 3)):
            apply(name, hours, "", "ada", "temp", False)(registry)
        promote("weather", 2, "production", "ada")(registry)
        together = registry.resolved_services()
        assert {name: one.id for name, one in together.items()} == {
            name: registry.resolve_service(name).id for name in together
        }
        assert sorted(together) == sorted(
            [f"serve{name}{version}" for name in NAMES for version in ("", "@1", "@2", "@3")]
        )
        assert together["serveweather"].definition == registry.service("serveweather@2").definition


@ON_BOTH[0]
@ON_BOTH[1]
def test_what_was_listed_can_be_read_when_the_registry_is_closed(urls: tuple[str, str]) -> None:
    for url in urls:
        with open_registry(url, f"project{next(_projects)}") as registry:
            apply("weather", 1, "hourly", "ada", "temp", False)(registry)
            apply("weather", 2, "hourly", "ada", "temp", False)(registry)
            listed = [*registry.list("feature_service"), registry.service("serveweather@1")]
        event.listen(registry._database.engine, "connect", lambda *_: pytest.fail("the registry was opened again"))
        assert [one.definition.features[0].ttl for one in listed] == [timedelta(hours=2), timedelta(hours=1)]
        assert json.dumps(listed[0].definition.notes()).count("hourly") == 3
