"""Signed heads of the audit log: what a chain alone cannot show.

Whoever can write the database can cut the log's tail off, or rebuild all of it with hashes that fit. A head says which
hash the log's newest entry had at an instant, and is signed by a key that the database does not hold. So a log that has
another hash at that place now was changed since. Heads are kept where the database's writer may not reach them all: in
the manifest of every training dataset, beside the server's log, and wherever somebody exports one to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from featurestore import formats
from featurestore.errors import RegistryError, TimestampError
from featurestore.registry.signing import PrivateKey, signed_by
from featurestore.types import utc

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Head:
    """The newest entry of a project's audit log at an instant, signed.

    Attributes:
        project: the namespace.
        sequence: the entry's number; 0 for a log that was empty.
        hash: the entry's hash.
        at: when it was signed.
        key: the public key of the signer.
        signature: over all of that, in base64.
    """

    project: str
    sequence: int
    hash: str
    at: datetime
    key: str
    signature: str

    @property
    def is_authentic(self) -> bool:
        """Whether the holder of ``key`` signed just this."""
        return signed_by(self.key, _content(self.project, self.sequence, self.hash, self.at, self.key), self.signature)

    def to_json(self) -> dict[str, Any]:
        """Return the head as JSON values."""
        return {
            "format": _FORMAT,
            "project": self.project,
            "sequence": self.sequence,
            "hash": self.hash,
            "at": self.at.isoformat(),
            "key": self.key,
            "signature": self.signature,
        }

    @classmethod
    def from_json(cls, stored: Any, where: str) -> Head:
        """Return the head that JSON values hold; whether its signature is right is another question.

        Args:
            stored: what :meth:`to_json` returned.
            where: the place it was found in, for the message.

        Raises:
            RegistryError: that is no head, or one of a newer release.
        """
        try:
            if stored["format"] > _FORMAT:
                raise formats.newer(f"The head in {where}", stored["format"], _FORMAT, error=RegistryError)
            texts = {name: _text(stored[name]) for name in ("project", "hash", "key", "signature")}
            return cls(**texts, sequence=int(stored["sequence"]), at=utc(stored["at"], "at"))
        except (TypeError, KeyError, ValueError, OverflowError, TimestampError):
            raise RegistryError(
                f"{where} holds no head of an audit log.", hint="featurestore audit head --out FILE writes one."
            ) from None


@dataclass(frozen=True)
class FoundHead:
    """A head, and the place it was found in: ``a.json``, ``dataset delays@1``."""

    head: Head
    where: str


def sign(project: str, sequence: int, hash: str, key: PrivateKey) -> Head:  # noqa: A002 - the entry's own word
    """Return a signed head, of now."""
    at = datetime.now(UTC)
    signature = key.sign(_content(project, sequence, hash, at, key.public))
    return Head(project=project, sequence=sequence, hash=hash, at=at, key=key.public, signature=signature)


def _content(project: str, sequence: int, hash: str, at: datetime, key: str) -> bytes:  # noqa: A002
    # The first word keeps a signature made for anything else from passing for a head's.
    content: Mapping[str, Any] = {
        "featurestore": f"audit head {_FORMAT}",
        "project": project,
        "sequence": sequence,
        "hash": hash,
        "at": at.isoformat(),
        "key": key,
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value
