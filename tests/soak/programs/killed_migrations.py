"""``python -m tests.soak.programs.killed_migrations FOLDER TIMES``: who migrates a store is killed at many points.

It kills itself, at a line of its journal or between two pieces of work; the next run goes on and is killed a little
further. In the end both sides must be the same as those of a migration that nobody killed, no file may have been
copied twice, and the store there must be whole. It ends with an error if something is wrong; else it prints what it
did, as JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from featurestore import FeatureStore
from featurestore import config as configuration
from featurestore.moving import Move
from featurestore.moving.journal import Journal
from tests.forking import Forked
from tests.moved_shop import check_whole, fill, lookups


class Fuse:
    """Kills its process after so many events; without a number it counts them."""

    def __init__(self, events: int) -> None:
        self._left = events
        self.events = 0

    def burn(self, *_: object) -> None:
        self.events += 1
        if self.events == self._left:
            os.kill(os.getpid(), signal.SIGKILL)


def migrate(source: Path, target: Path, events: int) -> tuple[dict[str, Any], int]:
    """Migrate, or be killed at an event; return the report and how many events there were."""
    fuse, say = Fuse(events), Journal._say

    def saying(journal: Journal, what: dict[str, Any]) -> None:
        fuse.burn()
        say(journal, what)
        fuse.burn()

    Journal._say = saying  # type: ignore[method-assign]
    try:
        configs = [configuration.load(one) for one in (source, target)]
        names = (str(source), str(target))
        report = Move(source=configs[0], target=configs[1], names=names, progress=fuse.burn).run()
    finally:
        Journal._say = say  # type: ignore[method-assign]
    return report.to_json(), fuse.events


def child(source: Path, target: Path, events: int) -> int:
    """Migrate in a process of its own; return its exit code."""
    command = [sys.executable, "-m", "tests.soak.programs.killed_migrations", str(source), str(target), str(events)]
    return Forked(command).wait()


def destination(folder: Path) -> Path:
    folder.mkdir()
    (folder / "featurestore.toml").write_text('project = "shop"\n')
    return folder


def digests(report: dict[str, Any]) -> dict[str, str]:
    return {one["part"]: one["there"]["digest"] for one in report["parts"]}


def main(folder: Path, times: int) -> dict[str, int]:
    shop = folder / "shop"
    fill(shop)
    reference, events = migrate(shop, destination(folder / "reference"), 0)
    target, kills = destination(folder / "target"), Counter[str]()
    step = max(1, events // (2 * min(times, 10)))
    while kills["kills"] < times:
        # Each run finds done what the one before did; one that came to its end has another begin anew.
        code = child(shop, target, 1 + sum(kills.values()) * step % events)
        assert code in (0, -signal.SIGKILL), code
        kills["kills" if code == -signal.SIGKILL else "ended before"] += 1
        if code == 0:
            shutil.rmtree(target)
            destination(target)
    report, _ = migrate(shop, target, 0)
    assert report["equal"], report
    assert digests(report) == digests(reference)
    done: Counter[tuple[str, ...]] = Counter()
    for line in next((target / "data" / "migrations").glob("*.jsonl")).read_text().splitlines():
        said = json.loads(line)
        done[tuple(said.get("done", ()))] += 1
    files = {name: count for name, count in done.items() if name}
    assert set(files.values()) == {1}, files
    with FeatureStore(shop) as here, FeatureStore(target) as there:
        assert lookups(here) == lookups(there)
        check_whole(there)
    return {**kills, "files": len(files), "events": events}


if __name__ == "__main__":
    if len(sys.argv) == 4:
        migrate(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    else:
        sys.stdout.write(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))) + "\n")
