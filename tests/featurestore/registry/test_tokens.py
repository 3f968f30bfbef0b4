"""Tokens: made once, kept as hashes, limited, revoked and expired, and all of that in the audit log."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from featurestore.definitions import MonitorPolicy
from featurestore.errors import DefinitionError, ObjectNotFoundError, RegistryError
from featurestore.registry import Registry, open_registry
from featurestore.registry.migrating import open_database
from featurestore.registry.tokens import id_of

Policy = Callable[..., MonitorPolicy]


@pytest.fixture
def applied(registry: Registry, policy: Policy) -> Registry:
    """Return a registry with the service flight_delay over the view weather."""
    registry.apply([policy()], who="ada")
    return registry


def changes(registry: Registry) -> list[tuple[str, str, Any]]:
    return [(entry.object, entry.who, entry.details["change"]) for entry in registry.audit(action="token")]


def behind_the_back(url: str, statement: str) -> None:
    database = open_database(url)
    with database.write() as connection:
        connection.exec_driver_sql(statement)
    database.close()


def soon_past(registry: Registry, name: str) -> None:
    """Make a token that has expired by the time this returns."""
    expires = datetime.now(UTC) + timedelta(milliseconds=300)
    registry.create_token(name, ["read"], expires_at=expires, who="ada")
    time.sleep(max(0.0, (expires - datetime.now(UTC)).total_seconds()) + 0.01)


def test_a_token_is_shown_once_and_kept_as_a_hash(registry: Registry, url: str) -> None:
    made = registry.create_token("checkout", ["log", "read"], who="ada")
    assert re.fullmatch(r"fs_[a-z0-9]{12}_[A-Za-z0-9]{43}", made.text)
    assert id_of(made.text) == made.token.id
    (kept,) = registry.tokens()
    assert kept == made.token
    assert kept.digest == hashlib.sha256(made.text.encode()).hexdigest()
    assert (kept.scopes, kept.services, kept.views, kept.created_by) == (("read", "log"), (), (), "ada")
    secret = made.text.rpartition("_")[2]
    assert secret not in repr(made)
    assert kept.digest not in repr(made)
    database = open_database(url)
    with database.read() as connection:
        for table in ("tokens", "audit"):
            assert secret not in str(connection.exec_driver_sql(f"SELECT * FROM {table}").all())
    database.close()


def test_no_two_tokens_are_alike(registry: Registry) -> None:
    made = [registry.create_token(f"t{number}", ["read"], who="ada") for number in range(20)]
    assert len({one.text for one in made}) == len({one.token.id for one in made}) == 20


def test_servers_are_told_of_each_change(registry: Registry) -> None:
    seen = [registry.revision()]
    for change in (
        lambda: registry.create_token("checkout", ["read"], who="ada"),
        lambda: registry.revoke_token("checkout", who="ada"),
    ):
        change()
        seen.append(registry.revision())
    assert seen == sorted(set(seen))


def test_a_token_is_limited_to_services_and_views_that_there_are(applied: Registry) -> None:
    both = {"services": ["flight_delay"], "views": ["weather"]}
    token, _ = applied.create_token("some", ["read", "push"], **both, who="ada")
    assert (token.services, token.views) == (("flight_delay",), ("weather",))
    with pytest.raises(ObjectNotFoundError, match='no feature service "flight_dealy"') as unknown:
        applied.create_token("x", ["read"], services=["flight_dealy"], who="ada")
    assert unknown.value.hint == 'Did you mean "flight_delay"?'
    with pytest.raises(ObjectNotFoundError, match="not a feature service"):
        applied.create_token("x", ["read"], services=["weather"], who="ada")
    with pytest.raises(DefinitionError, match="is a version"):
        applied.create_token("x", ["read"], services=["flight_delay@1"], who="ada")
    watching, _ = applied.create_token("trainer", ["signals"], services=["flight_delay"], who="ada")
    assert (watching.scopes, watching.services) == (("signals",), ("flight_delay",))
    assert [one.name for one in applied.tokens()] == ["some", "trainer"]


@pytest.mark.parametrize(
    ("name", "about", "said"),
    [
        ("", {"scopes": ["read"]}, "cannot name a token"),
        ("a b", {"scopes": ["read"]}, "cannot name a token"),
        ("x", {"scopes": []}, "would be for nothing"),
        ("x", {"scopes": ["write"]}, 'no scope "write"'),
        ("x", {"scopes": ["push"], "services": ["flight_delay"]}, "has no scope read"),
        ("x", {"scopes": ["read"], "views": ["weather"]}, "has no scope push"),
        ("x", {"scopes": ["admin", "read"], "services": ["flight_delay"]}, "admin is for everything"),
    ],
)
def test_a_token_that_makes_no_sense_is_not_made(applied: Registry, name: str, about: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said) as refused:
        applied.create_token(name, **about, who="ada")
    assert refused.value.hint
    assert applied.tokens() == []


def test_a_name_is_given_again_only_when_its_token_is_worth_nothing(registry: Registry) -> None:
    first = registry.create_token("checkout", ["read"], who="ada")
    with pytest.raises(RegistryError, match='There is a valid token "checkout"'):
        registry.create_token("checkout", ["read"], who="ada")
    registry.revoke_token("checkout", who="bob")
    second = registry.create_token("checkout", ["push"], who="ada")
    assert second.token.id != first.token.id
    assert [(one.id, one.revoked_at) for one in registry.tokens()] == [(second.token.id, None)]
    assert registry.verify_audit() == []


def test_what_is_not_there_or_revoked_is_not_revoked(registry: Registry) -> None:
    with pytest.raises(ObjectNotFoundError, match='no token "checkout"') as nothing:
        registry.revoke_token("checkout", who="ada")
    assert "token create" in nothing.value.hint
    registry.create_token("checkout", ["read"], who="ada")
    with pytest.raises(ObjectNotFoundError) as close:
        registry.revoke_token("chekout", who="ada")
    assert close.value.hint == 'Did you mean "checkout"?'
    assert registry.revoke_token("checkout", who="ada").state(datetime.now(UTC)) == "revoked"
    with pytest.raises(RegistryError, match=r"was revoked on \d{4}"):
        registry.revoke_token("checkout", who="ada")


def test_a_token_expires_and_that_is_entered_once(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="which is past"):
        registry.create_token("late", ["read"], expires_at=datetime.now(UTC), who="ada")
    soon_past(registry, "brief")
    (token,) = registry.tokens()
    assert token.state(datetime.now(UTC)) == "expired"
    assert registry.enter_expired_tokens(who="server") == ("brief",)
    assert registry.enter_expired_tokens(who="server") == ()
    assert changes(registry) == [("brief", "ada", "create"), ("brief", "server", "expire")]
    registry.create_token("brief", ["read"], who="ada")
    assert registry.verify_audit() == []


def test_the_next_change_enters_what_has_expired_where_no_server_runs(registry: Registry) -> None:
    soon_past(registry, "brief")
    registry.create_token("other", ["read"], who="bob")
    registry.revoke_token("other", who="bob")
    assert changes(registry) == [
        ("brief", "ada", "create"),
        ("brief", "bob", "expire"),
        ("other", "bob", "create"),
        ("other", "bob", "revoke"),
    ]


def test_the_log_says_what_a_token_is_for_and_not_what_it_is(applied: Registry) -> None:
    token, text = applied.create_token("some", ["read"], services=["flight_delay"], who="ada")
    (entry,) = applied.audit(action="token")
    assert entry.details == {
        "change": "create",
        "id": token.id,
        "scopes": ["read"],
        "services": ["flight_delay"],
        "views": [],
        "expires_at": None,
        "fingerprint": hashlib.sha256(token.digest.encode()).hexdigest()[:32],
    }
    assert text not in str(entry)
    assert token.digest not in str(entry)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE tokens SET scopes = '[\"admin\"]'", 'Token "some" is not what the log says of it'),
        (f"UPDATE tokens SET digest = '{'0' * 64}'", 'Token "some" is not what the log says of it'),
        ("UPDATE tokens SET revoked_at = 1", 'Token "some" is not what the log says of it'),
        ("UPDATE tokens SET expires_at = 1", 'Token "some" is not what the log says of it'),
        ("UPDATE tokens SET name = 'other'", 'Token "other" is not what the log says of it'),
        ("DELETE FROM tokens", 'Token "some" is gone'),
    ],
)
def test_whoever_lets_himself_in_by_the_table_is_found(registry: Registry, url: str, statement: str, said: str) -> None:
    registry.create_token("some", ["read"], who="ada")
    assert registry.verify_audit() == []
    behind_the_back(url, statement)
    assert any(said in one for one in registry.verify_audit())


def test_a_revoked_token_that_is_made_valid_again_is_found(registry: Registry, url: str) -> None:
    registry.create_token("some", ["read"], who="ada")
    registry.revoke_token("some", who="ada")
    assert registry.verify_audit() == []
    behind_the_back(url, "UPDATE tokens SET revoked_at = NULL")
    assert any('Token "some" is not what the log says' in one for one in registry.verify_audit())


def test_a_project_does_not_know_the_tokens_of_another(registry: Registry, url: str) -> None:
    registry.create_token("some", ["read"], who="ada")
    with open_registry(url, "other") as other:
        assert other.tokens() == []
        other.create_token("some", ["push"], who="bob")
        assert [one.scopes for one in other.tokens()] == [("push",)]
    assert [one.scopes for one in registry.tokens()] == [("read",)]


@pytest.mark.parametrize("text", ["", "fs", "fs_", "abc", "xx_abc_def", "Bearer fs_abc_def"])
def test_what_is_no_token_has_no_id(text: str) -> None:
    assert id_of(text) == ""
