"""``python killed_applies.py URL TIMES``: processes that apply are killed at random points.

After each, the registry must be as it was before or as it would be after: it ends with an error if it is not; else it
prints how often it was which, as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from datetime import timedelta

from featurestore import types
from featurestore.definitions import Definition, Entity, FeatureView, Field
from featurestore.registry import open_registry

VIEWS = 40


def definitions(turn: int) -> list[Definition]:
    """Return views that all have the turn's TTL."""
    airport = Entity(name="airport")
    schema = [Field(name="temp", dtype=types.Float64)]
    ttl = timedelta(seconds=1 + turn)
    return [FeatureView(name=f"view{n}", entities=[airport], schema=schema, ttl=ttl) for n in range(VIEWS)]


def apply(url: str, turn: int) -> None:
    """Open the registry and apply the turn's definitions."""
    with open_registry(url, "soak") as registry:
        registry.apply(definitions(turn), who="ada")


def main(url: str, times: int) -> None:
    """Kill, look, and count."""
    apply(url, 0)
    started = time.monotonic()
    apply(url, 1)
    takes = time.monotonic() - started
    chance = random.Random(7)
    version = 2
    outcomes = {"before": 0, "after": 0}
    for turn in range(2, 2 + times):
        child = os.fork()
        if not child:
            apply(url, turn)
            os._exit(0)
        time.sleep(chance.uniform(0, 2.5 * takes))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with open_registry(url, "soak") as registry:
            with registry._write():  # what the dead process sent to a server may still be carried out: queue behind it
                pass
            found = {(one.version, one.definition.ttl) for one in registry.list("feature_view")}
            assert len(found) == 1, f"turn {turn}: {found}"
            ((now, ttl),) = found
            assert now in (version, version + 1), f"turn {turn}: version {now} after {version}"
            assert now == version or ttl == timedelta(seconds=1 + turn), f"turn {turn}: version {now} has TTL {ttl}"
            assert [one.version for one in registry.versions("view0")] == list(range(1, now + 1))
            assert len(registry.audit(action="apply")) == 1 + VIEWS * now
            assert registry.revision() == now
            assert registry.verify_audit() == []
        outcomes["after" if now > version else "before"] += 1
        version = now
    sys.stdout.write(json.dumps(outcomes) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
