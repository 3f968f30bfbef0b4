"""What do 50 open pages cost, over 1,000 features and 90 days of hourly windows; and what do they cost others?

Pages are timed from the call to the last byte, over loopback. Read anew: after a change that nobody else asks for, so
that nothing is remembered. With news: at any moment, while something changes every second and all open pages fetch
theirs again. The floors: 200 ms for the overview and 300 ms for a feature; the memory after a tenth of 3,600 changes;
and the gRPC server, the monitor's poll and its writes without anybody who looks.
"""

from __future__ import annotations

import json
import logging
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import httpcore
import numpy as np
import psutil
import structlog

from benchmarks.dashboard_store import Size, Watched
from benchmarks.harness import Row
from benchmarks.serving import _asked, _case, _view
from benchmarks.serving_load import Server, ours, started

#: What an overview and the page of a feature may take, in milliseconds.
OVERVIEW, FEATURE = 200.0, 300.0
#: A marker is half a second old at most; after so long a change is seen.
_SEEN = 0.6


@dataclass(frozen=True)
class _Scale:
    size: Size
    pages: int
    asked: int
    changes: int
    seconds: float
    lookups: int
    pairs: int
    goals: bool


_QUICK = _Scale(Size(views=2, judged=2, copies=2), 5, 3, 30, 3.0, 500, 1, goals=False)
_WHOLE = _Scale(Size(views=20, judged=6, copies=359), 50, 30, 3_600, 60.0, 10_000, 3, goals=True)


def run(*, quick: bool) -> list[Row]:
    """Time pages, let an hour of changes go by, and see what others lose."""
    scale = _QUICK if quick else _WHOLE
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory() as name:
        watched = Watched(Path(name) / "watched", scale.size)
        rows = _times(watched, scale)
        rows += _beside(watched, scale, Path(name) / "served")
        rows += _memory(watched, scale)
    return rows


@contextmanager
def _dashboard(watched: Watched, *, looks: float = 0.5) -> Iterator[Server]:
    """Serve the dashboard in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.dashboard_pages", "serve", str(watched.folder), str(looks)]
    with started(command) as server:
        yield server


@contextmanager
def _pages(
    watched: Watched, server: Server, count: int, told: dict[str, int] | None = None, *, renew: bool = True
) -> Iterator[None]:
    """Keep pages open, in a process of their own; those that are not to be renewed only listen."""
    features = ["/".join(one) for one in watched.features[:: max(1, len(watched.features) // count)]]
    what = "open" if renew else "listen"
    command = [sys.executable, "-m", "benchmarks.dashboard_pages", what, server.address, str(count), *features]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        if process.stdout.readline().strip() != "open":
            raise RuntimeError("the pages did not open")
        yield
    finally:
        said, _ = process.communicate(timeout=60)
        found = json.loads(said)
        if told is not None:
            told.update(found)
        print(f"  {count} open pages heard {found['heard']:,} changes and fetched {found['fetched']:,} pages")
        if found["failed"]:
            raise RuntimeError(f"{found['failed']} of them were errors")


@contextmanager
def _changes(watched: Watched, every: float, count: int = 1 << 30) -> Iterator[threading.Thread]:
    """Let something change so often, in seconds, while the block runs."""
    stop = threading.Event()

    def change() -> None:
        with watched.opened() as (_, history):
            due = time.monotonic()
            for _ in range(count):
                watched.change(history)
                due += every
                if stop.wait(max(0.0, due - time.monotonic())):
                    break

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join()


def _times(watched: Watched, scale: _Scale) -> list[Row]:
    """Return what pages take: read anew, and while the others are."""
    features = [f"/features/{view}/{feature}" for view, feature in watched.features[7::13]]
    with _dashboard(watched) as server:
        with _pages(watched, server, scale.pages, renew=False), watched.opened() as (_, history):

            def change() -> None:
                watched.change(history)
                time.sleep(_SEEN)

            anew = _taken(server, features, scale.asked, before=change)
        with _pages(watched, server, scale.pages), _changes(watched, 1.0):
            # Not in step with the changes.
            live = _taken(server, features[::-1], 3 * scale.asked, before=lambda: time.sleep(0.13))
    what = f"{scale.size.features:,} features, {scale.size.windows:,} windows, {scale.pages} pages"
    rows = []
    for said, taken in ((f"read anew, {what}", anew), ("with news", live)):
        for page, limit in (("overview", OVERVIEW), ("feature", FEATURE), ("bars of a feature", FEATURE)):
            for name, share in (("median", 0.5), ("p99", 0.99)):
                figure = float(np.quantile(taken[page], share))
                goal = 1.0 if scale.goals and not page.startswith("bars") else None
                work = f"{page}, {said}, {name}; {limit:g} ms"
                rows.append(Row(work=work, ours=figure, floor=limit, unit="ms", goal=goal))
    return rows


def _taken(server: Server, features: list[str], count: int, *, before: Callable[[], None]) -> dict[str, list[float]]:
    """Return the milliseconds of so many calls for each page, the features' of another one each."""
    taken: dict[str, list[float]] = {"overview": [], "feature": [], "bars of a feature": []}
    with httpcore.ConnectionPool() as pool:
        for number in range(count + 1):
            feature = features[number % len(features)]
            paths = ("/overview", feature, f"{feature}/watch/ranker@1/histogram.svg")
            for page, path in zip(taken, paths, strict=True):
                before()
                began = time.perf_counter()
                answer = pool.request("GET", server.address.rstrip("/") + path)
                if number:  # the first of each warms up
                    taken[page].append((time.perf_counter() - began) * 1e3)
                if answer.status != 200:
                    raise RuntimeError(f"{path}: {answer.status}")
    return taken


