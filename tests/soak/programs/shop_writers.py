"""``python shop_writers.py FOLDER ROLE``: who loads and materializes, or switches versions, of a served shop.

Each goes on until it is ended, and says what is done, a line a time. One that was killed is followed by another, which
begins with what the last one may have left half done.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

from served_shop import SHAPES, START, definitions, load_of, now, table

from featurestore import FeatureStore
from featurestore.errors import OnlineStoreError, RegistryError
from featurestore.logs import configure_logging


def say(*words: object) -> None:
    """Say that something is done."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def materialize(store: FeatureStore, chance: random.Random) -> str:
    """Materialize in one of the ways."""
    way = chance.choice(["new", "new", "new", "full", "range"])
    try:
        if way == "range":
            store.materialize("clicks", start=START + timedelta(microseconds=now() - 300_000_000))
        else:
            store.materialize("clicks", full=way == "full")
    except OnlineStoreError as error:
        # Who switches versions materializes too, and of two runs at once one ends (docs/design.md).
        if "Another process has gone on" not in error.message:
            raise
        return "other"
    return way


def load(folder: Path) -> None:
    """Load and materialize, and compact the table and the online store's file now and then."""
    planned = folder / "planned"
    chance = random.Random()
    with FeatureStore(folder) as store:
        while True:
            # Written down first: one that was killed is done again, under the same id.
            if not planned.exists():
                planned.write_text(str(now()))
            number = int(planned.read_text() or now())
            store.ingest("clicks", table(load_of(number), [*SHAPES[1], "extra"]), load_id=f"load-{number}")
            planned.unlink()
            say("load", number)
            say("materialized", materialize(store, chance))
            if chance.random() < 0.1:
                store.compact("clicks")
                say("compacted")
            if chance.random() < 0.1:
                store.online.forget()
                say("file")


def switch(folder: Path) -> None:
    """Make a version current; give it some requests, then all, then none, then all."""
    with FeatureStore(folder) as store:
        while True:
            newest = store.registry.service("scoring")
            if store.registry.resolve_service("scoring").id == newest.id:  # else the last one was killed before
                store.apply(definitions(newest.version + 1), allow_breaking=True)
                newest = store.registry.service("scoring")
                say("switch", "apply", newest.id)
            steps: list[tuple[str, Callable[[], object]]] = [
                ("canary", partial(store.promote, newest.id, alias="canary", share=0.3, catch_up=True)),
                ("promote", partial(store.promote, newest.id, catch_up=True)),
                ("rollback", partial(store.rollback, "scoring", catch_up=True)),
                ("promote", partial(store.promote, newest.id, catch_up=True)),
            ]
            for name, step in steps:
                patiently(step)
                say("switch", name, newest.id)
                time.sleep(0.3)


def patiently(step: Callable[[], object]) -> None:
    """Do a step that has to wait while a load is in one table and not yet in the next."""
    said = ""
    for _ in range(50):
        try:
            step()
        except (RegistryError, OnlineStoreError) as error:
            said = error.message
            if not any(words in said for words in ("cannot catch up", "Another process has gone on")):
                raise
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"a version cannot catch up: {said}")


if __name__ == "__main__":
    configure_logging()
    {"load": load, "switch": switch}[sys.argv[2]](Path(sys.argv[1]))
