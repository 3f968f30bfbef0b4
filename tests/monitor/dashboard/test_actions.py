"""What people do from a page: it is done, under their name, by whoever may, and by no other site."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from featurestore.definitions import PromotionPolicy, RetrainingPolicy
from featurestore.errors import MonitorError
from featurestore.registry.signing import PrivateKey, generate
from featurestore.store import FeatureStore
from monitor.dashboard.page import Doing
from monitor.dashboard.reading import Reader
from monitor.dashboard.rolling_back import roll_back

_TOKENS = 'authentication = "token"\n'


@pytest.fixture
def people(drifted: Any) -> dict[str, str]:
    """Tokens by name: two roles that are marked as unverified, and ada, who has proved who she is."""
    registry = drifted.registry
    return {
        name: registry.create_token(name, [scope], who="test").text
        for name, scope in (("vera", "view"), ("otto", "operate"), ("anna", "approve"))
    }


def test_a_viewer_looks_and_an_operator_acts(drifted: Any, people: dict[str, str], browse: Callable[..., Any]) -> None:
    browser = browse(_TOKENS)
    browser.log_in(people["vera"])
    page = browser.get("/incidents/1")
    assert "vera, viewer" in page
    assert "/acknowledge" not in page
    assert "vera is a viewer" in browser.post("/incidents/1/acknowledge", 403)
    browser.post("/logout")
    browser.log_in(people["otto"])
    assert "/acknowledge" in browser.get("/incidents/1")
    page = browser.post("/incidents/1/acknowledge", reason="I look at it")
    assert "Incident 1 is yours, otto@dashboard (unverified)" in page
    assert "works on it since" in page
    (entry,) = drifted.registry.audit(action="acknowledge")
    assert (entry.who, entry.details["reason"]) == ("otto@dashboard (unverified)", "I look at it")


def test_a_silence_is_made_and_ended(drifted: Any, browse: Callable[..., Any]) -> None:
    browser = browse('local_role = "operator"\n')
    browser.get("/incidents/1")
    assert "No reason is given, so nothing was done" in browser.post("/incidents/1/silence", hours="2")
    assert "for how long" in browser.post("/incidents/1/silence", hours="9999", reason="x")
    page = browser.post("/incidents/1/silence", hours="2", reason="a move")
    assert "silence 1" in page
    assert "Silenced until" in page
    page = browser.post("/incidents/1/unsilence/1")
    assert "Silence 1 is over." in page
    assert "Silenced until" not in page
    assert "Not done: There is no silence 1" in browser.post("/incidents/1/unsilence/1")
    assert [one.action for one in drifted.registry.audit() if "silence" in one.action] == ["silence", "unsilence"]


def test_an_incident_is_closed(drifted: Any, browse: Callable[..., Any]) -> None:
    browser = browse('local_role = "operator"\n')
    browser.get("/incidents/1")
    page = browser.post("/incidents/1/close", reason="that version is retired")
    assert "Incident 1 is over" in page
    assert "Nothing: it is over." in page
    assert [one.object for one in drifted.registry.audit(action="close")] == ["incident 1"]


def test_a_service_is_rolled_back(drifted: Any, browse: Callable[..., Any]) -> None:
    registry = drifted.registry
    first = registry.service("flight_delay").definition
    registry.promote("flight_delay@1", "production", who="test")
    registry.apply([replace(first, features=first.features[:1])], allow_breaking=True, who="test")
    registry.promote("flight_delay@2", "production", who="test")
    browser = browse('local_role = "operator"\n')
    assert "from flight_<wbr>delay@2 back to flight_<wbr>delay@1" in browser.get("/incidents/1")
    assert "nobody said to be sure" in browser.post("/incidents/1/rollback/flight_delay", to="1")
    page = browser.post("/services/flight_delay/rollback", to="1", sure="yes")
    assert "The alias production points to flight_delay@1 again." in page
    assert registry.aliases("flight_delay") == {"production": 1}


def test_who_decides_on_a_signal_has_proved_who_they_are(
    drifted: Any, people: dict[str, str], browse: Callable[..., Any]
) -> None:
    registry = drifted.registry
    drifted.apply(retrain=RetrainingPolicy(approval=True))
    registry.add_identity("ada", PrivateKey(generate(), "A key").public, who="test")
    adas = registry.create_token("ada.laptop", ["approve"], who="ada").text
    browser = browse(_TOKENS)
    browser.log_in(people["otto"])
    browser.get("/signals")
    assert "is pending" in browser.post("/signals", service="flight_delay", reason="the fares have changed")
    (signal,) = browser.client.get("/signals.json").json()["signals"]
    assert signal["asked_by"] == "otto@dashboard (unverified)"
    address = f"/signals/{signal['id']}"
    browser.post(f"{address}/approve", 403)
    browser.post("/logout")
    browser.log_in(people["anna"])
    browser.get(address)
    assert "who that is has not been verified" in browser.post(f"{address}/approve")
    browser.post("/logout")
    browser.log_in(adas)
    browser.get(address)
    assert "No reason is given" in browser.post(f"{address}/reject")
    assert "is approved" in browser.post(f"{address}/approve", reason="so they have")
    (entry,) = registry.audit(action="approve")
    assert (entry.who, entry.details["reason"]) == ("ada", "so they have")
    assert "There is nothing to decide now" in browser.get(address)


def test_a_promotion_is_approved_by_somebody_else_who_has_proved_who_they_are(
    drifted: Any, people: dict[str, str], browse: Callable[..., Any]
) -> None:
    registry = drifted.registry
    for name, by in (("ada", "test"), ("ben", "ada")):
        registry.add_identity(name, PrivateKey(generate(), "A key").public, who=by)
    tokens = {name: registry.create_token(f"{name}.laptop", ["approve"], who=name).text for name in ("ada", "ben")}
    service = registry.service("flight_delay").definition
    registry.apply([PromotionPolicy(name="two_people", service=service)], who="test")
    registry.request_promotion("flight_delay@1", "production", who="ada")
    registry.apply([replace(service, features=service.features[:1])], allow_breaking=True, who="test")
    registry.request_promotion("flight_delay@2", "production", who="ada")
    browser = browse(_TOKENS)
    browser.log_in(people["otto"])
    address = "/services/flight_delay/promotions"
    assert 'href="/services/flight_delay"' in browser.get("/overview")
    assert "It waits for an approver." in browser.get("/services/flight_delay")
    assert "otto is an operator" in browser.post(f"{address}/1/approve", 403)
    refused = {people["anna"]: "has not been verified", tokens["ada"]: "they asked for it"}
    for token, why in refused.items():
        browser.post("/logout")
        browser.log_in(token)
        assert "Approve promotion 1" in browser.get("/services/flight_delay")
        assert why in browser.post(f"{address}/1/approve")
    assert registry.aliases("flight_delay") == {}
    browser.post("/logout")
    browser.log_in(tokens["ben"])
    browser.get("/services/flight_delay")
    # Of the service that the address names, and of no other one.
    form = {"form_key": browser.form_key}
    browser.client.post("/services/other/promotions/1/approve", data=form, follow_redirects=False)
    assert "has no promotion 1" in browser.get("/services/flight_delay")
    page = browser.post(f"{address}/1/approve")
    assert "production of flight_delay is now flight_delay@1" in page
    assert "Approve promotion 1" not in page
    assert registry.aliases("flight_delay") == {"production": 1}
    assert "was approved by ben" in browser.post(f"{address}/1/reject")
    page = browser.post(f"{address}/2/reject")
    assert "Promotion 2 is rejected" in page
    assert [(one.number, one.state, one.decided_by) for one in registry.promotions()] == [
        (1, "approved", ("ben",)),
        (2, "rejected", ("ben",)),
    ]
    done = [(one.action, one.who, one.details["promotion"]) for one in registry.audit() if one.action == "reject"]
    assert done == [("reject", "ben", 2)]
    assert [(one.who, one.details["state"]) for one in registry.audit(action="approve")] == [("ben", "approved")]


def test_what_an_incident_is_about_is_accepted_and_taken_back(
    drifted: Any, people: dict[str, str], browse: Callable[..., Any]
) -> None:
    browser = browse(_TOKENS)
    browser.log_in(people["otto"])
    assert "/incidents/1/accept" not in browser.get("/incidents/1")
    assert "otto is an operator" in browser.post("/incidents/1/accept", 403, days="30", reason="x")
    browser.post("/logout")
    browser.log_in(people["anna"])
    assert "/incidents/1/accept" in browser.get("/incidents/1")
    assert "for how long" in browser.post("/incidents/1/accept", days="900", reason="x")
    assert "No reason is given" in browser.post("/incidents/1/accept", days="30")
    for since, why in (("soon", "is no instant"), ("2013-01-01T00:00", "No window of")):
        asked = {"days": "30", "reason": "x", "since": since, "until": "2013-01-02T00:00"}
        assert why in browser.post("/incidents/1/accept", **asked)
    assert drifted.registry.audit(action="accept") == []
    asked = {"days": "30", "reason": "the new airport has opened", "since": "2013-07-05T00:00", "until": ""}
    page = browser.post("/incidents/1/accept", **asked)
    assert "This is normal until" in page
    assert "flight_delay@1, " in page
    assert "Nothing: it is over. What was accepted can be taken back" in page
    who = "anna@dashboard (unverified)"
    (entry,) = drifted.registry.audit(action="accept")
    assert (entry.who, entry.details["reason"]) == (who, "the new airport has opened")
    assert entry.details["since"].startswith("2013-07-05T00:00")
    with drifted.history() as history, history.read() as connection:
        (kept,) = history.acceptances(connection)
    assert (kept.author, kept.incident, kept.holds(datetime.now(UTC))) == (who, 1, True)
    page = browser.post("/incidents/1/revoke/1", reason="it was a mistake")
    assert "compared again with what it was compared with before" in page
    assert "counts no more" in browser.post("/incidents/1/revoke/1", reason="once more")
    assert [one.who for one in drifted.registry.audit(action="revoke")] == [who]


def test_a_form_of_another_site_is_refused(drifted: Any, browse: Callable[..., Any]) -> None:
    browser = browse('local_role = "approver"\n')
    browser.get("/incidents/1")
    for forged in ("", "0" * 64):
        page = browser.post("/incidents/1/acknowledge", 403, form_key=forged)
        assert "did not come from a page of this session" in page
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        answer = browser.client.post("/incidents/1/acknowledge", data={"form_key": browser.form_key}, headers=headers)
        assert answer.status_code == 403
    browser.client.cookies.clear()
    assert browser.client.post("/incidents/1/acknowledge", data={"form_key": browser.form_key}).status_code == 403
    assert drifted.registry.audit(action="acknowledge") == []


def test_actions_are_bounded(drifted: Any, browse: Callable[..., Any]) -> None:
    browser = browse('local_role = "operator"\nactions_per_minute = 2\n')
    browser.get("/incidents/1")
    for _ in range(2):
        browser.post("/incidents/1/unsilence/9")
    assert "more than 2 actions a minute" in browser.post("/incidents/1/acknowledge", 429)
    assert drifted.registry.audit(action="acknowledge") == []


def test_a_rehearsal_moves_no_alias(drifted: Any, browse: Callable[..., Any]) -> None:
    drifted.replayed().log.mkdir(parents=True)
    page = browse('local_role = "operator"\n', replay="july").get("/services/flight_delay")
    assert "rehearsal july" in page
    with FeatureStore(drifted.config.root, replay="july") as store:
        doing = Doing(path={}, form={"to": "1", "sure": "yes"}, who="ada", now=datetime.now(UTC))
        with pytest.raises(MonitorError, match="moves no alias"):
            roll_back(Reader(store), doing, "flight_delay")
