"""Each action, done in a real browser from the page that has it; and pictures that follow the news."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from featurestore import Entity, FeatureStore, FeatureView, Field
from featurestore.definitions import PromotionPolicy, RetrainingPolicy
from featurestore.registry.signing import PrivateKey, generate
from featurestore.types import Float64, Int64
from monitor.pipeline import run_once
from monitor.rollback import Opened, ledger
from monitor.rollback.values import ActionState, Deed, Proposal
from tests.monitor.dashboard.browsing import opened, served

_OPERATOR = 'local_role = "operator"\nport = 0\n'
_TOKENS = 'authentication = "token"\nport = 0\n'
_MADE: dict[str, Path] = {}


def _said(page: Any) -> str:
    text: str = page.inner_text("#said")
    return text


def _two_versions(scene: Any) -> None:
    """Serve the second version of the service."""
    registry = scene.registry
    first = registry.service("flight_delay").definition
    registry.promote("flight_delay@1", "production", who="test")
    registry.apply([replace(first, features=first.features[:1])], allow_breaking=True, who="test")
    registry.promote("flight_delay@2", "production", who="test")


def _done_by_itself(scene: Any) -> None:
    """Write down that the monitor has rolled the service back by itself."""
    now = datetime.now(UTC)
    with scene.history() as history, history.write() as connection:
        incident = history.incident(connection, 1)
        assert incident is not None
        seen = Opened(
            incident=1,
            key=incident.key,
            service="flight_delay@1",
            rule="drift",
            since=now,
            window=timedelta(days=1),
        )
        proposal = Proposal(
            deed=Deed.ROLL_BACK_ALIAS,
            target="alias production of flight_delay",
            subject="production of flight_delay",
            summary="production of flight_delay went back to flight_delay@1.",
            details={"service": "flight_delay", "alias": "production", "to": 1, "version": 2},
        )
        action = ledger.add(
            connection, seen, proposal, policy="flight_drift", severity="page", channels=(), held="", now=now
        )
        ledger.change(connection, action, ActionState.DONE)


def test_everything_is_done_about_an_incident_from_its_page(drifted: Any, chromium: Any) -> None:
    registry = drifted.registry
    _two_versions(drifted)
    _done_by_itself(drifted)
    with served(drifted.config.root, _OPERATOR) as server, opened(chromium) as page:
        page.goto(server.url + "incidents/1")
        page.fill("#ack-reason", "I look at it")
        page.click("text=Acknowledge: I work on it")
        assert "Incident 1 is yours" in _said(page)
        page.click("summary:has-text('Silence')")
        page.select_option("#hours", "2")
        page.fill("#silence-reason", "a move")
        page.click("button:has-text('Silence')")
        assert "silence 1" in _said(page)
        page.click("text=End silence 1")
        assert "Silence 1 is over" in _said(page)
        page.click("summary:has-text('Roll back')")
        # Whoever is not sure is held back by the browser already.
        page.click("button:has-text('Roll back to')")
        assert registry.aliases("flight_delay") == {"production": 2}
        page.check("[name=sure]")
        page.click("button:has-text('Roll back to')")
        assert "points to flight_delay@1 again" in _said(page)
        assert registry.aliases("flight_delay") == {"production": 1}
        page.click("summary:has-text('Take it back')")
        page.fill("#undo-reason", "the second one was right")
        page.click("button:has-text('Undo')")
        assert "Undone" in _said(page)
        assert registry.aliases("flight_delay") == {"production": 2}
        page.click("summary:has-text('Close')")
        page.fill("#close-reason", "that version is retired")
        page.click("text=Say that it is over")
        assert "Incident 1 is over" in _said(page)
    done = [one.action for one in registry.audit()]
    assert {"acknowledge", "silence", "unsilence", "rollback", "undo", "close"} <= set(done)


def test_a_service_is_rolled_back_from_its_page_and_a_model_asked_for(drifted: Any, chromium: Any) -> None:
    drifted.apply(retrain=RetrainingPolicy(approval=True))
    _two_versions(drifted)
    with served(drifted.config.root, _OPERATOR) as server, opened(chromium) as page:
        page.goto(server.url + "services/flight_delay")
        if not page.is_visible("[name=sure]"):
            page.click("summary:has-text('Roll back')")
        page.check("[name=sure]")
        page.click("button:has-text('Roll back')")
        assert "points to flight_delay@1 again" in _said(page)
        page.click("nav >> text=Signals")
        page.fill("#ask-reason", "the fares have changed")
        page.click("button:has-text('Ask')")
        assert "Retraining signal" in _said(page)
        page.fill("#find", "ridge")
        page.press("#find", "Enter")
        page.wait_for_selector("main a:has-text('ridge')")


@pytest.fixture
def asks(make_scene: Callable[..., Any], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A scene whose monitor has asked for a new model because of incident 1; ada has proved who she is."""
    made = _MADE.get("asks")
    if made is not None:
        shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    scene = make_scene(routes=("ops",))
    (tmp_path / "featurestore.toml").write_text('[channels.ops]\nkind = "console"\n[dashboard]\n')
    if made is None:
        scene.apply(retrain=RetrainingPolicy(approval=True))
        scene.train(model="ridge")
        scene.serve_days(0, 3)
        scene.serve_days(3, 6, shift=1.0)
        with scene.history() as history:
            run_once(scene, history, scene.policy, now=datetime.now(UTC))
        scene.registry.add_identity("ada", PrivateKey(generate(), "A key").public, who="test")
        _MADE["asks"] = tmp_path_factory.mktemp("asks")
        shutil.copytree(tmp_path, _MADE["asks"], dirs_exist_ok=True)
    return scene


