"""Keys: made once, readable by their owner alone, shown never."""

from __future__ import annotations

import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from featurestore import config
from featurestore.errors import ConfigError, DefinitionError
from featurestore.registry import signing
from featurestore.registry.signing import PrivateKey, check_public, fingerprint, generate, signed_by


@pytest.fixture
def settings(tmp_path: Path) -> config.Config:
    (tmp_path / config.FILE_NAME).write_text("")
    return config.load(tmp_path)


def test_a_signature_is_right_for_one_text_and_one_key() -> None:
    key, other = PrivateKey(generate(), "a"), PrivateKey(generate(), "b")
    signature = key.sign(b"text")
    assert signed_by(key.public, b"text", signature)
    assert not signed_by(key.public, b"texts", signature)
    assert not signed_by(other.public, b"text", signature)
    for nonsense in ("", "?", signature[:-4], "ü"):
        assert not signed_by(key.public, b"text", nonsense)
        assert not signed_by(nonsense, b"text", signature)


def test_a_private_key_does_not_show_itself() -> None:
    pem = generate()
    key = PrivateKey(pem, "a")
    secret = "".join(pem.splitlines()[1:-1])
    assert secret not in repr(key)
    assert secret not in str(key.__dict__.get("public"))


def test_a_store_makes_its_key_once_and_only_its_owner_can_read_it(settings: config.Config) -> None:
    assert signing.existing_signing_key(settings) is None
    with ThreadPoolExecutor(8) as pool:
        publics = {key.public for key in pool.map(lambda _: signing.signing_key(settings), range(16))}
    assert len(publics) == 1
    file = settings.root / "data/keys/audit.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one.name for one in file.parent.iterdir()] == ["audit.pem"]


def test_a_store_takes_a_key_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = generate()
    (tmp_path / "own.pem").write_text(pem)
    monkeypatch.setenv("AUDIT_KEY", pem)
    for written in ("file:own.pem", "${AUDIT_KEY}"):
        (tmp_path / config.FILE_NAME).write_text(f'[audit]\nsigning_key = "{written}"')
        loaded = config.load(tmp_path)
        assert signing.signing_key(loaded).public == PrivateKey(pem, "own").public
        assert pem.splitlines()[1] not in repr(loaded)
    assert not (tmp_path / "data").exists()


def test_a_key_made_by_another_program_is_one(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(file)], check=True)
    assert check_public(PrivateKey(file.read_text(), "a").public)


def test_what_is_no_key_is_refused_and_not_shown(settings: config.Config, tmp_path: Path) -> None:
    guarded = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
    )
    for pem, says in (("top secret", "no private key"), (guarded.decode(), "guarded by a password")):
        with pytest.raises(ConfigError, match=says) as raised:
            PrivateKey(pem, "The key k")
        assert raised.value.message.startswith("The key k")
        assert raised.value.hint
        assert pem.splitlines()[0] not in str(raised.value)
    (tmp_path / config.FILE_NAME).write_text('[audit]\nsigning_key = "file:none.pem"')
    with pytest.raises(ConfigError, match=r'"audit\.signing_key".*none\.pem cannot be read'):
        signing.signing_key(config.load(tmp_path))
    (settings.root / "data").write_text("in the way")
    with pytest.raises(ConfigError, match="cannot be written"):
        signing.signing_key(settings)


def test_a_public_key_has_one_spelling_and_a_fingerprint() -> None:
    public = PrivateKey(generate(), "a").public
    assert fingerprint(public).startswith("SHA256:")
    assert len(fingerprint(public)) == len("SHA256:") + 43
    for wrong in ("", public[:-1], public.upper(), public.removeprefix("ed25519:"), f"{public} ", public + "="):
        with pytest.raises(DefinitionError, match="is no public key"):
            check_public(wrong)
