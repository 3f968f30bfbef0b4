"""Who acts: what was proved by a key never looks like what was not."""

from __future__ import annotations

import getpass
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from featurestore.errors import DefinitionError, ObjectNotFoundError, RegistryError
from featurestore.registry import Registry, current_user, is_verified, open_registry, values
from featurestore.registry.identity import check_identity_name, origin
from featurestore.registry.migrating import open_database
from featurestore.registry.signing import PrivateKey, generate

ADA, BOB, EVE = (PrivateKey(generate(), name) for name in ("ada", "bob", "eve"))


@pytest.fixture
def known(registry: Registry) -> Registry:
    """Return a registry that knows ada and bob."""
    registry.add_identity("ada", ADA.public, who=current_user())
    registry.add_identity("bob", BOB.public, who="ada")
    return registry


@given(user=st.text(max_size=40))
@example(user="ada")
@example(user="ada (verified)")
@example(user="")
@example(user="ada\n  2  2024-01-01  bob  promote")
def test_an_unverified_actor_never_looks_verified(user: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(getpass, "getuser", lambda: user)
        who = current_user()
    assert not is_verified(who)
    assert who.endswith(" (unverified)")
    assert len(who.splitlines()) == 1


@given(name=st.text(max_size=80) | st.from_regex(r"[A-Za-z0-9@._ -]+(?: \(unverified\))?", fullmatch=True))
@example(name="ada@laptop")
@example(name="ada (unverified)")
@example(name="ada\n")
@example(name="\u0430da")  # its first letter is Cyrillic
def test_a_name_that_could_be_taken_for_another_is_refused(name: str) -> None:
    fine = bool(name) and len(name) <= 64 and all(one.isascii() and (one.isalnum() or one in "_.-") for one in name)
    fine = fine and name[0] not in "_.-"
    assert is_verified(name) == fine
    if not fine:
        with pytest.raises(DefinitionError, match="cannot name an identity"):
            check_identity_name(name)


def test_a_name_is_proved_by_its_key_alone(known: Registry) -> None:
    assert known.identify("ada", ADA) == "ada"
    assert is_verified("ada")
    with pytest.raises(RegistryError, match='The key is not that of "ada": its fingerprint is SHA256:'):
        known.identify("ada", BOB)
    with pytest.raises(ObjectNotFoundError, match='"eve" is not known') as raised:
        known.identify("eve", EVE)
    assert raised.value.hint.endswith(f"featurestore identity add eve {EVE.public}")


def test_the_first_may_be_added_by_anyone_and_later_ones_only_by_who_is_verified(registry: Registry) -> None:
    assert registry.founder() == current_user()
    registry.add_identity("ada", ADA.public, who=current_user())
    assert registry.founder() is None
    for stranger in (current_user(), "eve", "ada (unverified)", "ada@laptop"):
        with pytest.raises(RegistryError, match="is not verified") as raised:
            registry.add_identity("eve", EVE.public, who=stranger)
        assert "FEATURESTORE_IDENTITY" in raised.value.hint
        with pytest.raises(RegistryError, match="is not verified"):
            registry.revoke_identity("ada", who=stranger)
    assert registry.add_identity("bob", BOB.public, who="ada").added_by == "ada"
    assert [one.name for one in registry.identities()] == ["ada", "bob"]


def test_a_name_is_given_once_until_it_is_revoked(known: Registry) -> None:
    with pytest.raises(RegistryError, match='"bob" exists'):
        known.add_identity("bob", EVE.public, who="ada")
    assert known.revoke_identity("bob", who="ada").revoked_at is not None
    with pytest.raises(RegistryError, match='"bob" was revoked on'):
        known.identify("bob", BOB)
    with pytest.raises(RegistryError, match="was revoked on"):
        known.revoke_identity("bob", who="ada")
    with pytest.raises(RegistryError, match="bob is not verified"):
        known.add_identity("eve", EVE.public, who="bob")
    known.add_identity("bob", EVE.public, who="ada")
    assert known.identify("bob", EVE) == "bob"
    with pytest.raises(RegistryError, match="The key is not that of"):
        known.identify("bob", BOB)


def test_one_key_is_not_two_people(known: Registry) -> None:
    with pytest.raises(
        RegistryError, match='The key of "eve" is that of "bob": one person would count as two'
    ) as caught:
        known.add_identity("eve", BOB.public, who="ada")
    assert caught.value.hint == "Make another: featurestore identity create eve"
    assert [one.name for one in known.identities()] == ["ada", "bob"]


def test_the_last_one_cannot_be_revoked(known: Registry) -> None:
    known.revoke_identity("bob", who="ada")
    with pytest.raises(RegistryError, match='"ada" is the last identity') as raised:
        known.revoke_identity("ada", who="ada")
    assert "identity add" in raised.value.hint
    with pytest.raises(ObjectNotFoundError, match='no identity "adda"') as wrong:
        known.revoke_identity("adda", who="ada")
    assert wrong.value.hint == 'Did you mean "ada"?'


def test_identities_hold_for_every_project_and_are_audited_in_the_one_that_added_them(
    known: Registry, url: str
) -> None:
    with open_registry(url, "trains") as other:
        assert other.identify("ada", ADA) == "ada"
        other.add_identity("eve", EVE.public, who="ada")
        assert [entry.object for entry in other.audit(action="identity")] == ["eve"]
        assert other.verify_audit() == []
    known.revoke_identity("eve", who="bob")
    added = [(one.object, one.who, one.details["change"]) for one in known.audit(action="identity")]
    assert added == [("ada", current_user(), "add"), ("bob", "ada", "add"), ("eve", "bob", "revoke")]
    assert known.verify_audit() == []


def test_a_clock_that_goes_behind_does_not_turn_the_order_of_changes_around(
    known: Registry, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = values.now
    monkeypatch.setattr(values, "now", lambda: now() - 5_000_000)
    with open_registry(url, "trains") as other:
        other.revoke_identity("bob", who="ada")
        known.add_identity("bob", EVE.public, who="ada")
        assert known.verify_audit() == other.verify_audit() == []


@pytest.mark.parametrize(
    "tampering",
    [
        f"UPDATE identities SET public_key = '{EVE.public}' WHERE name = 'bob'",
        "UPDATE identities SET revoked_at = 1 WHERE name = 'bob'",
        "DELETE FROM identities WHERE name = 'bob'",
        f"INSERT INTO identities (name, public_key, added_at, added_by) VALUES ('bobo', '{EVE.public}', 1, 'ada')",
    ],
)
def test_an_identity_that_was_changed_behind_the_log_is_found(known: Registry, url: str, tampering: str) -> None:
    assert known.verify_audit() == []
    database = open_database(url)
    with database.write() as connection:
        connection.exec_driver_sql(tampering)
    database.close()
    (problem,) = known.verify_audit()
    assert problem.startswith('The identity "bob')


@pytest.mark.parametrize(
    ("started", "program"),
    [
        ("/usr/bin/featurestore", "featurestore"),
        ("/site-packages/featurestore/__main__.py", "featurestore"),
        ("/home/ada/train.py", "train.py"),
        ("-c", "python -c"),
        ("", "python"),
    ],
)
def test_from_where_is_the_host_and_the_program_without_its_folder(
    monkeypatch: pytest.MonkeyPatch, started: str, program: str
) -> None:
    monkeypatch.setattr(sys, "argv", [started, "--password", "x"])
    assert origin()["program"] == program
    assert origin().keys() == {"host", "program"}


def test_what_is_no_key_is_not_registered(registry: Registry) -> None:
    with pytest.raises(DefinitionError, match="is no public key"):
        registry.add_identity("ada", "ssh-ed25519 AAAA", who=current_user())
    assert registry.identities() == []
