"""What pages show, by what a browser gets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from monitor.dashboard.reading import Reader
from monitor.dashboard.series import streams_of
from monitor.pipeline import run_once

EVERY = [
    "/overview",
    "/incidents",
    "/incidents?all=1",
    "/incidents/1",
    "/signals",
    "/features",
    "/features?q=temp",
    "/features/weather/temp",
    "/features/weather/pilot?days=7",
    "/features/warmth/felt",
    "/services",
    "/services/flight_delay",
    "/models",
    "/models/ridge@1",
    "/datasets",
    "/datasets/delays@1",
    "/datasets?a=delays@1&b=delays@2",
    "/views",
    "/views/weather",
    "/views/warmth",
    "/audit",
    "/audit?action=apply&verify=1",
    "/health",
    "/health?look=1",
    "/search",
    "/search?q=temp",
]


@pytest.mark.usefixtures("drifted")
def test_every_page_has_its_command_and_its_json_and_no_value_of_a_person(browse: Callable[..., Any]) -> None:
    browser = browse()
    for path in EVERY:
        address, _, query = path.partition("?")
        page = browser.get(path)
        assert "In a terminal: <code>featurestore " in page, path
        json = browser.get(f"{address}.json?{query}")
        assert '"title"' in json, path
        for text in (page, json):
            assert "Ada Private" not in text, path
            assert "Bob Secret" not in text, path


@pytest.mark.usefixtures("drifted")
def test_an_incident_says_what_why_and_what_to_do(browse: Callable[..., Any]) -> None:
    page = browse().get("/incidents/1")
    assert "Do this: Look at the sources of" in page
    assert "against the limit" in page
    assert 'href="/features/weather/temp"' in page
    assert "onset" in page
    picture = browse().get("/incidents/1/features/temp.svg?dark")
    assert picture.startswith("<svg")


@pytest.mark.usefixtures("drifted")
def test_a_feature_is_followed_over_its_windows(browse: Callable[..., Any]) -> None:
    browser = browse()
    (stream,) = browser.client.get("/features/weather/temp.json").json()["streams"]
    effects = [one["effect"] for one in stream["points"]]
    assert len(effects) == 13
    assert max(effects[:3]) < 0.1 < min(effects[3:])
    assert [one["verdict"] for one in stream["points"]][::12] == ["ok", "drift"]
    (stream,) = browser.client.get("/features/weather/temp.json?days=1").json()["streams"]
    assert len(stream["points"]) == 2
    assert browser.get("/features/weather/temp/flight_drift/flight_delay@1.svg").startswith("<svg")
    personal = browser.client.get("/features/weather/pilot.json").json()
    assert personal["pii"]
    assert personal["streams"][0]["moves"] == []


def test_the_overview_shows_the_stream_of_the_version_of_a_policy_that_is_current(
    drifted: Any, browse: Callable[..., Any]
) -> None:
    def run() -> None:
        with drifted.history() as history:
            run_once(drifted, history, drifted.policy, now=datetime.now(UTC))

    def judged() -> str:
        (stream,) = browse().client.get("/overview.json").json()["streams"]
        return str(stream["judged_until"])[:10]

    drifted.apply(retrain=False)
    run()
    before = judged()
    drifted.apply(retrain=False, effect_threshold=0.5)
    drifted.serve_days(13, 2)
    run()
    assert (before, judged()) == ("2013-07-14", "2013-07-16")
    drifted.apply(retrain=False)  # the version before is current again
    assert judged() == before
    reader = Reader(drifted)
    with drifted.history() as history, history.read() as connection:
        (of_all,) = streams_of(connection, reader.policies())
        assert of_all.version == reader.policies()[of_all.policy]
        assert of_all.version < streams_of(connection, {})[0].version, "nobody knows which is current: the newest"
    reader.close()


@pytest.mark.usefixtures("drifted")
@pytest.mark.parametrize(
    "path",
    [
        "/incidents/7",
        "/features/weather/nothing",
        "/services/nothing",
        "/models/no@1",
        "/datasets/no",
        "/signals/00000000",
        "/views/airport",
        "/nowhere",
        "/incidents/1/features/wind.svg",
    ],
)
def test_what_is_not_there_is_said_to_be_not_there(path: str, browse: Callable[..., Any]) -> None:
    page = browse().get(path, 404)
    assert "Traceback" not in page
    assert "To the overview" in page


def test_an_empty_project_is_told_how_to_begin(browse: Callable[..., Any]) -> None:
    browser = browse()
    page = browser.get("/overview")
    assert "featurestore apply" in page
    assert "featurestore monitor start" in page
    assert "featurestore apply" in browser.get("/features", 503)
    assert "featurestore monitor start" in browser.get("/incidents", 503)
    assert browser.client.get("/incidents.json").json()["hint"] == "featurestore monitor start"


def test_what_cannot_be_read_is_shown_as_it_was(
    drifted: Any, browse: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.dashboard.marker.FRESH_SECONDS", 0.0)
    browser = browse()
    browser.get("/services")
    browser.get("/incidents/1")
    drifted.registry.close()
    for name in ("registry", "monitor"):
        for file in (drifted.config.root / "data").glob(f"{name}.db*"):
            file.write_bytes(b"this is no database" * 1_000)
    for path in ("/services", "/incidents/1"):
        page = browser.get(path)
        assert "This is as it was at" in page
    assert "registry" in browser.get("/models", 503)
    assert browser.client.get("/services.json").json()["old"]


@pytest.mark.usefixtures("drifted")
def test_search_finds_definitions_models_datasets_and_incidents(browse: Callable[..., Any]) -> None:
    browser = browse()

    def found(words: str) -> set[str]:
        return {one["name"] for one in browser.client.get("/search.json", params={"q": words}).json()["found"]}

    assert {"weather@1", "incident 1"} <= found("temp")
    assert found("ridge") == {"ridge@1", "incident 1"}
    assert found("delays@1") == {"delays@1"}
    assert found("temp nothing") == set()


@pytest.mark.usefixtures("drifted")
def test_health_is_looked_at_when_somebody_asks(browse: Callable[..., Any]) -> None:
    browser = browse()
    assert browser.client.get("/health.json").json()["findings"] == []
    looked = browser.client.get("/health.json?look=1").json()
    assert "configuration" in {one["about"] for one in looked["findings"]}
    # The marker changes meanwhile; it is not looked at again for a minute.
    assert browser.client.get("/health.json?look=1").json()["at"] == looked["at"]