@pytest.mark.parametrize("decision", ["approve", "reject"])
@pytest.mark.parametrize("where", ["incidents/1", "signals"])
def test_a_signal_is_decided_on_from_either_page(asks: Any, chromium: Any, where: str, decision: str) -> None:
    token = asks.registry.create_token("ada.laptop", ["approve"], who="ada").text
    with served(asks.config.root, _TOKENS) as server, opened(chromium) as page:
        page.goto(server.url + where)
        page.fill("#token", token)
        page.keyboard.press("Enter")
        page.wait_for_selector("text=ada.laptop, approver")
        if where == "signals":
            page.click("main table a")
        button = {"approve": "Approve", "reject": "Reject"}[decision]
        if page.is_visible(f"summary:has-text('{button}')"):
            page.click(f"summary:has-text('{button}')")
        page.locator(f"form[action$='{decision}'] [name=reason], form[action*='/{decision}/'] [name=reason]").fill(
            "so be it"
        )
        page.click(f"button:has-text('{button}')")
        assert {"approve": "is approved", "reject": "is rejected"}[decision] in _said(page)
        page.click("text=Log out")
        page.wait_for_selector("#token")
    (entry,) = asks.registry.audit(action=decision)
    assert (entry.who, entry.details["reason"]) == ("ada", "so be it")


def test_what_is_the_new_normal_is_accepted_and_taken_back(drifted: Any, chromium: Any) -> None:
    with (
        served(drifted.config.root, 'local_role = "approver"\nport = 0\n') as server,
        opened(chromium) as page,
    ):
        page.goto(server.url + "incidents/1")
        page.click("summary:has-text('Accept: this is the new normal')")
        page.select_option("#days", "7")
        page.fill("#accept-reason", "the new airport has opened")
        page.click("button:has-text('Accept')")
        assert "This is normal until" in _said(page)
        page.click("summary:has-text('Take it back')")
        page.fill("#revoke-1", "it was a mistake")
        page.click("button:has-text('Revoke')")
        assert "compared again with what it was compared with before" in _said(page)
    assert {"accept", "revoke"} <= {one.action for one in drifted.registry.audit()}


@pytest.mark.parametrize(("decision", "became"), [("Approve", "is now flight_delay@1"), ("Reject", "is rejected")])
def test_a_promotion_is_decided_on_from_the_page_of_its_service(
    drifted: Any, chromium: Any, decision: str, became: str
) -> None:
    registry = drifted.registry
    for name, by in (("ada", "test"), ("ben", "ada")):
        registry.add_identity(name, PrivateKey(generate(), "A key").public, who=by)
    token = registry.create_token("ben.laptop", ["approve"], who="ben").text
    service = registry.service("flight_delay").definition
    registry.apply([PromotionPolicy(name="two_people", service=service)], who="test")
    registry.request_promotion("flight_delay@1", "production", who="ada")
    with served(drifted.config.root, _TOKENS) as server, opened(chromium) as page:
        page.goto(server.url + "services/flight_delay")
        page.fill("#token", token)
        page.keyboard.press("Enter")
        page.click(f"summary:has-text('{decision} promotion 1')")
        page.click(f"details[open] button:has-text('{decision}')")
        assert became in _said(page)
    assert registry.aliases("flight_delay") == ({"production": 1} if decision == "Approve" else {})


def test_rows_that_were_kept_aside_are_checked_again_from_the_page_of_their_view(tmp_path: Path, chromium: Any) -> None:
    user = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
    root = tmp_path / "shop"
    with FeatureStore.init(root) as store:
        view = FeatureView(name="spending", entities=[user], schema=[Field(name="total", dtype=Float64, ge=0)])
        store.apply([view])
        at = datetime.now(UTC)
        rows = [{"user_id": number, "total": number - 1.0, "event_timestamp": at} for number in range(3)]
        store.ingest("spending", rows)
    with served(root, f"\n[dashboard]\n{_OPERATOR}") as server, opened(chromium) as page:
        page.goto(server.url + "views/spending")
        assert "1 row failed the checks" in " ".join(page.inner_text("main").split())
        page.click("summary:has-text('Check them again')")
        page.fill("#retry-reason", "the sign is right now")
        page.click("text=Check again, and publish what passes")
        assert "still in quarantine: 1 row." in _said(page)


def test_pictures_follow_the_news(drifted: Any, chromium: Any) -> None:
    with served(drifted.config.root, "port = 0\n") as server, opened(chromium) as page:
        page.goto(server.url + "features/weather/temp", wait_until="load")
        before = page.inner_text("main")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if ".svg" in request.url else None)
        drifted.serve_days(13, 1, shift=3.0)
        with drifted.history() as history:
            run_once(drifted, history, drifted.policy, now=datetime.now(UTC))
        page.wait_for_function("(before) => document.querySelector('main').innerText !== before", arg=before)
        page.wait_for_function("() => [...document.images].every((one) => one.complete)")
        assert sum("histogram.svg" in one for one in asked) == 1
        assert len(asked) == 2
