"""Who alone may write a table: a lease in every bucket, made longer while its holder lives."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from featurestore.errors import FeatureStoreError
from featurestore.online.redis.layout import Layout
from featurestore.online.redis.nodes import Call, Nodes, call
from featurestore.online.redis.patience import LEASE_SECONDS, Patience
from featurestore.online.redis.scripts import HOLD


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
    def held(self, storage_id: str, number: int) -> Iterator[bytes]:
        """Hold a table while the block runs, and give the token that its writes show.

        Args:
            storage_id: what it is called.
            number: its number in the store.

        Raises:
            OnlineStoreError: another one holds it and does not let go, or the store is away.
        """
        token = uuid.uuid4().hex.encode()
        self._take(storage_id, number, token)
        ended = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(number, token, ended), name="online-lease", daemon=True)
        renewing.start()
        try:
            yield token
        finally:
            ended.set()
            renewing.join()
            self._let_go(number, token)

    def _take(self, storage_id: str, number: int, token: bytes) -> None:
        patience = Patience([storage_id], self._patience)
        names = [head + b"l%d" % number for head in self._layout.heads]
        lease = int(LEASE_SECONDS * 1000)
        while True:
            (first,) = self._nodes.run([Call(0, (b"SET", names[0], token, b"NX", b"PX", lease))])
            if first is not None:
                break
            patience.wait()
        others = [Call(bucket, (b"SET", name, token, b"PX", lease)) for bucket, name in enumerate(names) if bucket]
        if others:
            try:
                self._nodes.run(others)
            except BaseException:
                self._let_go(number, token)
                raise

    def _renew(self, number: int, token: bytes, ended: threading.Event) -> None:
        while not ended.wait(LEASE_SECONDS / 3):
            try:
                self._hold(number, token, int(LEASE_SECONDS * 1000))
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
