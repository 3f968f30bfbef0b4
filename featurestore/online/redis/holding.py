"""Who alone may write a table: a lease in every bucket, made longer while its holder lives."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from featurestore.errors import FeatureStoreError, OnlineStoreError
from featurestore.online.redis.layout import Layout
from featurestore.online.redis.nodes import Call, Nodes, call
from featurestore.online.redis.scripts import HOLD

#: A holder that was killed holds up others for so long.
_LEASE_SECONDS = 30.0
_LOOK_SECONDS = 0.02


class Holding:
    """Gives tables to one writer at a time.

    The first bucket decides who it is; the others are told before anything is written. Every script that writes looks
    at its bucket's lease, so a holder that lost it can do no harm.

    Args:
        nodes: the servers.
        layout: names keys.
        patience: seconds that a writer waits for another.
    """

    def __init__(self, nodes: Nodes, layout: Layout, *, patience: float) -> None:
        self._nodes = nodes
        self._layout = layout
        self._patience = patience

    @contextmanager
    def held(self, number: int) -> Iterator[bytes]:
        """Hold the table of a number while the block runs, and give the token that its writes show.

        Raises:
            OnlineStoreError: another one holds it and does not let go, or the store is away.
        """
        token = uuid.uuid4().hex.encode()
        self._take(number, token)
        ended = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(number, token, ended), name="online-lease", daemon=True)
        renewing.start()
        try:
            yield token
        finally:
            ended.set()
            renewing.join()
            self._let_go(number, token)

    def _take(self, number: int, token: bytes) -> None:
        ends = time.monotonic() + self._patience
        names = [head + b"l%d" % number for head in self._layout.heads]
        lease = int(_LEASE_SECONDS * 1000)
        while True:
            (first,) = self._nodes.run([Call(0, (b"SET", names[0], token, b"NX", b"PX", lease))])
            if first is not None:
                break
            if time.monotonic() >= ends:
                raise OnlineStoreError(
                    f"Somebody else has written to a table of the online store for {self._patience:g} s.",
                    hint="Try again when the materialization, or the restore, that goes on has ended.",
                )
            time.sleep(_LOOK_SECONDS)
        others = [Call(bucket, (b"SET", name, token, b"PX", lease)) for bucket, name in enumerate(names) if bucket]
        if others:
            try:
                self._nodes.run(others)
            except BaseException:
                self._let_go(number, token)
                raise

    def _renew(self, number: int, token: bytes, ended: threading.Event) -> None:
        while not ended.wait(_LEASE_SECONDS / 3):
            try:
                self._hold(number, token, int(_LEASE_SECONDS * 1000))
            except FeatureStoreError:
                continue  # it is tried again; the writes say what is wrong

    def _let_go(self, number: int, token: bytes) -> None:
        try:
            self._hold(number, token, 0)
        except FeatureStoreError:
            return  # the lease ends by itself

    def _hold(self, number: int, token: bytes, milliseconds: int) -> None:
        # The first bucket last: whoever gets it finds no other one held by us.
        buckets = range(len(self._layout.heads))
        for some in (buckets[1:], buckets[:1]) if not milliseconds else (buckets,):
            if some:
                self._nodes.run(
                    [
                        call(HOLD, bucket, [self._layout.heads[bucket] + b"l%d" % number], [token, milliseconds])
                        for bucket in some
                    ]
                )
