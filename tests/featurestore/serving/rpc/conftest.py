"""A server on loopback, in a thread of its own, as a test wants it."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from featurestore.registry import Token
from featurestore.serving.log import ServingLog
from featurestore.serving.lookup import Lookups
from featurestore.serving.rpc.server import FeatureServer


class Watching:
    """Counts answers, and keeps what it is told of calls that were refused."""

    def __init__(self) -> None:
        self.answers = 0
        self.codes: list[tuple[str, str]] = []

    def answered(self, method: str, entry: Any, seconds: float, context: Any) -> None:  # noqa: ARG002
        self.answers += 1

    def refused(self, method: str, code: str, seconds: float, context: Any) -> None:  # noqa: ARG002
        self.codes.append((method, code))


class Served:
    """A running server.

    Attributes:
        server: it.
        address: where it listens.
        watcher: what it is told.
    """

    def __init__(self, lookups: Lookups, log: ServingLog, credentials: Any, about: dict[str, Any]) -> None:
        self.watcher = Watching()
        self._log = log
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

        async def start() -> tuple[FeatureServer, int]:
            server = FeatureServer(lookups, log, watcher=self.watcher, **about)
            return server, await server.start("127.0.0.1:0", credentials)

        self.server, port = self.run(start())
        self.address = f"127.0.0.1:{port}"

    def run(self, work: Any) -> Any:
        """Run a coroutine in the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def block(self, seconds: float) -> None:
        """Keep the server's loop from doing anything, from now on for so long."""
        began = threading.Event()

        def hold() -> None:
            began.set()
            time.sleep(seconds)

        self._loop.call_soon_threadsafe(hold)
        assert began.wait(10)

    def settle(self) -> int:
        """Wait until no call is under way; return how many are after ten seconds."""
        deadline = time.monotonic() + 10
        while self.server.gate.under_way and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.server.gate.under_way

    def stop(self) -> None:
        self.run(self.server.stop(1))
        self._log.close(0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def serving(lookups: Lookups, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Start servers of the services of ``lookups``; arguments are FeatureServer's, and ``credentials``."""
    running: list[Served] = []

    def begin(*, credentials: Any = None, **about: Any) -> Served:
        log = ServingLog(tmp_path / f"log-{len(running)}", now=lookups.now(), replay=True)
        running.append(Served(lookups, log, credentials, about))
        return running[-1]

    yield begin
    for one in running:
        one.stop()


@pytest.fixture
def token() -> Callable[..., tuple[Token, tuple[tuple[str, str]]]]:
    """Make a token as the registry hands it out, and the metadata that shows it."""

    def make(name: str, *scopes: str, **about: Any) -> tuple[Token, tuple[tuple[str, str]]]:
        text = f"fs_{hashlib.sha256(name.encode()).hexdigest()[:12]}_{'x' * 43}"
        made = Token(
            **{
                "name": name,
                "id": text.split("_")[1],
                "digest": hashlib.sha256(text.encode()).hexdigest(),
                "scopes": scopes,
                "services": (),
                "views": (),
                "created_at": datetime.now(UTC),
                "created_by": "ada",
                "expires_at": None,
                "revoked_at": None,
                **about,
            }
        )
        return made, (("authorization", f"Bearer {text}"),)

    return make
