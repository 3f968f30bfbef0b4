"""Identities on the command line: a key is made, known, used and revoked."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from featurestore import FeatureStore
from featurestore.cli.app import run
from featurestore.registry import current_user

Said = Callable[..., tuple[int, str]]


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Said:
    """Run a command; return its exit code, and what it printed. The folder is a store's."""
    FeatureStore.init(tmp_path / "shop").close()
    monkeypatch.chdir(tmp_path / "shop")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))

    def call(*arguments: str) -> tuple[int, str]:
        code = run(list(arguments), debug=False)
        printed = capfd.readouterr()
        return code, printed.out + printed.err

    return call


def public_key(printed: str) -> str:
    found = re.search(r"ed25519:\S+", printed)
    assert found
    return found[0]


def test_a_name_is_made_known_used_and_revoked(said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, printed = said("identity", "create", "ada")
    assert code == 0
    file = tmp_path / "settings/featurestore/identities/ada.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert file.read_text().splitlines()[1] not in printed
    assert said("identity", "whoami")[1] == f"{current_user()}\n"
    # The name may be exported already: whoever is to be the first cannot prove it before.
    monkeypatch.setenv("FEATURESTORE_IDENTITY", "ada")
    assert '"ada" is not known to this registry' in said("identity", "whoami")[1]
    assert said("identity", "add", "ada", public_key(printed))[0] == 0
    assert said("identity", "whoami") == (0, "ada\n")
    bob = public_key(said("identity", "create", "bob", "--out", str(tmp_path / "bob.pem"))[1])
    assert said("identity", "add", "bob", bob)[0] == 0
    monkeypatch.setenv("FEATURESTORE_IDENTITY", "bob")
    monkeypatch.setenv("FEATURESTORE_IDENTITY_KEY", "../bob.pem")
    assert said("identity", "whoami") == (0, "bob\n")
    assert said("identity", "revoke", "ada") == (0, '"ada" is revoked.\n')
    listed = json.loads(said("identity", "list", "--format", "json")[1])
    assert [(one["name"], one["revoked_at"] is None) for one in listed] == [("ada", False), ("bob", True)]
    assert "  revoked 2" in said("identity", "list")[1].splitlines()[0]
    assert len(said("audit", "--action", "identity")[1].splitlines()) == 3
    assert said("audit", "verify")[0] == 0


def test_a_key_is_not_written_over(said: Said) -> None:
    assert said("identity", "create", "ada")[0] == 0
    code, printed = said("identity", "create", "ada")
    assert code == 1
    assert "exists already" in printed


def test_mistakes_are_told_in_a_sentence(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "cannot name an identity" in said("identity", "create", "../ada")[1]
    assert "cannot name an identity" in said("identity", "create", "ada (unverified)")[1]
    assert "No identity is known." in said("identity", "list")[1]
    assert 'no identity "ada"' in said("identity", "revoke", "ada")[1]
    key = public_key(said("identity", "create", "ada")[1])
    said("identity", "add", "ada", key)
    assert "is not verified" in said("identity", "add", "bob", key)[1]
    monkeypatch.setenv("FEATURESTORE_IDENTITY_KEY", "ada.pem")
    assert "FEATURESTORE_IDENTITY is not" in said("identity", "whoami")[1]
