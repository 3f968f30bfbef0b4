"""Ed25519 keys: those that sign heads of the audit log, and those by which people prove who they are.

A private key is PKCS #8 in PEM, as ``openssl genpkey -algorithm ed25519`` writes it. A public key is one short text,
``ed25519:`` and base64, which serves as its own identifier; its fingerprint is for people to compare.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import uuid
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from featurestore.config import OWN_SIGNING_KEY, Config
from featurestore.errors import ConfigError, DefinitionError

_PREFIX = "ed25519:"
_MAKE_ONE = "Make a key: openssl genpkey -algorithm ed25519 -out FILE"


class PrivateKey:
    """A key that signs. It is never shown: its representation is its public half.

    Args:
        pem: the key's file, as text.
        what: where it is from, for messages: ``Setting "audit.signing_key"``.

    Raises:
        ConfigError: the text is no Ed25519 key, or a password guards it.
    """

    def __init__(self, pem: str, what: str) -> None:
        try:
            key = load_pem_private_key(pem.encode(), password=None)
        except TypeError:
            raise ConfigError(f"{what}: the key is guarded by a password.", hint="Use a key without one.") from None
        except (ValueError, UnsupportedAlgorithm):
            # Nothing of the text may come out: it may be a key that has only lost a line.
            raise ConfigError(f"{what}: that is no private key in PEM.", hint=_MAKE_ONE) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigError(f"{what}: the key is not of the kind Ed25519.", hint=_MAKE_ONE)
        self._key = key
        self.public = _PREFIX + base64.b64encode(key.public_key().public_bytes_raw()).decode()

    def __repr__(self) -> str:
        return f"PrivateKey({self.public})"

    def sign(self, content: bytes) -> str:
        """Return the signature of some bytes, in base64."""
        return base64.b64encode(self._key.sign(content)).decode()


def generate() -> str:
    """Return a new private key, as the text of its file."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def signed_by(public: str, content: bytes, signature: str) -> bool:
    """Return whether the holder of a public key made a signature; a key or signature that is none made nothing."""
    try:
        key = Ed25519PublicKey.from_public_bytes(_raw(public))
        key.verify(base64.b64decode(signature, validate=True), content)
    except (InvalidSignature, ValueError):  # binascii's errors are ValueErrors
        return False
    return True


def check_public(public: str) -> str:
    """Return a public key, if it is one.

    Raises:
        DefinitionError: it is not.
    """
    try:
        Ed25519PublicKey.from_public_bytes(_raw(public))
    except ValueError:
        raise DefinitionError(
            f'"{public}" is no public key.',
            hint=f'It looks like "{_PREFIX}" and 44 letters; featurestore identity create prints one.',
        ) from None
    return public


def _raw(public: str) -> bytes:
    if not public.startswith(_PREFIX):
        raise ValueError(public)
    raw = base64.b64decode(public.removeprefix(_PREFIX), validate=True)
    if _PREFIX + base64.b64encode(raw).decode() != public:
        raise binascii.Error  # base64 has several spellings of the same bytes; an identifier has one
    return raw


def fingerprint(public: str) -> str:
    """Return a digest of a public key for people to compare: ``SHA256:`` and base64, as SSH shows its own."""
    digest = hashlib.sha256(_raw(check_public(public))).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def write_private(file: Path, pem: str) -> bool:
    """Write a private key that only its owner can read; return False, and change nothing, if the file exists.

    Raises:
        ConfigError: the folder refuses.
    """
    part = file.with_name(f".{file.name}-{uuid.uuid4().hex}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as out:
                out.write(pem)
                out.flush()
                os.fsync(out.fileno())
            # Of two processes that make the key at once, both must end with the same; neither sees half of one.
            os.link(part, file)
        except FileExistsError:
            return False
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(
            f"The key {file} cannot be written: {error.strerror}.", hint="Check who may write to that folder."
        ) from None
    return True


def signing_key(config: Config) -> PrivateKey:
    """Return the key that signs this store's heads, making one at first need.

    Raises:
        ConfigError: the key cannot be read, is none, or cannot be made.
    """
    found = existing_signing_key(config)
    if found is None:
        write_private(config.path(OWN_SIGNING_KEY), generate())
        found = existing_signing_key(config)
    assert found is not None  # noqa: S101 - written above, by us or by another process
    return found


def existing_signing_key(config: Config) -> PrivateKey | None:
    """Return the key that signs this store's heads; None if nothing has needed one yet.

    Raises:
        ConfigError: the key cannot be read, or is none.
    """
    pem = config.signing_key()
    return None if pem is None else PrivateKey(pem, "The key that signs heads")
