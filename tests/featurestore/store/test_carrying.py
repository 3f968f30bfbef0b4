"""A new version keeps the history that still means the same; a plan says so before, and an apply does it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, SqlSource
from featurestore.definitions import storage_id
from featurestore.errors import BreakingChangeError, OnlineStoreError
from featurestore.offline.intake.ingest import IngestReport
from featurestore.offline.tables import carry_over
from featurestore.registry import Plan
from featurestore.types import Float64, Int64

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
USER = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
VIEW = FeatureView(name="spending", entities=[USER], schema=[Field(name="total", dtype=Float64)])
WIDER = replace(VIEW, schema=[*VIEW.schema, Field(name="orders", dtype=Int64)])
ENTITIES = [{"user_id": 1, "event_timestamp": NOON + timedelta(days=1)}]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    with FeatureStore.init(tmp_path / "shop") as store:
        store.apply([VIEW, FeatureService(name="scoring", features=[VIEW])])
        store.ingest("spending", [{"user_id": 1, "total": 10.5, "event_timestamp": NOON}])
        yield store


def notes(store: FeatureStore, *definitions: Any) -> tuple[str, ...]:
    return next(change.notes for change in store.plan(definitions).changes if change.name == "spending")


def test_a_plan_says_what_becomes_of_the_rows(store: FeatureStore) -> None:
    said = notes(store, WIDER)
    assert "1 rows are carried over, with total" in said
    assert "older rows have no orders" in said
    assert "lookups of the new version find nothing until: featurestore materialize spending" in said
    sourced = replace(VIEW, source=FileSource(path="orders.csv"))
    (why, *_) = [note for note in notes(store, sourced) if note.startswith("history starts now")]
    assert why.endswith("featurestore ingest spending")


def test_a_longer_ttl_shares_the_rows_and_asks_for_the_gap_online(store: FeatureStore) -> None:
    store.apply([replace(VIEW, ttl=timedelta(days=1))])
    said = notes(store, replace(VIEW, ttl=timedelta(days=7)))
    assert any("kept longer" in note for note in said)
    assert not any("kept longer" in note for note in notes(store, replace(VIEW, ttl=timedelta(hours=7))))


def test_an_apply_carries_the_rows_over_and_training_sees_them(store: FeatureStore) -> None:
    plan = store.apply([WIDER, FeatureService(name="scoring", features=[WIDER])])
    assert "1 rows carried over" in plan.render()
    assert "lookups of the new version find nothing until: featurestore materialize spending" in plan.render()
    joined = store.get_historical_features(ENTITIES, "scoring").to_polars()
    assert joined.select("total", "orders").rows() == [(10.5, None)]
    store.materialize("spending")
    assert store.get_online_features("scoring", [{"user_id": 1}]).to_dict() == {"total": [10.5], "orders": [None]}


def test_a_version_that_is_applied_is_served_with_the_rows_of_the_one_before(store: FeatureStore) -> None:
    """Without an alias the newest version answers at once: it must not find nothing until somebody materializes."""
    store.materialize("spending")
    client = store.client()
    assert "the newest row of each key is put online before the version is served" in notes(store, WIDER)
    plan = store.apply([WIDER, FeatureService(name="scoring", features=[WIDER])])
    assert "1 rows carried over" in plan.render()
    assert "1 newest rows put online" in plan.render()
    assert store.client().get_online_features("scoring", [{"user_id": 1}]).to_dict() == {
        "total": [10.5],
        "orders": [None],
    }
    assert client.get_online_features("scoring@1", [{"user_id": 1}]).to_dict() == {"total": [10.5]}
    store.ingest("spending", [{"user_id": 1, "total": 11.5, "orders": 2, "event_timestamp": NOON + timedelta(hours=1)}])
    store.materialize("spending")
    # Back again: it has rows of its own.
    store.apply([VIEW, FeatureService(name="scoring", features=[VIEW])], allow_breaking=True)
    assert store.get_online_features("scoring", [{"user_id": 1}]).to_dict() == {"total": [11.5]}


def test_an_online_store_that_refuses_does_not_keep_a_version_from_being_applied(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.materialize("spending")

    def refuse(*_: object, **__: object) -> None:
        raise OnlineStoreError("It is away.")

    with monkeypatch.context() as away:
        away.setattr(type(store.online), "put_step", refuse)
        plan = store.apply([WIDER])
    said = "lookups of the new version find nothing until: featurestore materialize spending (It is away.)"
    assert said in plan.render()


def test_a_source_that_both_versions_have_read_is_not_lacking_in_either(store: FeatureStore) -> None:
    """So a rollback after an ordinary release finds nothing behind, and nothing is read twice."""
    file = store.config.root / "orders.csv"
    file.write_text("user_id,total,event_timestamp\n1,10.5,2024-01-01T12:00:00Z\n2,4,2024-01-01T12:00:00Z\n")
    loose = FeatureView(
        name="sourced", entities=[USER], schema=[Field(name="total", dtype=Float64)], source=FileSource(path=file.name)
    )
    strict = replace(loose, schema=[Field(name="total", dtype=Float64, ge=0, unique_within="table")])
    for number, view in enumerate((loose, strict), 1):
        store.apply([view, FeatureService(name="sourced_service", features=[view])])
        report = store.ingest("sourced")
        assert (report.read, report.quarantined) == ((2, 0) if number == 1 else (0, 0))
        store.materialize("sourced")
        store.promote(f"sourced_service@{number}")
    assert store.offline.missing_loads(strict, loose) == []
    assert store.rollback("sourced_service") is not None


def test_a_changed_query_that_has_read_the_same_files_leaves_the_old_one_complete(store: FeatureStore) -> None:
    (store.config.root / "orders.csv").write_text("user_id,total,event_timestamp\n1,10.5,2024-01-01T12:00:00Z\n")
    orders = FileSource(name="orders", path="orders.csv")
    views = [
        FeatureView(
            name="queried",
            entities=[USER],
            schema=[Field(name="total", dtype=Float64)],
            source=SqlSource(
                query=f"SELECT user_id, total * {factor} AS total, event_timestamp FROM orders", sources=[orders]
            ),
        )
        for factor in (1, 2)
    ]
    for number, view in enumerate(views, 1):
        store.apply([view, FeatureService(name="queried_service", features=[view])])
        store.ingest("queried")
        store.materialize("queried")
        store.promote(f"queried_service@{number}")
    assert store.rollback("queried_service") is not None


def test_an_apply_that_was_killed_after_the_registry_is_finished_by_the_next(store: FeatureStore) -> None:
    store.registry.apply([WIDER], who="ada")
    assert store.offline.table_version(WIDER) is None
    store.apply([WIDER])
    assert [load.rows_written for load in store.offline.loads(WIDER)] == [1]


@pytest.mark.parametrize("finish", ["apply", "promote"])
def test_what_came_while_an_apply_was_killed_is_carried_by_the_next_or_before_it_is_served(
    store: FeatureStore, finish: str
) -> None:
    """Killed between the registry's commit and the last carry-over, with a load in between that only the old one has.

    Since then both are fed, so that the new one's ledger goes on as if it lacked nothing.
    """
    new = [WIDER, FeatureService(name="scoring", features=[WIDER])]
    store.materialize("spending")
    store.offline.carry_over(VIEW, WIDER, who="ada")
    between = {"user_id": 3, "total": 3.0, "event_timestamp": NOON}
    if finish == "apply":
        store.ingest("spending", [between])
    else:
        store.push("spending", [between])
        store.flush_pushes()
    store.registry.apply(new, who="ada")
    both = {"user_id": 2, "total": 2.0, "orders": 1, "event_timestamp": NOON}
    store.ingest("spending", [both])
    assert [load.rows_written for load in store.offline.missing_loads(VIEW, WIDER)] == [1]
    if finish == "apply":
        store.apply(new)
    else:
        store.promote("scoring@2", catch_up=True)
        with store.client() as client:
            found = client.get_online_features("scoring", [{"user_id": 3}, {"user_id": 2}]).to_dict()
        assert found["total"] == [3.0, 2.0]
    assert totals(store, WIDER) == [2.0, 3.0, 10.5]
    store.apply(new)
    assert totals(store, WIDER) == [2.0, 3.0, 10.5]


def test_a_load_of_the_old_version_alone_after_an_apply_is_not_taken_for_what_an_apply_owed(
    store: FeatureStore,
) -> None:
    new = [WIDER, FeatureService(name="scoring", features=[WIDER])]
    store.apply(new)
    store.ingest("spending@1", [{"user_id": 3, "total": 3.0, "event_timestamp": NOON}])
    store.apply(new)
    store.promote("scoring@2", catch_up=True)
    assert totals(store, WIDER) == [10.5]


def test_rows_that_reach_a_new_version_before_its_history_do_not_hide_that_it_lacks_it(store: FeatureStore) -> None:
    store.registry.apply([WIDER, FeatureService(name="scoring", features=[WIDER])], who="ada")
    later = {"user_id": 2, "total": 1.0, "orders": 1, "event_timestamp": NOON}
    store.offline.ingest(WIDER, [later], who="ada")
    assert [load.rows_written for load in store.offline.missing_loads(VIEW, WIDER)] == [1]
    store.offline.carry_over(VIEW, WIDER, who="ada")
    assert store.offline.missing_loads(VIEW, WIDER) == []
    joined = store.get_historical_features([*ENTITIES, {**ENTITIES[0], "user_id": 2}], "scoring").to_polars()
    assert joined["total"].to_list() == [10.5, 1.0]


def test_rows_that_came_between_the_carry_over_and_the_first_load_are_carried_too(store: FeatureStore) -> None:
    store.offline.carry_over(VIEW, WIDER, who="ada")
    store.ingest("spending", [{"user_id": 3, "total": 3.0, "event_timestamp": NOON}])
    store.registry.apply([WIDER], who="ada")
    store.offline.ingest(WIDER, [{"user_id": 2, "total": 1.0, "orders": 1, "event_timestamp": NOON}], who="ada")
    assert [load.rows_written for load in store.offline.missing_loads(VIEW, WIDER)] == [1]


def test_what_is_refused_carries_nothing(store: FeatureStore) -> None:
    store.apply([WIDER])
    narrower = replace(VIEW, schema=[*VIEW.schema, Field(name="visits", dtype=Int64)])
    with pytest.raises(BreakingChangeError):
        store.apply([narrower])
    assert store.offline.table_version(narrower) is None


def test_going_back_to_a_known_definition_brings_what_it_missed(store: FeatureStore) -> None:
    store.apply([WIDER, FeatureService(name="scoring", features=[WIDER])])
    store.ingest(
        "spending@2", [{"user_id": 1, "total": 11.5, "orders": 2, "event_timestamp": NOON + timedelta(hours=1)}]
    )
    assert storage_id(VIEW) != storage_id(WIDER)
    store.apply([VIEW, FeatureService(name="scoring", features=[VIEW])], allow_breaking=True)
    joined = store.get_historical_features(ENTITIES, "scoring").to_polars()
    assert joined["total"].to_list() == [11.5]


@pytest.mark.parametrize("stream", [False, True])
def test_rows_that_come_while_a_version_is_applied_reach_it_too(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    load = store.offline.ingest

    def overtaken(view: FeatureView, *given: Any, **more: Any) -> IngestReport:
        if view == VIEW:
            with FeatureStore(store.config.root) as other:
                other.apply([WIDER, FeatureService(name="scoring", features=[WIDER])])
        return load(view, *given, **more)

    monkeypatch.setattr(store.offline, "ingest", overtaken)
    late = pa.Table.from_pylist(
        [{"user_id": 1, "total": 11.5, "orders": 3, "event_timestamp": NOON + timedelta(hours=1)}]
    )
    report = store.ingest("spending", late.to_reader() if stream else late)
    joined = store.get_historical_features(ENTITIES, "scoring").to_polars()
    if stream:
        assert any("spending@2 is live too" in note and "ingest them again" in note for note in report.notes)
        assert joined["total"].to_list() == [10.5]
    else:
        assert [(one.view, one.written) for one in report.also] == [("spending@2", 1)]
        assert joined.select("total", "orders").rows() == [(11.5, 3)]


def test_a_stream_reaches_all_live_versions_and_is_never_held_in_memory(store: FeatureStore) -> None:
    store.promote("scoring@1", catch_up=True)
    store.apply([WIDER, FeatureService(name="scoring", features=[WIDER])])
    rows, parts = 100_000, 40
    before, most = pa.total_allocated_bytes(), 0

    def measured(_: int = 0) -> None:
        nonlocal most
        most = max(most, pa.total_allocated_bytes() - before)

    def stream() -> Iterator[pa.RecordBatch]:
        instants = pa.repeat(pa.scalar(NOON, pa.timestamp("us", "UTC")), rows)
        names = ["user_id", "total", "orders", "event_timestamp"]
        for part in range(parts):
            keys, total, orders = (pa.array(np.arange(part * rows, (part + 1) * rows)) for _ in names[:3])
            measured()
            yield pa.RecordBatch.from_arrays([keys, total, orders, instants], names)

    report = store.ingest("spending", stream(), progress=measured)
    assert [report.written, *(one.written for one in report.also)] == [rows * parts] * 2
    assert most < rows * parts * 3 * 8 / 3
    assert list((store.config.root / "data" / "offline" / ".spill").iterdir()) == []


def test_a_stream_that_ends_in_an_error_reaches_no_version(store: FeatureStore) -> None:
    store.promote("scoring@1", catch_up=True)
    store.apply([WIDER, FeatureService(name="scoring", features=[WIDER])])
    before = [len(store.loads(f"spending@{version}")) for version in (1, 2)]

    def stream() -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pylist([{"user_id": 1, "total": 1.0, "orders": 1, "event_timestamp": NOON}])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.ingest("spending", stream())
    assert [len(store.loads(f"spending@{version}")) for version in (1, 2)] == before


def totals(store: FeatureStore, view: FeatureView) -> list[float]:
    """Return the totals of all rows in a version's table: the tests tell rows apart by them."""
    return sorted(store.offline.rows_by_event_time(view, after=None).read_all()["total"].to_pylist())


