"""The names of keys, and which of them stand together in one slot of a cluster.

A server, or a master with replicas, has one bucket. A cluster has 1,024, each in a slot of its own, evenly over all
slots: a key of an entity belongs to one of them by its bytes, whatever the view, so the rows that an entity has in
several views are in one slot. Every bucket has a copy of the state record beside its rows, and scripts that write look
at it: so what is true of one server is true of each bucket.

===============================  ====================================================================================
``PREFIX:s``                     the state record (:mod:`featurestore.online.redis.state`)
``PREFIX:n``                     the number of the snapshot, and by number of a table that of its last write
``PREFIX:l7``                    who alone may write table 7 now
``PREFIX:7.3:KEY``               a row of table 7 in its third generation
``PREFIX:p7``                    the progress of table 7: in the first bucket alone, as are the next three
``PREFIX:e7``                    up to when its rows were removed as expired, and how many
``PREFIX:k7``                    how long all its rows were told to stay
``PREFIX:g7``                    the highest generation that somebody has begun
===============================  ====================================================================================

In a cluster ``PREFIX{TAG}`` takes the place of ``PREFIX``.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterable
from functools import cache

SLOTS = 16_384
BUCKETS = 1_024
_EACH = SLOTS // BUCKETS


def slot_of(tag: bytes) -> int:
    """Return the slot of keys with a hash tag: CRC16 in the variant of XMODEM, as Redis Cluster's specification has it.

    >>> slot_of(b"123456789") == 0x31C3 % 16384
    True
    """
    return crc_hqx(tag, 0) % SLOTS


@cache
def tags() -> tuple[bytes, ...]:
    """Return for each bucket the shortest number, as text, that is a hash tag of its slot: 16 times its own number."""
    found: dict[int, bytes] = {}
    number = 0
    while len(found) < BUCKETS:
        tag = b"%d" % number
        slot = slot_of(tag)
        if slot % _EACH == 0:
            found.setdefault(slot // _EACH, tag)
        number += 1
    return tuple(found[bucket] for bucket in range(BUCKETS))


class Layout:
    """Where things are.

    Args:
        prefix: what all names begin with.
        cluster: whether it is a cluster.

    Attributes:
        heads: by bucket, what the names of its keys begin with.
        slots: by bucket, its slot; zeros where there are none.
        pattern: of all names of a store, for SCAN; ``%b`` stands for what comes behind the head.
    """

    def __init__(self, prefix: str, *, cluster: bool) -> None:
        name = prefix.encode()
        self.heads = tuple(b"%b{%b}:" % (name, tag) for tag in tags()) if cluster else (b"%b:" % name,)
        self.slots = tuple(slot_of(tag) for tag in tags()) if cluster else (0,)
        self.pattern = (b"%b{*}:" % name if cluster else b"%b:" % name) + b"%b"
        self.many = cluster

    def bucket(self, key: bytes) -> int:
        """Return the bucket of an entity's key."""
        return crc_hqx(key, 0) % BUCKETS if self.many else 0

    def by_bucket(self, keys: Iterable[bytes]) -> dict[int, list[int]]:
        """Return the places of keys by bucket."""
        found: dict[int, list[int]] = {}
        for place, key in enumerate(keys):
            found.setdefault(self.bucket(key), []).append(place)
        return found

    def head_of(self, name: bytes) -> bytes:
        """Return the head that a name begins with."""
        return name[: name.index(b":") + 1]
