"""The page of a feature: all bins beside the baseline's, slices, numbers of a vector, and nothing of a person."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore import BaselineSource, Entity, FeatureService, FeatureStore, FeatureView, Field, MonitorPolicy
from featurestore.lineage import Lineage, Node
from featurestore.lineage.graph import Graph
from featurestore.types import Embedding, Int64
from monitor.dashboard.facts import Facts
from monitor.dashboard.lineage import drawing_of
from monitor.history import History
from monitor.pipeline import run_once

START = datetime(2013, 7, 1, tzinfo=UTC)
PICTURE = "/features/weather/temp/flight_drift/flight_delay@1"


def _stream(browser: Any, address: str) -> dict[str, Any]:
    answer = browser.client.get(address)
    assert answer.status_code == 200, answer.text
    (stream,) = answer.json()["streams"]
    found: dict[str, Any] = stream
    return found


def _is_of_what_was_judged(stream: dict[str, Any]) -> None:
    """Fail unless the bars are of the rows that the effect is of: what moved most moves there as much."""
    histogram = stream["histogram"]
    assert histogram["rows"] == stream["last"]["judged_rows"]
    shown = {one["label"]: one for one in histogram["bins"]}
    for one in stream["moves"]:
        assert shown[one["label"]]["now"] == pytest.approx(one["current"], abs=1e-5)
        assert shown[one["label"]]["baseline"] == pytest.approx(one["baseline"], abs=1e-5)


@pytest.mark.usefixtures("drifted")
def test_the_whole_baseline_stands_beside_the_last_window(browse: Callable[..., Any]) -> None:
    browser = browse()
    stream = _stream(browser, "/features/weather/temp.json")
    _is_of_what_was_judged(stream)
    bins = stream["histogram"]["bins"]
    assert len(bins) > 20
    for side in ("baseline", "now"):
        assert sum(one[side] for one in bins) == pytest.approx(1, abs=1e-4)
    # It has gone up by a standard deviation: the lower half of the baseline's rows is where a sixth is now.
    half = bins[: len(bins) // 2]
    assert sum(one["baseline"] for one in half) > 0.4 > 0.3 > sum(one["now"] for one in half)
    page = browser.get("/features/weather/temp")
    assert f"All {len(bins)} bins as numbers" in page
    assert f'src="{PICTURE}/histogram.svg?of={stream["drawn_from"]}"' in page
    drawn = browser.get(f"{PICTURE}/histogram.svg")
    assert drawn.startswith("<svg")
    assert "series: baseline" in drawn
    assert browser.get(f"{PICTURE}/histogram.svg?dark") != drawn


@pytest.mark.usefixtures("drifted")
def test_each_choice_of_days_has_a_picture_of_its_own(browse: Callable[..., Any]) -> None:
    browser = browse()
    assert browser.get(f"{PICTURE}.svg?days=1") != browser.get(f"{PICTURE}.svg?days=30")


def test_of_many_windows_some_are_shown_and_a_new_one_leaves_the_others_as_they_were(
    drifted: Any, browse: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.dashboard.marker.FRESH_SECONDS", 0.0)
    monkeypatch.setattr("monitor.dashboard.series.MOST", 10)
    browser = browse()
    before = _stream(browser, "/features/weather/temp.json?days=30")["points"]
    assert 5 <= len(before) < 13
    drifted.serve_days(13, 1, shift=3.0)
    with drifted.history() as history:
        run_once(drifted, history, drifted.policy, now=datetime.now(UTC))
    after = _stream(browser, "/features/weather/temp.json?days=30")["points"]
    assert after[-1]["start"] == "2013-07-14T00:00:00+00:00"
    assert before[:-1] == [one for one in after if one in before[:-1]]


def test_a_fact_is_read_once_and_no_more_are_kept_than_there_is_room_for() -> None:
    facts: Facts[int] = Facts(2)
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        return number

    assert [facts.get(key, lambda key=key: make(key)) for key in (1, 1, 2, 3, 3, 1)] == [1, 1, 2, 3, 3, 1]
    assert made == [1, 2, 3, 1]


@pytest.mark.usefixtures("drifted")
def test_nothing_is_drawn_of_a_person(browse: Callable[..., Any]) -> None:
    browser = browse()
    stream = _stream(browser, "/features/weather/pilot.json")
    assert (stream["histogram"], stream["moves"], stream["last"]["rows"]) == (None, [], 200)
    assert "histogram" not in browser.get("/features/weather/pilot")
    browser.get("/features/weather/pilot/flight_drift/flight_delay@1/histogram.svg", 404)


def test_what_is_tagged_later_is_hidden_of_the_past_too(
    drifted: Any, browse: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.dashboard.marker.FRESH_SECONDS", 0.0)
    browser = browse()
    assert _stream(browser, "/features/weather/temp.json")["moves"]
    weather = drifted.registry.feature_view("weather").definition
    schema = [replace(one, tags={"pii": "yes"}) if one.name == "temp" else one for one in weather.schema]
    drifted.registry.apply([replace(weather, schema=schema)], who="test")
    stream = _stream(browser, "/features/weather/temp.json")
    assert (stream["histogram"], stream["moves"]) == (None, [])
    assert stream["points"]
    browser.get(f"{PICTURE}/histogram.svg", 404)


def test_a_baseline_that_is_gone_is_said_to_be(drifted: Any, browse: Callable[..., Any]) -> None:
    (drifted.config.root / "data/offline/datasets/delays.parquet").unlink()
    browser = browse()
    stream = _stream(browser, "/features/weather/temp.json")
    assert stream["histogram"] is None
    assert "The baseline of dataset delays@1 cannot be read" in stream["histogram_missing"]
    assert len(stream["points"]) == 13
    assert "cannot be compared here" in browser.get("/features/weather/temp")


def test_each_slice_has_its_verdict_and_its_series(make_scene: Callable[..., Any], browse: Callable[..., Any]) -> None:
    scene = make_scene(routes=())
    baseline = BaselineSource(since=START, until=START + timedelta(days=20))
    scene.apply(slices=["hour=7", "hour=8"], baseline=baseline, retrain=False, routes=())
    scene.serve_days(0, 20)
    scene.serve_days(20, 10, shift=0.6)
    with scene.history() as history:
        run_once(scene, history, scene.policy, now=datetime.now(UTC))
    browser = browse()
    stream = _stream(browser, "/features/weather/temp.json")
    slices = {one["slice"]: one for one in stream["slices"]}
    assert next(iter(slices)) == ""
    assert set(slices) == {"", "hour=7", "hour=8"}
    assert stream["slice"] == ""
    assert slices["hour=7"]["rows"] < slices[""]["rows"] == 200
    assert slices["hour=7"]["low"] < slices["hour=7"]["effect"] < slices["hour=7"]["high"]
    chosen = _stream(browser, "/features/weather/temp.json?slice=hour%3D7")
    assert chosen["slice"] == "hour=7"
    assert [one["rows"] for one in chosen["points"]] != [one["rows"] for one in stream["points"]]
    assert chosen["last"]["rows"] == slices["hour=7"]["rows"]
    assert chosen["histogram"] != stream["histogram"]
    for one in (stream, chosen):
        _is_of_what_was_judged(one)
    # A small change is told from chance by several windows together, since the first of them.
    assert stream["histogram"]["windows"] > 1
    assert chosen["baseline"] != stream["baseline"]
    page = browser.get("/features/weather/temp?slice=hour%3D7&days=7")
    assert "?days=7&amp;slice=hour%3D8#in-1" in page
    assert "over time of hour=7" in page.lower()
    for picture in (".svg", "/histogram.svg"):
        assert browser.get(f"{PICTURE}{picture}?slice=hour%3D7") != browser.get(f"{PICTURE}{picture}")
    assert _stream(browser, "/features/weather/temp.json?slice=hour%3D99")["slice"] == ""


def test_of_a_vector_the_numbers_are_shown_that_are_taken_from_it(tmp_path: Path, browse: Callable[..., Any]) -> None:
    user = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
    view = FeatureView(name="taste", entities=[user], schema=[Field(name="likes", dtype=Embedding(4))])
    service = FeatureService(name="ranker", features=[view])
    until = START + timedelta(days=10)
    policy = MonitorPolicy(
        name="watch",
        service=service,
        window=timedelta(days=1),
        baseline=BaselineSource(since=START, until=until),
        quality=False,
        skew=False,
        retrain=False,
    )
    FeatureStore.init(tmp_path / "repo").close()
    for one in (tmp_path / "repo").iterdir():
        one.rename(tmp_path / one.name)
    random, rows = np.random.default_rng(3), 3_000
    served = [START + timedelta(days=12) * (number / rows) for number in range(rows)]
    vectors = random.normal(0, 1, (rows, 4))
    vectors[[at >= until for at in served]] *= 3
    at = pa.array(served, pa.timestamp("us", "UTC"))
    log = tmp_path / "data/log/ranker"
    log.mkdir(parents=True)
    columns = {
        "request_id": [str(number) for number in range(rows)],
        "row": pa.array([0] * rows, pa.int32()),
        "served_at": at,
        "service": ["ranker@1"] * rows,
        "user_id": pa.array(range(rows)),
        "likes": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float32()), 4),
        "taste__status": pa.array([1] * rows, pa.int8()),
        "taste__event_timestamp": at,
        "replay": [False] * rows,
    }
    pq.write_table(pa.table(columns), log / "w0-000000.parquet")
    (log.parent / "watermarks").mkdir()
    end = int((START + timedelta(days=12)).timestamp() * 1e6)
    (log.parent / "watermarks/w0.json").write_text(json.dumps({"watermark": end, "closed": False}))
    with FeatureStore(tmp_path) as store:
        store.apply([view, service, policy])
        with History(store.config.database_url(store.config.monitor.database)) as history:
            run_once(store, history, store.registry.policy("watch"), now=datetime.now(UTC))
    browser = browse()
    stream = _stream(browser, "/features/taste/likes.json")
    numbers = [one["number"] for one in stream["numbers"]]
    assert {"likes.norm", "likes.length", "likes.pca1"} <= set(numbers)
    # They are three times as long: the norm has moved most, and is shown by itself.
    assert stream["number"] == numbers[0] == "likes.norm"
    assert stream["last"]["effect"] > 0.3
    assert stream["histogram"]["rows"] == stream["last"]["judged_rows"]
    other = _stream(browser, "/features/taste/likes.json?number=likes.length")
    assert other["number"] == "likes.length"
    assert other["last"]["effect"] == 0
    assert "number=likes.length#in-1" in browser.get("/features/taste/likes")
    assert browser.get("/features/taste/likes/watch/ranker@1/histogram.svg?number=likes.pca1").startswith("<svg")


def _lineage(chain: list[str], root: int) -> Lineage:
    graph = Graph()
    nodes = [graph.add(Node(kind="feature", name=name)) for name in chain]
    for one, other in pairwise(nodes):
        graph.connect(one.id, other.id, ("identity",))
    nothing: Any = None
    return Lineage(root=nodes[root], notes=(), _graph=graph, _catalog=nothing, _config=nothing)


def test_lineage_is_drawn_down_on_whatever_is_narrow_and_across_where_that_fits() -> None:
    short, long = _lineage(["a", "b", "c" * 60], 1), _lineage([f"n{number}" for number in range(12)], 4)
    drawn = drawing_of(short)
    assert [one["x"] for one in drawn["across"]["boxes"]] == sorted({one["x"] for one in drawn["across"]["boxes"]})
    assert drawn["across"]["width"] <= 760
    assert drawing_of(long)["across"] is None
    for one in (drawn, drawing_of(long)):
        down = one["down"]
        assert down["width"] <= 320
        assert {box["x"] for box in down["boxes"]} == {down["boxes"][0]["x"]}
        names = [box["name"] for box in sorted(down["boxes"], key=lambda box: box["y"])]
        assert names == [box["name"] for box in down["boxes"]]
        assert all(len(box["shown"]) <= 35 for box in down["boxes"])
    assert [box["name"] for box in drawing_of(long)["down"]["boxes"]] == [f"n{number}" for number in range(12)]