def row(total: float) -> dict[str, Any]:
    at = NOON + timedelta(hours=total)
    return {"user_id": 1, "total": total, "orders": 1, "refunds": 1, "event_timestamp": at}


LOOSER = replace(VIEW, schema=[replace(VIEW.schema[0], ge=-9)])


@pytest.mark.parametrize("new", [LOOSER, WIDER])
@pytest.mark.parametrize("before", [True, False])
def test_a_load_between_two_tables_while_a_version_is_applied_is_once_in_each(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, new: FeatureView, before: bool
) -> None:
    """It is in the table of the version that was current, and on its way to the one that is applied meanwhile."""
    load = store.offline.ingest

    def overtaken(view: FeatureView, *given: Any, **more: Any) -> IngestReport:
        report = load(view, *given, **more)
        if view == VIEW:
            with FeatureStore(store.config.root) as other:
                if before:
                    other.apply([new, FeatureService(name="scoring", features=[new])])
                else:  # it comes while the rows of the first version are on their way
                    query, waiting = carry_over.rows_to_carry, [lambda: load(new, *given, **more)]

                    def hooked(*args: Any) -> str:
                        if waiting:
                            waiting.pop()()
                        return query(*args)

                    with monkeypatch.context() as patched:
                        patched.setattr(carry_over, "rows_to_carry", hooked)
                        other.apply([new, FeatureService(name="scoring", features=[new])])
        return report

    monkeypatch.setattr(store.offline, "ingest", overtaken)
    store.ingest("spending", [row(11.0)])
    assert totals(store, VIEW) == [10.5, 11.0]
    assert totals(store, new) == [10.5, 11.0]
    joined = store.get_historical_features(ENTITIES, "scoring").to_polars()
    assert joined["total"].to_list() == [11.0]
    assert new == LOOSER or joined["orders"].to_list() == [1]


