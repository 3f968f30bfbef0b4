"""Who comes in: by token, by a proxy that is trusted, or locally; and how long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from itsdangerous import TimestampSigner

from monitor.dashboard.guards import POLICY
from monitor.dashboard.people import Role, of_token
from monitor.dashboard.rates import Rate
from monitor.dashboard.sessions import SESSION, Session, Sessions

_TOKENS = 'authentication = "token"\n'
_PROXY = 'authentication = "proxy"\noperators = ["group:oncall"]\napprovers = ["ada"]\n'


def test_nobody_comes_in_without_a_token_for_people(
    drifted: Any, browse: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = drifted.registry
    monkeypatch.setattr("monitor.dashboard.door._FRESH_SECONDS", 0.0)
    program = registry.create_token("scoring", ["read"], who="test").text
    veras = registry.create_token("vera", ["view"], who="test").text
    browser = browse(_TOKENS)
    page = browser.get("/incidents/1?x=1")
    assert "Log in" in page
    assert "ridge" not in page
    for path in ("/incidents/1.json", "/incidents/1/features/temp.svg", "/events"):
        assert browser.client.get(path).status_code == 401
    for wrong in (program, "fs_abc_def", "", veras[:-1] + "?"):
        assert "no token for the dashboard" in browser.post("/login", 401, token=wrong)
    assert "Incident 1" in browser.post("/login?next=/incidents/1", token=veras)
    registry.revoke_token("vera", who="test")
    assert "Log in" in browser.get("/incidents/1")


def test_a_login_leads_only_to_this_site(drifted: Any, browse: Callable[..., Any]) -> None:
    token = drifted.registry.create_token("vera", ["view"], who="test").text
    browser = browse(_TOKENS)
    for elsewhere in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"):
        browser.client.cookies.clear()
        browser.get("/login")
        fields = {"form_key": browser.form_key, "token": token}
        to = browser.client.post("/login", params={"next": elsewhere}, data=fields, follow_redirects=False)
        assert to.headers["location"] == "/overview"


def test_logins_are_bounded(drifted: Any, browse: Callable[..., Any]) -> None:
    token = drifted.registry.create_token("vera", ["view"], who="test").text
    browser = browse(_TOKENS + "logins_per_minute = 2\n")
    browser.get("/login")
    for _ in range(2):
        browser.post("/login", 401, token="guess")
    assert "More than 2 logins a minute" in browser.post("/login", 429, token=token)


def test_a_session_is_over_when_its_time_is_or_its_owner_says_so(
    drifted: Any, browse: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = drifted.registry.create_token("vera", ["view"], who="test").text
    browser = browse(_TOKENS)
    browser.log_in(token)
    cookie = browser.client.cookies[SESSION]
    browser.get("/overview")
    browser.post("/logout")
    browser.client.cookies.set(SESSION, cookie)
    assert "Log in" in browser.get("/overview")
    browser.log_in(token)
    later = TimestampSigner("any").get_timestamp() + 8 * 3_600 + 1
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: later)
    assert "Log in" in browser.get("/overview")


def test_cookies_and_headers_are_strict(drifted: Any, browse: Callable[..., Any]) -> None:
    token = drifted.registry.create_token("vera", ["view"], who="test").text
    browser = browse(_TOKENS)
    answer = browser.client.get("/login")
    assert answer.headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    assert answer.headers["cache-control"] == "no-store"
    # Whether the browser speaks TLS is said by a proxy that is trusted, and by nobody else.
    for client, secure in (("127.0.0.1", True), ("10.1.2.3", False)):
        browser = browse(client=(client, 50_000))
        browser.get("/login")
        fields = {"form_key": browser.form_key, "token": token}
        headers = {"x-forwarded-proto": "https"}
        answer = browser.client.post("/login", data=fields, headers=headers, follow_redirects=False)
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert ("secure" in cookie) is secure
    assert browser.client.get("/static/dashboard.css").headers["cache-control"] == "no-cache"


def test_a_proxy_that_is_trusted_says_who_calls(drifted: Any, browse: Callable[..., Any]) -> None:
    browser = browse(_PROXY, client=("127.0.0.1", 50_000))
    for headers, said in (
        ({"x-forwarded-user": "vera"}, "vera, viewer"),
        ({"x-forwarded-user": "otto", "x-forwarded-groups": "staff, oncall"}, "otto, operator"),
        ({"x-forwarded-user": "ada"}, "ada, approver"),
    ):
        assert said in browser.get("/overview", headers=headers)
    assert "a proxy says who calls" in browser.get("/overview", 403)
    browser.client.headers["x-forwarded-user"] = "ada"
    browser.get("/incidents/1")
    assert "ada@proxy (unverified)" in browser.post("/incidents/1/acknowledge")
    (entry,) = drifted.registry.audit(action="acknowledge")
    assert entry.who == "ada@proxy (unverified)"


@pytest.mark.usefixtures("drifted")
def test_whoever_is_no_proxy_names_nobody(browse: Callable[..., Any]) -> None:
    browser = browse(_PROXY, client=("10.1.2.3", 50_000))
    assert "it has named nobody" in browser.get("/overview", 403, headers={"x-forwarded-user": "ada"})


@pytest.mark.usefixtures("drifted")
def test_where_nobody_logs_in_only_names_of_this_machine_are_answered(browse: Callable[..., Any]) -> None:
    browser = browse('hosts = ["box.example"]\n')
    for host, status in (("127.0.0.1:6580", 200), ("[::1]:6580", 200), ("box.example", 200), ("evil.example", 421)):
        browser.get("/overview", status, headers={"host": host})


def test_a_token_stands_for_an_identity_only_where_that_made_it(drifted: Any) -> None:
    registry = drifted.registry
    now = registry.audit(limit=1)[0].at
    for name, maker, who in (
        ("ada", "ada", "ada"),
        ("ada.phone", "ada", "ada"),
        ("adam", "ada", "adam@dashboard (unverified)"),
        ("bob", "ada", "bob@dashboard (unverified)"),
        ("eve", "eve@laptop (unverified)", "eve@dashboard (unverified)"),
        ("zoe", "zoe", "zoe@dashboard (unverified)"),
    ):
        token = registry.create_token(name, ["operate", "view"], who=maker).token
        person = of_token(token, {"ada"}, now=now)
        assert person is not None
        assert (person.who, person.role) == (who, Role.operator)


def test_a_rate_fills_again_with_time() -> None:
    rate = Rate(3)
    assert [rate.allows("ada", now=0.0) for _ in range(4)] == [True, True, True, False]
    assert rate.allows("bob", now=0.0)
    assert not rate.allows("ada", now=19.0)
    assert rate.allows("ada", now=21.0)


def test_a_cookie_that_somebody_made_up_is_none() -> None:
    ours, theirs = Sessions("secret", seconds=60), Sessions("", seconds=60)
    session = ours.new("token")
    assert ours.read(ours.write(session)) == session
    assert Sessions("secret", seconds=60).read(ours.write(session)) == session
    for cookie in ("", "x", theirs.write(session), ours.write(session)[:-1], ours.write_said(session, "done", "x")):
        assert ours.read(cookie) is None
    assert not ours.is_form_key(Session(id="other"), ours.form_key(session))
    assert ours.read_said(Session(id="other"), ours.write_said(session, "done", "x")) is None
