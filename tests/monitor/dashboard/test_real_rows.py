"""What a button does to the rows themselves: to what is served, to what was kept aside, and to what the monitor did."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, OnDemandFeatureView
from featurestore.client import FeatureClient
from featurestore.types import Float64, String
from monitor.history import History
from monitor.pipeline import run_once
from monitor.rollback.ledger import newest
from tests import forking
from tests.monitor.dashboard import browsing
from tests.monitor.dashboard.conftest import Browser
from tests.monitor.rollback.conftest import POLICY, SERVICE, WEATHER, Night
from tests.monitor.rollback.test_night import TOML, logged, trained

HOUR = timedelta(hours=1)
_TOML = """
project = "shop"
[push]
flush_seconds = 1e6
[serving]
metrics_port = {port}
[dashboard]
local_role = "operator"
"""
_AIRPORT = Entity(name="airport", join_keys=["origin"], dtypes=[String])
_PLANES = FeatureView(
    name="planes", entities=[_AIRPORT], schema=[Field(name="speed", dtype=Float64, ge=0, le=500, not_null=True)]
)
_LIMITED = FeatureService(name="limited", features=[_PLANES])


def _felt(by: int) -> OnDemandFeatureView:
    return OnDemandFeatureView(
        name="felt",
        inputs=[_PLANES],
        schema=[Field(name="faster", dtype=Float64)],
        expressions={"faster": f"speed + {by}"},
    )


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[FeatureStore]:
    """A store of which the airport JFK has a plane, and two versions of a service: the second adds 2, the first 1."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    (tmp_path / "featurestore.toml").write_text(_TOML.format(port=port))
    with FeatureStore(tmp_path) as store:
        for by in (1, 2):
            felt = _felt(by)
            store.apply([_AIRPORT, _PLANES, felt, FeatureService(name="delay", features=[felt])])
        store.ingest("planes", [{"origin": "JFK", "speed": 300.0, "event_timestamp": datetime.now(UTC) - HOUR}])
        store.materialize("planes")
        for version in (1, 2):
            store.promote(f"delay@{version}")
        yield store


@contextmanager
def served(root: Path) -> Iterator[str]:
    """Serve the store as users do, and say where."""
    command = [sys.executable, "-m", "featurestore", "serve", "--port", "0", "-C", str(root)]
    process = forking.Forked(command, stdout=subprocess.PIPE, text=True, env=os.environ)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r" at (127\.0\.0\.1:\d+)", line)
        assert found, line
        yield found[1]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        process.stdout.close()


def test_what_is_served_changes_when_a_service_is_rolled_back_from_its_page(
    shop: FeatureStore,
    browse: Callable[..., Browser],
    wait_for: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("monitor.dashboard.servers.EVERY_SECONDS", 0.5)
    with served(shop.config.root) as address, FeatureClient(address) as client:

        def value() -> float:
            found = client.get_online_features("delay", [{"origin": "JFK"}]).to_dict()
            return float(found["faster"][0])

        assert value() == 302.0
        browser = browse()
        assert "Roll back to @1" in browser.get("/services/delay")
        page = browser.post("/services/delay/rollback", to="1", sure="yes")
        assert "The alias production points to delay@1 again." in page
        wait_for(lambda: value() == 301.0)
        (entry,) = shop.registry.audit(action="rollback")
        assert (entry.object, entry.who) == ("delay@1", shop.who())

        def measured() -> bool:
            value()
            names = {one["service"] for one in browser.client.get("/overview.json").json()["traffic"]["services"]}
            return {"delay@1", "delay@2"} <= names

        # The server is asked for its metrics every few seconds; what it served is there by version.
        wait_for(measured)


def test_rows_that_a_mended_definition_lets_in_are_published_by_a_button(
    shop: FeatureStore, browse: Callable[..., Browser]
) -> None:
    now = datetime.now(UTC)
    rows = [
        {"origin": origin, "speed": speed, "event_timestamp": now - HOUR / 2}
        for origin, speed in (("JFK", 900.0), ("EWR", 800.0), ("LGA", -5.0))
    ]
    assert shop.ingest("planes", rows).quarantined == 3
    browser = browse()
    page = browser.get("/views/planes")
    assert "3 rows</span> failed the checks" in page
    assert "still in quarantine: 3 rows." in browser.post("/views/planes/retry", reason="nothing was mended")
    mended = replace(_PLANES, schema=[replace(_PLANES.schema[0], le=1_000)])
    shop.apply([mended])
    assert "No reason is given" in browser.post("/views/planes/retry")
    page = browser.post("/views/planes/retry", reason="there are faster planes now")
    assert "still in quarantine: 1 row." in page
    assert shop.quarantined_rows("planes") == 1
    shop.apply([replace(_LIMITED, features=[mended])])
    shop.materialize("planes")
    found = shop.get_online_features("limited", [{"origin": one} for one in ("JFK", "EWR", "LGA")]).to_dict()
    assert found["speed"] == [900.0, 800.0, None]
    (load,) = [one for one in shop.registry.audit(action="ingest") if "faster planes" in str(one.details)]
    assert load.who == shop.who()


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Night]:
    """Twenty good hours, a load without temperatures, and ten hours in which they were missing."""
    (tmp_path / "featurestore.toml").write_text(TOML.format(enabled="true"))
    policy = replace(POLICY, quality=False, skew=False, prediction_drift=False, average_run_length=2160)
    with FeatureStore(tmp_path) as store:
        store.apply([WEATHER, SERVICE, policy])
        trained(store)
        now = datetime.now(UTC)
        end = now.replace(minute=0, second=0, microsecond=0)
        with History(store.config.database_url(store.config.monitor.database)) as history:
            night = Night(store, history, now)
            night.bad_night()
            logged(store, end - 10 * HOUR, hours=20, missing=0.0)
            logged(store, end, hours=10, missing=0.6)
            yield night


