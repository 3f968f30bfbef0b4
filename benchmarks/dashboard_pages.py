"""Open pages for ``benchmarks dashboard``: each does what the script of a page does in a browser.

It shows a page, listens to the stream of events, and fetches the page again when something has changed; what changes
while it fetches is one more fetch, and no more.

``python -m benchmarks.dashboard_pages open URL N VIEW/FEATURE ...`` keeps N pages open until its input ends, and prints
what they have heard and fetched; ``listen`` in place of ``open`` fetches nothing again. ``... serve FOLDER SECONDS``
serves a dashboard that looks for news so often.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import sys
import threading
from itertools import cycle
from pathlib import Path

import httpcore
import structlog

from featurestore import FeatureStore
from monitor.dashboard import marker, news
from monitor.dashboard.command import step_back
from monitor.dashboard.server import DashboardServer

#: Of five open pages two show the overview, two a feature each, and one the incidents.
_MIX = 5


class _Opened:
    """Pages that are open.

    Args:
        renews: whether they are fetched again when something has changed.
    """

    def __init__(self, *, renews: bool) -> None:
        self._renews = renews
        self.shown = self.heard = self.fetched = self.failed = 0

    async def show(self, pool: httpcore.AsyncConnectionPool, url: str, path: str) -> None:
        """Show a page and keep it up to date."""
        marker_ = await self._fetch(pool, url + path)
        self.shown += 1
        news_ = asyncio.Event()
        fetching = asyncio.create_task(self._renew(pool, url + path, news_))
        try:
            async with pool.stream("GET", f"{url}/events?since={marker_}", extensions=_PATIENT) as stream:
                async for part in stream.aiter_stream():
                    told = part.count(b"event: changed")
                    self.heard += told
                    if told and self._renews:
                        news_.set()
        finally:
            fetching.cancel()

    async def _renew(self, pool: httpcore.AsyncConnectionPool, url: str, news_: asyncio.Event) -> None:
        while await news_.wait():
            news_.clear()
            await self._fetch(pool, url)

    async def _fetch(self, pool: httpcore.AsyncConnectionPool, url: str) -> str:
        answer = await pool.request("GET", url, extensions=_PATIENT)
        self.fetched += 1
        self.failed += answer.status != 200
        found = re.search(rb'data-marker="(\w*)"', answer.content)
        return found[1].decode() if found else ""


_PATIENT = {"timeout": {"connect": 60.0, "read": 60.0, "write": 60.0, "pool": 60.0}}


async def _open(url: str, count: int, features: list[str], *, renews: bool) -> None:
    opened, of_features = _Opened(renews=renews), cycle(features)
    paths = [
        "/incidents?all=1" if number % _MIX == 0 else "/overview" if number % 2 else f"/features/{next(of_features)}"
        for number in range(count)
    ]
    async with httpcore.AsyncConnectionPool(max_connections=3 * count) as pool:
        tasks = [asyncio.create_task(opened.show(pool, url, path)) for path in paths]
        while opened.shown < count:
            await asyncio.sleep(0.05)
            for one in tasks:
                if one.done():
                    one.result()
        print("open", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    print(json.dumps({"heard": opened.heard, "fetched": opened.fetched, "failed": opened.failed}), flush=True)


def _serve(folder: Path, seconds: float) -> None:
    # What is printed first is its address.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    step_back()
    marker.FRESH_SECONDS = news.LOOK_SECONDS = seconds
    news.GAP_SECONDS = min(news.GAP_SECONDS, seconds) if seconds < 0.5 else news.GAP_SECONDS
    with FeatureStore(folder) as store:
        server = DashboardServer(store)
        try:
            print(f"dashboard at {server.url}, ", flush=True)
            threading.Event().wait()
        finally:
            server.close()


def main() -> None:
    """Do what the command line says."""
    what, *rest = sys.argv[1:]
    if what == "serve":
        _serve(Path(rest[0]), float(rest[1]))
    else:
        url, count, *features = rest
        # Those who look do so from machines of their own.
        os.nice(19)
        asyncio.run(_open(url.rstrip("/"), int(count), features, renews=what == "open"))


if __name__ == "__main__":
    main()
