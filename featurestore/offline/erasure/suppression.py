"""Whom a load may not bring back: erased keys, known again by a keyed hash.

The registry holds HMAC-SHA256 of each erased key under a secret that it does not hold. Without the secret nobody can
tell whose keys they are, not even by trying all that there may be. With another secret nobody would be known again, so
each entry says by which secret it was made, and a load that cannot check an entry does not run.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.config import OWN_ERASURE_KEY, Config
from featurestore.definitions import Entity, FeatureView
from featurestore.errors import ConfigError
from featurestore.offline.erasure.erased_keys import ErasedKeys, plain_texts
from featurestore.registry import Registry
from featurestore.registry.signing import write_private

#: A short secret could be guessed, and with it every key.
_LEAST_SECRET = 16
_DIGEST_BYTES = 20


class Secret:
    """The secret by which erased keys are known again. It is never shown.

    Args:
        text: the secret.

    Raises:
        ConfigError: it is too short.
    """

    def __init__(self, text: str) -> None:
        if len(text) < _LEAST_SECRET:
            raise ConfigError(
                'Setting "erasure.secret": it is too short to keep anything secret.',
                hint=f"Use at least {_LEAST_SECRET} letters that nobody can guess: openssl rand -hex 32",
            )
        self._key = text.encode()
        self._fingerprint = hmac.digest(self._key, b"fingerprint", "sha256")[:6].hex()

    def __repr__(self) -> str:
        return "Secret()"

    def digest(self, whose: str, key: tuple[str, ...]) -> str:
        """Return the keyed hash of a key, of 160 bits, and by which secret it was made.

        Args:
            whose: see :func:`members`; one key of two entities has two digests.
            key: its plain texts.
        """
        return f"{self.hash(whose, key).hex()}-{self._fingerprint}"

    def hash(self, whose: str, key: tuple[str, ...]) -> bytes:
        """Return the keyed hash alone, as bytes. Of each part the length counts too, so that no two keys are one."""
        content = "".join([f"{len(part)}:{part}" for part in (whose, *key)])
        # By its name: only so is it computed without a step in Python.
        return hmac.digest(self._key, content.encode(), "sha256")[:_DIGEST_BYTES]

    def made(self, digest: str) -> bool:
        """Return whether it made a digest."""
        return digest.endswith(f"-{self._fingerprint}")


def suppression_secret(config: Config) -> Secret:
    """Return this store's secret, making one at first need.

    Raises:
        ConfigError: it cannot be read, or cannot be made.
    """
    text = config.erasure_secret()
    if text is None:
        write_private(config.path(OWN_ERASURE_KEY), secrets.token_hex(32))
        text = config.erasure_secret()
    assert text is not None  # noqa: S101 - written above, by us or by another process
    return Secret(text)


def members(entity: Entity) -> str:
    """Return under which name the suppressed keys of an entity are entered: ``user(user_id)``."""
    return f"{entity.name}({', '.join(entity.keys)})"


class Suppressed:
    """The suppressed keys of a view's entities. It is called with a batch, and says which rows are to be dropped.

    Args:
        entities: those of the view that have suppressed keys, each with the digests.
        secret: that made them.
    """

    def __init__(self, entities: Iterable[tuple[Entity, frozenset[str]]], secret: Secret) -> None:
        self._entities = tuple(entities)
        self._secret = secret

    @property
    def digests(self) -> frozenset[str]:
        """The digests of all keys."""
        return frozenset().union(*(digests for _, digests in self._entities))

    @property
    def columns(self) -> list[str]:
        """The join keys that it looks at."""
        return list(dict.fromkeys(name for entity, _ in self._entities for name in entity.keys))

    def __call__(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        """Return which rows have a suppressed key; no null is among the answers."""
        found = pa.repeat(pa.scalar(False), batch.num_rows)
        for entity, digests in self._entities:
            columns = pa.table({name: batch.column(name) for name in entity.keys})
            # Each key is hashed once, however many rows it has.
            distinct = columns.group_by(columns.column_names, use_threads=False).aggregate([]).drop_null()
            known = {bytes.fromhex(one[: 2 * _DIGEST_BYTES]) for one in digests}
            whose = members(entity)
            texts = [plain_texts(column) for column in distinct.columns]
            theirs = frozenset(key for key in zip(*texts, strict=True) if self._secret.hash(whose, key) in known)
            if theirs:
                keys = ErasedKeys(entity=entity.name, names=tuple(entity.keys), rows=theirs)
                found = pc.or_(found, keys.mask([batch.column(name) for name in entity.keys]))
        return found


def suppressed(view: FeatureView, registry: Registry, config: Config) -> Suppressed | None:
    """Return which rows of a view must not be loaded or served; None if there are none.

    Raises:
        ConfigError: some of its keys are suppressed by another secret than this store's.
    """
    entities = {members(one): one for one in view.entities}
    entered = registry.suppressions(entities)
    if not entered:
        return None
    text = config.erasure_secret()
    secret = None if text is None else Secret(text)
    if secret is None or not all(secret.made(one) for digests in entered.values() for one in digests):
        raise ConfigError(
            f'Keys of feature view "{view.name}" were erased, and the secret by which they are known again is '
            f"{'gone' if secret is None else 'another one'}: their rows would come back.",
            hint='Bring back data/keys/erasure.key, or the "secret" of [erasure], of the store that erased them.',
        )
    return Suppressed([(entities[name], digests) for name, digests in entered.items()], secret)