def test_what_the_monitor_did_by_itself_is_taken_back_from_the_incidents_page(
    broken: Night, browse: Callable[..., Browser]
) -> None:
    night = broken
    run_once(night.store, night.history, night.policy, now=datetime.now(UTC))
    assert night.served() == [10.0, 10.01, 99.0]
    with night.history.read() as connection:
        (incident,) = night.history.open_incidents(connection)
        (action,) = newest(connection, 10)
    tokens = {
        name: night.store.registry.create_token(name, [scope], who="test").text
        for name, scope in (("vera", "view"), ("otto", "operate"))
    }
    browser = browse('[dashboard]\nauthentication = "token"\n')
    address = f"/incidents/{incident.number}"
    browser.log_in(tokens["vera"])
    assert "Take it back" not in browser.get(address)
    browser.post(f"{address}/undo/{action.number}", 403, reason="x")
    browser.post("/logout")
    browser.log_in(tokens["otto"])
    page = browser.get(address)
    assert "What the monitor did by itself" in page
    assert "No reason is given" in browser.post(f"{address}/undo/{action.number}")
    assert night.served() == [10.0, 10.01, 99.0]
    page = browser.post(f"{address}/undo/{action.number}", reason="it was right")
    assert "Undone: load bad of view weather" in page
    assert "Take it back" not in page
    assert night.served() == [None, None, 99.0]
    (entry,) = night.store.registry.audit(action="undo")
    assert (entry.who, entry.details["reason"]) == ("otto@dashboard (unverified)", "it was right")
    assert "is undone" in browser.post(f"{address}/undo/{action.number}", reason="once more")


def test_two_datasets_are_compared_on_a_page(shop: FeatureStore, browse: Callable[..., Browser]) -> None:
    now = datetime.now(UTC)
    shop.ingest("planes", [{"origin": "EWR", "speed": 200.0, "event_timestamp": now - HOUR / 2}])
    for origins in (["JFK"], ["JFK", "EWR"]):
        asked = [{"origin": one, "event_timestamp": now} for one in origins]
        shop.create_training_dataset("flights", entity_df=asked, features="delay")
    browser = browse()
    assert 'href="/datasets?a=flights%401&amp;b=flights%402"' in browser.get("/datasets/flights@2")
    found = browser.client.get("/datasets.json?a=flights@1&b=flights@2").json()["compared"]
    assert found["error"] == ""
    assert (found["count"], found["rows"]) == ([1, 2], {"added": 1, "removed": 0, "common": 1})
    assert [one["name"] for one in found["columns"]] == ["faster"]
    page = browser.get("/datasets?a=flights@1&b=flights@2")
    assert "1 rows → 2: 1 added, 0 removed, 1 common" in page
    assert "featurestore dataset diff flights@1 flights@2" in page
    # No row and no key of one is on the page.
    assert "EWR" not in page
    assert "no dataset" in browser.get("/datasets?a=flights@1&b=flights@9")
    shop.ingest("planes", [{"origin": "LGA", "speed": 100.0, "event_timestamp": now - HOUR / 2}])
    shop.create_training_dataset("flights", entity_df=[{"origin": "LGA", "event_timestamp": now}], features="delay")
    third = browser.client.get("/datasets.json?a=flights@1&b=flights@3").json()["compared"]
    assert third["rows"] == {"added": 1, "removed": 1, "common": 0}


def test_the_comparison_can_be_read_by_everybody(shop: FeatureStore, chromium: Any, axe: str) -> None:
    now = datetime.now(UTC)
    shop.ingest("planes", [{"origin": "EWR", "speed": 200.0, "event_timestamp": now - HOUR / 2}])
    for origins in (["JFK"], ["JFK", "EWR"]):
        asked = [{"origin": one, "event_timestamp": now} for one in origins]
        shop.create_training_dataset("flights", entity_df=asked, features="delay")
    with browsing.served(shop.config.root) as server:
        for scheme, width, only in browsing.LOOKS:
            with browsing.opened(chromium, color_scheme=scheme, viewport={"width": width, "height": 844}) as page:
                for query in ("a=flights@1&b=flights@2", "a=flights@1&b=flights@9"):
                    page.goto(f"{server.url}datasets?{query}", wait_until="load")
                    browsing.check(page, axe, f"{query} {scheme}", only=only)
                assert page.query_selector("text=no dataset")
