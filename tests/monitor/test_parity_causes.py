"""Why served rows differ from the join: each cause provoked on a small store, and none where nothing is wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, OnDemandFeatureView
from featurestore.client import FeatureClient
from featurestore.errors import DataError
from featurestore.serving.log import COMPLETE_TO, log_table
from featurestore.serving.lookup import LogEntry, Lookups
from featurestore.serving.plan import ServicePlan
from featurestore.serving.runtime import compile_plans, served_services
from featurestore.types import Float64, Int64, String, Timestamp
from monitor.cli import app
from monitor.parity import ParityReport, Tolerance, check_parity, skew_findings
from monitor.parity.causes import Seen, StoredRow, row_cause, value_cause
from monitor.parity.report import Ages, share_of
from monitor.parity.showing import report_lines

AIRPORT = Entity(name="airport", join_keys=["origin"], dtypes=[String])
KEYS = ["EWR", "JFK", "LGA"]


def weather(**settings: Any) -> FeatureView:
    return FeatureView(
        name="weather",
        entities=[AIRPORT],
        schema=[
            Field(name="temp", dtype=Float64),
            Field(name="hour", dtype=Int64, default=-1),
            Field(name="sunrise", dtype=Timestamp),
        ],
        **{"ttl": timedelta(days=30)} | settings,
    )


def warmth(expression: str = "temp + 1", **settings: Any) -> OnDemandFeatureView:
    return OnDemandFeatureView(
        name="warmth",
        inputs=[weather(**settings)],
        schema=[Field(name="felt", dtype=Float64)],
        expressions={"felt": expression},
    )


def service(expression: str = "temp + 1", **settings: Any) -> FeatureService:
    return FeatureService(name="svc", features=[weather(**settings), warmth(expression, **settings)])


class Shop:
    """A store that serves for real, and logs what it served."""

    def __init__(self, store: FeatureStore) -> None:
        self.store = store
        self._files = 0

    def load(self, at: datetime, temp: float, keys: list[str] = KEYS) -> None:
        rows = [
            {"origin": key, "event_timestamp": at, "temp": temp + place / 3, "hour": place + 7, "sunrise": at}
            for place, key in enumerate(keys)
        ]
        assert self.store.ingest("weather", rows).written == len(rows)

    def serve(
        self, *, plan: str = "svc@1", requests: int = 5, change: Callable[[pa.Table], pa.Table] = lambda table: table
    ) -> None:
        """Ask for all keys so often, and log it as svc@1, whichever plan answered."""
        plans = compile_plans(served_services(self.store.registry))
        used = plans[plan]
        assert isinstance(used, ServicePlan)
        as_first = replace(used, id="svc@1")
        lookups = Lookups(self.store.online, {"svc": as_first, "svc@1": as_first}, max_rows=10)
        entries: list[LogEntry] = []

        def transport(method: str, data: bytes) -> bytes:
            if method == "GetOnlineFeatures":
                entries.append(lookups.get_online_features(data).entry)
            return lookups.transport(method, data)

        client = FeatureClient(transport=transport)
        for _ in range(requests):
            client.get_online_features("svc", [{"origin": key} for key in KEYS])
        folder = self.store.config.path(self.store.config.serving.log_path) / "svc"
        folder.mkdir(parents=True, exist_ok=True)
        self._files += 1
        table = change(log_table(entries[0].plan, entries, replay=False))
        pq.write_table(table, folder / f"{self._files}.parquet")

    def check(self, **settings: Any) -> ParityReport:
        return check_parity(self.store, "svc@1", **settings)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with FeatureStore.init(tmp_path / "repo", project="tests") as store:
        store.apply([service()])
        shop = Shop(store)
        shop.load(hours_ago(3), 10.1)
        store.materialize("weather")
        yield shop


def hours_ago(hours: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(hours=hours)


def causes(report: ParityReport) -> dict[str, dict[str, int]]:
    return {one.feature: dict(one.rows) for one in report.features}


def test_nothing_is_found_where_nothing_is_wrong(shop: Shop) -> None:
    shop.serve()
    report = shop.check()
    assert (report.checked, report.requests, report.mismatches, report.lagged, report.late) == (15, 5, 0, 0, 0)
    assert (report.features, report.lag, report.examples, report.causes) == ((), (), (), {})
    assert [(one.rule, one.verdict, one.pages) for one in skew_findings(report)] == [
        ("training_serving_skew", "ok", False),
        ("materialization_lag", "ok", False),  # an alert of it has to end
    ]


def test_rows_that_were_loaded_and_not_materialized_lag_and_computed_features_with_them(shop: Shop) -> None:
    shop.load(hours_ago(1), 20.0)
    time.sleep(0.02)
    shop.serve()
    report = shop.check()
    assert (report.mismatches, report.lagged, report.late) == (0, 15, 0)
    assert {name: set(found) for name, found in causes(report).items()} == {
        "temp": {"lag"},
        "felt": {"lag"},
        "sunrise": {"lag"},
    }
    (lag,) = report.lag
    assert (lag.view, lag.rows, lag.share.value) == ("weather", 15, 1.0)
    assert lag.served_age.median == pytest.approx(3 * 3600, abs=60)
    assert 0.02 <= lag.waited.median <= lag.waited.p95 <= lag.waited.greatest < 60
    skew, behind = skew_findings(report)
    # Of five requests the interval of the share is wide: over the threshold, and its middle.
    assert (skew.verdict, behind.rule, behind.verdict, behind.subject) == (
        "ok",
        "materialization_lag",
        "severe" if lag.share.low > 0.55 else "drift",
        "weather",
    )


def test_rows_that_were_served_from_a_copy_are_counted_and_are_why_they_lag(shop: Shop) -> None:
    shop.load(hours_ago(2), 40.3)
    at = pa.scalar(hours_ago(1), pa.timestamp("us", "UTC"))

    def stale(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index(COMPLETE_TO)
        return table.set_column(place, COMPLETE_TO, pa.repeat(at, len(table)))

    shop.serve(requests=2, change=stale)
    shop.serve(requests=1, change=lambda table: table.drop_columns([COMPLETE_TO]))  # of an earlier release
    report = shop.check()
    assert (report.checked, report.stale, report.mismatches, report.lagged) == (9, 6, 0, 9)
    assert report.features[0].details == {"lag": "from a local copy"}
    assert report.lag[0].stale == 6
    (_, behind) = skew_findings(report)
    assert "6 of these rows came from a local copy, as the online store was away: look why it was. M" in behind.sentence
    assert "6 rows were served from a local copy" in "\n".join(report_lines(report))


def test_rows_that_came_after_serving_are_late_and_no_fault(shop: Shop) -> None:
    shop.serve()
    time.sleep(0.02)
    shop.load(hours_ago(1), 20.0, keys=["JFK"])
    report = shop.check()
    assert (report.mismatches, report.lagged, report.late) == (0, 0, 5)
    assert causes(report) == {"temp": {"late data": 5}, "felt": {"late data": 5}, "hour": {"late data": 5}} | {
        "sunrise": {"late data": 5}
    }
    assert [one.verdict for one in skew_findings(report)] == ["ok", "ok"]


def test_a_value_that_the_lagging_row_never_had_is_wrong_all_the_same(shop: Shop) -> None:
    shop.load(hours_ago(1), 20.0)
    time.sleep(0.02)
    shop.serve(change=lambda table: _with(table, "temp", table["temp"].cast(pa.float32()).cast(pa.float64())))
    report = shop.check()
    assert causes(report)["temp"] == {"type": 15}
    assert causes(report)["sunrise"] == {"lag": 15}
    assert (report.mismatches, report.lagged) == (15, 0)


def test_a_row_that_lags_does_so_also_when_a_still_newer_one_came_late(shop: Shop) -> None:
    shop.load(hours_ago(2), 20.0)
    time.sleep(0.02)
    shop.serve()
    time.sleep(0.02)
    shop.load(hours_ago(1), 30.0)
    assert shop.check().lagged == 15


def test_a_row_that_was_corrected_later_is_superseded_and_one_that_never_had_that_value_is_not(shop: Shop) -> None:
    shop.serve()
    shop.serve(requests=1, change=lambda table: _with(table, "temp", pa.array([77.0] * 3)))
    time.sleep(0.02)
    event = shop.store.get_historical_features(
        [{"origin": "JFK", "event_timestamp": hours_ago(0)}], "svc@1", with_status=True
    )
    at = event.to_arrow().column("weather__event_timestamp")[0].as_py()
    shop.load(at, 50.0)
    report = shop.check()
    found = causes(report)
    assert found["temp"] == {"superseded": 15, "unexplained": 3}
    assert (report.mismatches, report.late) == (3, 15)


def test_a_correction_that_was_there_and_not_online_lags(shop: Shop) -> None:
    at = hours_ago(2)
    shop.load(at, 20.0)
    shop.store.materialize("weather")
    shop.load(at, 21.0)
    time.sleep(0.02)
    shop.serve()
    report = shop.check()
    assert (report.mismatches, report.lagged) == (0, 15)


def test_rows_of_another_ttl(shop: Shop) -> None:
    shop.store.apply([service(ttl=timedelta(hours=1))])
    shop.serve(plan="svc@2")
    report = shop.check()
    assert causes(report)["temp"] == {"ttl": 15}
    assert {cause for found in causes(report).values() for cause in found} == {"ttl"}
    assert (report.mismatches, report.lagged) == (15, 0)


def test_another_version_of_a_transformation(shop: Shop) -> None:
    shop.store.apply([service("temp * 2")])
    shop.serve(plan="svc@2")
    report = shop.check()
    assert causes(report) == {"felt": {"transformation version": 15}}
    (skew,) = report.features
    assert (skew.details, skew.views) == ({"transformation version": "as of svc@2"}, ("weather",))
    finding, _ = skew_findings(report)
    assert finding.subject == "felt"
    assert finding.pages
    assert "svc@2" in finding.sentence
    assert "Restart or redeploy" in finding.sentence


def test_a_value_that_went_through_a_float32(shop: Shop) -> None:
    shop.serve(change=lambda table: _with(table, "temp", table["temp"].cast(pa.float32()).cast(pa.float64())))
    report = shop.check()
    assert causes(report) == {"temp": {"type": 15}}
    assert report.features[0].details == {"type": "one side went through Float32"}
    assert shop.check(tolerance=Tolerance(relative=1e-6)).mismatches == 0
    assert shop.check(tolerance=Tolerance(absolute=1e-5)).mismatches == 0


def test_a_zone_that_was_shifted(shop: Shop) -> None:
    moved = pa.scalar(timedelta(hours=5))
    shop.serve(change=lambda table: _with(table, "sunrise", pc.add(table["sunrise"], moved)))
    report = shop.check()
    assert causes(report) == {"sunrise": {"type": 15}}
    assert report.features[0].details == {"type": "shifted by 5 h"}
    assert shop.check(tolerance=Tolerance(time=timedelta(hours=5))).mismatches == 0
    assert shop.check(tolerance=Tolerance(time=timedelta(hours=4))).mismatches == 15


def test_a_default_in_place_of_a_value(shop: Shop) -> None:
    shop.serve(change=lambda table: _with(table, "hour", pa.array([-1] * table.num_rows)))
    assert causes(shop.check()) == {"hour": {"default": 15}}


def test_what_nothing_explains_is_said_to_be_unexplained(shop: Shop) -> None:
    shop.serve(change=lambda table: _with(table, "temp", pc.add(table["temp"], 0.37)))
    report = shop.check()
    assert causes(report) == {"temp": {"unexplained": 15}}
    assert report.by_feature == {"temp": 15}


def test_a_column_that_the_log_has_no_more_counts_as_null(shop: Shop) -> None:
    shop.serve(change=lambda table: table.drop_columns(["temp"]))
    assert causes(shop.check()) == {"temp": {"default": 15}}


def test_a_period_of_the_log(shop: Shop) -> None:
    shop.serve(requests=2)
    time.sleep(0.01)
    between = datetime.now(UTC)
    shop.serve(requests=3)
    assert shop.check(until=between).requests == 2
    late = shop.check(since=between)
    assert late.requests == 3
    assert late.since is not None
    assert late.since >= between
    empty = shop.check(since=between + timedelta(hours=1))
    assert [one.verdict for one in skew_findings(empty)] == ["not enough data"]


def test_no_key_value_or_request_leaves_in_a_message(shop: Shop) -> None:
    shop.serve(change=lambda table: _with(table, "temp", pc.add(table["temp"], 0.37)))
    report = shop.check()
    said = "".join(one.sentence for one in skew_findings(report))
    secrets = [*KEYS, *(str(one.served) for one in report.examples), *(one.request_id for one in report.examples)]
    assert report.examples
    assert [secret for secret in secrets if secret in said] == []
    assert report.features[0].rows == {"unexplained": 15}


def test_the_command_says_shares_causes_and_ages(shop: Shop) -> None:
    shop.load(hours_ago(1), 20.0)
    time.sleep(0.02)
    shop.serve()
    repo = str(shop.store.config.root)
    ran = CliRunner().invoke(app, ["parity", "svc@1", "--repo", repo], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    for text in (
        "15 lagged",
        "temp: 15 rows differ: lag 15",
        '"weather" lagged in 15 rows',
        "in the median",
        "origin=",
    ):
        assert text in ran.output
    found = json.loads(CliRunner().invoke(app, ["parity", "svc@1", "--repo", repo, "--format", "json"]).output)
    assert found["lag"][0]["waited"]["rows"] == 15
    assert found["causes"] == {"lag": 45}
    late = ["parity", "svc@1", "--repo", repo, "--since", "2100-01-01T00:00:00Z", "--tolerance", "0.1"]
    assert "0 rows (0 values) compared" in CliRunner().invoke(app, late).output


def test_the_share_of_a_finding_decides_by_its_interval(shop: Shop) -> None:
    shop.serve(requests=40)
    shop.serve(requests=2, change=lambda table: _with(table, "temp", pc.add(table["temp"], 0.37)))
    report = shop.check()
    (skew,) = report.features
    assert (skew.wrong_requests, skew.share.value) == (2, pytest.approx(2 / 42))
    verdicts = [skew_findings(report, threshold)[0].verdict for threshold in (0.001, 0.05, 0.9)]
    assert verdicts == ["drift", "not enough data", "ok"]
    with pytest.raises(DataError, match="threshold"):
        skew_findings(report, 0)


# The rules by themselves


def _row(event: int, known: int) -> StoredRow:
    return StoredRow(event, known, {})


NONE = Seen(2, None)


@pytest.mark.parametrize(
    ("served", "joined", "stored", "settings", "cause"),
    [
        (Seen(1, 10), Seen(1, 10), [_row(10, 15)], {}, None),
        (Seen(1, 10), Seen(1, 20), [_row(10, 15), _row(20, 90)], {}, "lag"),
        (Seen(1, 10), Seen(1, 20), [_row(10, 15), _row(20, 100)], {}, "lag"),
        (Seen(1, 10), Seen(1, 20), [_row(10, 15), _row(20, 101)], {}, "late data"),
        (NONE, Seen(1, 20), [_row(20, 90)], {}, "lag"),
        (NONE, Seen(1, 20), [], {}, "late data"),
        (NONE, NONE, [], {}, None),
        (Seen(1, 30), Seen(1, 20), [_row(20, 25)], {}, "erased"),
        (Seen(1, 30), NONE, [], {}, "erased"),
        (Seen(3, 10), Seen(1, 10), [_row(10, 15)], {}, "ttl"),
        (Seen(1, 10), Seen(3, 10), [_row(10, 15)], {}, "ttl"),
        (Seen(1, 10), Seen(1, 10), [_row(10, 15), _row(10, 101)], {}, "superseded"),
        (Seen(1, 10), Seen(1, 10), [_row(10, 15), _row(10, 50)], {}, "lag"),
        (Seen(1, 10), Seen(1, 10), [_row(10, 101)], {}, "superseded"),
        (Seen(1, 10), Seen(1, 10), [_row(10, 101)], {"pushed": True}, None),
        (Seen(1, 10), Seen(1, 20), [_row(10, 15), _row(20, 90)], {"replay": True}, None),
        (Seen(3, 10), Seen(1, 10), [], {"replay": True}, "ttl"),
    ],
)
def test_rows_tell_why(served: Seen, joined: Seen, stored: list[StoredRow], settings: Any, cause: str | None) -> None:
    assert row_cause(served, joined, 100, stored, **{"pushed": False, "replay": False} | settings).cause == cause


@pytest.mark.parametrize(
    ("served", "joined", "cause"),
    [
        (None, 1.0, "default"),
        (float(np.float32(0.1)), 0.1, "type"),
        (3, 3.7, "type"),
        (4, 3.7, "type"),
        (2.0**53, 2**53 + 1, "type"),
        ("1.0", "1", "type"),
        ("a", "b", "unexplained"),
        (1.0, 2.5, "unexplained"),
        (float("nan"), 2.5, "unexplained"),
        (float("inf"), 1e300, "unexplained"),
        (True, False, "unexplained"),
        ([0.1, 1.0], [float(np.float32(0.1)), 1.0], "type"),
        ({"a": 0.1}, {"a": 0.2}, "unexplained"),
        (b"a", b"b", "unexplained"),
    ],
)
def test_values_tell_why(served: Any, joined: Any, cause: str) -> None:
    assert value_cause(served, joined)[0] == cause


@given(st.integers(0, 400), st.integers(0, 400))
def test_a_share_lies_within_its_interval_and_that_within_0_and_1(count: int, more: int) -> None:
    share = share_of(count, count + more)
    assert 0 <= share.low <= share.value <= share.high <= 1


def test_known_answers_of_shares_and_ages() -> None:
    # Newcombe (1998), table I: 81 of 263, and 0 of 20.
    assert [round(one, 4) for one in share_of(81, 263)] == [0.3080, 0.2553, 0.3662]
    assert [round(one, 4) for one in share_of(0, 20)] == [0.0, 0.0, 0.1611]
    ages = Ages.of([float(one) for one in range(1, 101)])
    assert (ages.rows, ages.median, ages.p95, ages.greatest) == (100, 50.0, 95.0, 100.0)


def test_a_tolerance_is_not_negative() -> None:
    with pytest.raises(DataError, match="tolerance"):
        Tolerance(relative=-1)


def _with(table: pa.Table, name: str, column: Any) -> pa.Table:
    place = table.column_names.index(name)
    return table.set_column(place, name, column.cast(table.schema.field(name).type))