def test_what_came_before_a_version_was_current_is_brought_though_it_was_fed_since(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the carry-over and the registry's commit one load goes to the old version, and after it one to both."""
    store.apply([WIDER])
    store.ingest("spending@2", [row(1.0)])
    store.apply([VIEW], allow_breaking=True)
    apply = store.registry.apply

    def late(*given: Any, **more: Any) -> Plan:
        store.offline.ingest(VIEW, [row(2.0)], who="ada", load_id="only-old")
        plan = apply(*given, **more)
        for view in (WIDER, VIEW):
            store.offline.ingest(view, [row(3.0)], who="ada", load_id="both")
        return plan

    monkeypatch.setattr(store.registry, "apply", late)
    store.apply([WIDER])
    assert totals(store, WIDER) == totals(store, VIEW) == [1.0, 2.0, 3.0, 10.5]


def test_a_definition_that_comes_back_after_two_others_has_each_row_once(store: FeatureStore) -> None:
    widest = replace(WIDER, schema=[*WIDER.schema, Field(name="refunds", dtype=Int64)])
    for number, view in enumerate((LOOSER, WIDER, widest, VIEW, widest, LOOSER), 1):
        store.apply([view, FeatureService(name="scoring", features=[view])], allow_breaking=True)
        store.ingest("spending", [row(float(number))])
        assert totals(store, view) == sorted([10.5, *map(float, range(1, number + 1))])


def test_rows_that_went_through_other_versions_and_back_are_known_since_they_came(store: FeatureStore) -> None:
    store.apply([FeatureService(name="first", features=[VIEW])])
    store.ingest("spending", [{"user_id": 1, "total": 11.0, "event_timestamp": NOON}])
    store.apply([LOOSER, FeatureService(name="second", features=[LOOSER])])
    # A load that only the second version has, between those of the first.
    store.ingest("spending@2", [{"user_id": 2, "total": 12.0, "event_timestamp": NOON}], load_id="second")
    came = next(load.published_at for load in store.offline.loads(LOOSER) if load.load_id == "second")
    store.apply([WIDER, FeatureService(name="third", features=[WIDER])])
    store.apply([VIEW, FeatureService(name="first", features=[VIEW])], allow_breaking=True)
    rows = [{"user_id": user, "event_timestamp": NOON} for user in (1, 2)]
    for service in ("first", "second", "third"):
        seen = [
            store.get_historical_features(rows, service, as_of=at).to_polars()["total"].to_list()
            for at in (came - timedelta(microseconds=1), came)
        ]
        assert seen == [[11.0, None], [11.0, 12.0]]
        at_rows = [{"user_id": 2, "event_timestamp": at} for at in (came - timedelta(microseconds=1), came)]
        joined = store.get_historical_features(at_rows, service, known_at="row").to_polars()
        assert joined["total"].to_list() == [None, 12.0]


def known(store: FeatureStore, service: str) -> list[list[Any]]:
    """Return what is seen of two users at some instants, as of before and after each of the loads so far."""
    instants = [load.published_at for load in store.offline.loads(VIEW)]
    edges = [instants[0] - timedelta(seconds=1), *instants]
    rows = [{"user_id": user, "event_timestamp": edge} for user in (1, 2) for edge in [*edges, NOON]]
    asked = [{"as_of": edge} for edge in edges] + [{"known_at": "row"}, {"as_of": edges[-2], "known_at": "row"}]
    return [store.get_historical_features(rows, service, **one).to_polars()["total"].to_list() for one in asked] + [
        store.get_historical_features(None, service, start=NOON, end=NOON + timedelta(days=9), as_of=edge)
        .to_polars()
        .select("user_id", "event_timestamp")
        .rows()
        for edge in edges
    ]


def test_rows_count_as_ingested_when_they_were_and_not_when_a_new_version_took_them_over(store: FeatureStore) -> None:
    store.apply([FeatureService(name="first", features=[VIEW])])
    for total in (11.0, 12.0):  # ties, and rows that the next version's checks refuse
        store.ingest(
            "spending",
            [
                {"user_id": 1, "total": total, "event_timestamp": NOON},
                {"user_id": 1, "total": -1.0, "event_timestamp": NOON - timedelta(days=1)},
                {"user_id": 2, "total": total + 1, "event_timestamp": NOON + timedelta(days=total - 10)},
            ],
        )
    before = known(store, "first")
    assert len({str(one) for one in before}) > 4
    wider = replace(WIDER, schema=[replace(VIEW.schema[0], ge=0), WIDER.schema[1]])
    widest = replace(wider, schema=[*wider.schema, Field(name="refunds", dtype=Int64)])
    for name, view in (("second", wider), ("third", widest)):
        store.apply([view, FeatureService(name=name, features=[view])])
        after = known(store, name)
        assert after == [[one for one in each if one != (1, NOON - timedelta(days=1))] for each in before]
    assert len(store.offline.loads(widest)) == 1
    store.compact("spending")
    assert known(store, "third") == after


def test_a_dataset_of_rows_that_were_taken_over_can_be_made_again(store: FeatureStore) -> None:
    store.ingest("spending", [{"user_id": 1, "total": 12.5, "event_timestamp": NOON}])
    first, second = (load.published_at for load in store.offline.loads(VIEW))
    store.apply([WIDER, FeatureService(name="scoring", features=[WIDER])])
    rows = [{"user_id": 1, "event_timestamp": at} for at in (first, second)]
    recipe = {"name": "known", "features": "scoring", "entity_df": rows, "as_of": first, "known_at": "row"}
    made = store.create_training_dataset(**recipe)
    store.ingest("spending", [{"user_id": 1, "total": 1.0, "orders": 1, "event_timestamp": NOON}])
    store.compact("spending")
    assert made.to_polars()["total"].to_list() == [10.5, 10.5]
    assert store.create_training_dataset(**recipe).to_polars()["total"].to_list() == [10.5, 10.5]
    assert [store.reproduce_dataset(f"known@{version}").proved for version in (1, 2)] == [True, True]