def _beside(watched: Watched, scale: _Scale, folder: Path) -> list[Row]:
    """Return what others lose by open pages; the news, one a second, comes without them too."""
    case = _case(folder, [_view("whole", 50)], rows=1)
    with ours(case.folder) as server, _dashboard(watched) as dashboard:

        def rate() -> float:
            return _asked(server, case, scale.lookups).rate

        def poll() -> float:
            watched.serve_hour()
            began = time.perf_counter()
            if watched.poll() != 1:
                raise RuntimeError("one window was to be judged")
            return time.perf_counter() - began

        def write() -> float:
            taken = []
            with watched.opened() as (_, history):
                for _ in range(20):
                    began = time.perf_counter()
                    watched.change(history)
                    taken.append((time.perf_counter() - began) * 1e3)
            return statistics.median(taken)

        @contextmanager
        def looked_at() -> Iterator[None]:
            with _pages(watched, dashboard, scale.pages), _changes(watched, 1.0):
                yield

        @contextmanager
        def nobody_looks() -> Iterator[None]:
            with _changes(watched, 1.0):
                yield

        @contextmanager
        def reading() -> Iterator[None]:
            # As a page does, that reads for as long as this takes.
            with watched.opened() as (_, history), history.read() as connection:
                connection.exec_driver_sql("SELECT count(*) FROM windows").all()
                yield

        measures = [poll, write]
        if shutil.which("h2load") is None:
            print("dashboard: h2load is not installed (apt-get install nghttp2-client); no lookups were measured")
        else:
            measures.append(rate)
        beside, alone = _in_turn(measures, looked_at, nobody_looks, scale.pairs)
        held, free = _in_turn([write], reading, nullcontext, scale.pairs)
    what = f"{scale.pages} pages; without, news every second"
    rows = [
        Row(work=f"the monitor's poll beside {what}", ours=beside[0], floor=alone[0], unit="s"),
        Row(work=f"a write beside {what}", ours=beside[1], floor=alone[1], unit="ms"),
        Row(work="a write while somebody reads; while nobody does", ours=held[0], floor=free[0], unit="ms"),
    ]
    for ours_, floor in zip(beside[2:], alone[2:], strict=True):
        work = f"lookups beside {what}"
        rows.append(Row(work=work, ours=ours_, floor=floor, unit="requests/s", more_is_better=True))
    return rows


def _in_turn(
    measures: Sequence[Callable[[], float]],
    beside: Callable[[], AbstractContextManager[None]],
    without: Callable[[], AbstractContextManager[None]],
    pairs: int,
) -> tuple[list[float], list[float]]:
    """Return the medians of some figures beside something and without it, in turn, after one round that warms up."""
    found: tuple[list[list[float]], list[list[float]]] = ([], [])
    for number in range(pairs + 1):
        for place, around in enumerate((beside, without)):
            with around():
                figures = [one() for one in measures]
            if number:
                found[place].append(figures)
    beside_, alone = ([statistics.median(one) for one in zip(*each, strict=True)] for each in found)
    return beside_, alone


def _memory(watched: Watched, scale: _Scale) -> list[Row]:
    """Return the dashboard's memory after an hour's worth of changes, which open pages follow, and after a tenth."""
    told: dict[str, int] = {}
    with _dashboard(watched, looks=0.02) as server:

        def taken() -> float:
            return float(psutil.Process(server.process.pid).memory_info().rss) / 1e6

        with (
            _pages(watched, server, scale.pages, told),
            _changes(watched, scale.seconds / scale.changes, scale.changes) as changing,
        ):
            time.sleep(scale.seconds / 10)
            first, most = taken(), 0.0
            while changing.is_alive():
                most = max(most, taken())
                time.sleep(0.2)
            last = taken()
    work = f"memory after {scale.changes:,} changes, {told['heard'] // scale.pages:,} told to each page; after a tenth"
    return [
        Row(work=work, ours=last, floor=first, unit="MB", goal=1.1 if scale.goals else None),
        Row(work="its peak meanwhile; after a tenth", ours=most, floor=first, unit="MB"),
    ]
