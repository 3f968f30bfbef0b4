"""A source breaks at night: one page that names it, the load taken back, and all is well before anybody is up.

Beside the demo of drift, and quicker: planes are looked up by number as flights ask for them, here and now. Then the
register of planes delivers a file without seats and engines. Everything it makes lies below build/night.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from data import prepare
from demo import new_secret
from processes import Processes, free_port, only_one
from receiver import Receiver
from screen import Screen

from featurestore import FeatureStore, FeatureStoreError
from featurestore.client import FeatureClient
from featurestore.definition_files import load_definitions
from monitor.alerts.base import Kind

HERE = Path(__file__).parent
SEED = 2013
ROWS_PER_SECOND = 500
CALLS_PER_SECOND = 10

SETTINGS = """\
project = "night"
definitions = ["definitions.py"]

[monitor]
poll_seconds = 0.5

# A page waits two minutes for what breaks with it. This night is over sooner.
[alerts]
group_wait = "1 second"

# The monitor may take back what the policy names.
[actions]
enabled = true

[channels.pager]
kind = "webhook"
url = "{url}"
secret = "file:webhook.secret"
allow_private_addresses = true
"""

DEFINITIONS = '''\
"""What is known of planes, watched in windows of two seconds, as a night here takes a minute."""

from datetime import timedelta

from featurestore import Entity, FeatureService, FeatureView, Field, FileSource, MonitorPolicy
from featurestore.types import Int64

plane = Entity(name="plane", join_keys=["tailnum"], description="An aircraft by its tail number")

plane_facts = FeatureView(
    name="plane_facts",
    entities=[plane],
    source=FileSource(name="register", path="data/register/*.parquet", timestamp_field="registered_at"),
    schema=[
        Field(name="year", dtype=Int64, ge=1900, le=2100, description="Year of manufacture"),
        Field(name="seats", dtype=Int64, ge=1, le=1000),
        Field(name="engines", dtype=Int64, in_set=(1, 2, 3, 4)),
    ],
)

planes = FeatureService(name="planes", features=[plane_facts])

watch = MonitorPolicy(
    name="planes_watch",
    service=planes,
    window=timedelta(seconds=2),
    average_run_length=2160,
    quality=False,
    skew=False,
    routes=["pager"],
    actions=["restore_load"],
)
'''


def main() -> int:
    """Run the night and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, default=HERE.parent.parent / "build" / "night", help="where it works")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    options = parser.parse_args()
    screen = Screen()
    try:
        with only_one(options.dir), Processes() as processes:
            run(options.dir.absolute(), screen, processes)
    except KeyboardInterrupt:
        screen.fail("Interrupted. Every process of the demo has ended; run it again at any time.")
        return 130
    except FeatureStoreError as error:
        if options.debug:
            raise
        screen.fail(error.sentence, error.hint)
        return 1
    return 0


def run(folder: Path, screen: Screen, processes: Processes) -> None:
    """Do every step."""
    repo = folder / "repo"
    shutil.rmtree(repo, ignore_errors=True)
    repo.mkdir(parents=True)
    with Receiver(new_secret(repo)) as receiver:
        (repo / "featurestore.toml").write_text(SETTINGS.format(url=receiver.url), encoding="utf-8")
        (repo / "definitions.py").write_text(DEFINITIONS, encoding="utf-8")
        with screen.step("A register of planes, and the flights that ask for them") as said:
            planes, asked = register(folder, repo)
            said(f"{len(planes):,} planes, {len(asked):,} flights of three months")
        with FeatureStore(repo) as store:
            with screen.step("Definitions, first load, training set, online store") as said:
                store.apply(load_definitions(store.config))
                said(str(store.ingest("plane_facts", reason="the register")))
                dataset = store.create_training_dataset(
                    "flights", entity_df=asked, features="planes", timestamp_field="time_hour"
                )
                said(f"{dataset.id}: {dataset.manifest['rows']:,} rows")
                said(str(store.materialize("plane_facts")))
            night(store, repo, asked, receiver, screen, processes)


def register(folder: Path, repo: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Write the register's first file; return its planes, and the flights of January to March with one of them."""
    prepare(folder / "data")
    planes = pl.read_parquet(folder / "data" / "planes.parquet").drop_nulls()
    (repo / "data" / "register").mkdir(parents=True)
    planes.write_parquet(repo / "data" / "register" / "day-1.parquet")
    flights = pl.read_parquet(folder / "data" / "flights.parquet").join(planes, on="tailnum", how="semi")
    spring = flights.filter(pl.col("time_hour") < datetime(2013, 4, 1, tzinfo=UTC))
    return planes, spring.select("tailnum", "time_hour").sort("time_hour", maintain_order=True)


def night(
    store: FeatureStore, repo: Path, asked: pl.DataFrame, receiver: Receiver, screen: Screen, processes: Processes
) -> None:
    """Serve, break, and watch what is done about it."""
    port = free_port()
    processes.start("server", repo, "serve", "--port", str(port))
    with FeatureClient(f"127.0.0.1:{port}") as client:
        processes.wait_until(client.is_serving, "server", "serve")
        with traffic(f"127.0.0.1:{port}", asked) as nulls:
            processes.start("monitor", repo, "monitor", "start")
            with screen.step(
                "01:00  planes are looked up, 500 a second; the monitor judges windows of two seconds"
            ) as said:
                wait(processes, lambda: judged(repo) >= 5, "judge the first windows")
                said(f"{judged(repo)} windows judged, {len(receiver.events)} messages, {nulls():.0%} of seats missing")
            with screen.step("02:00  the register delivers a file without seats and engines") as said:
                began = time.monotonic()
                said(str(break_source(store, repo)))
                said(str(store.materialize("plane_facts")))
                time.sleep(1.0)
                said(f"{nulls():.0%} of seats missing in what is served")
            with screen.step("02:01  the pager") as said:
                wait(processes, lambda: bool(of(receiver, Kind.FIRING)), "page anybody", 120)
                page = of(receiver, Kind.FIRING)[0]
                said(f"after {time.monotonic() - began:.0f} s: {page['summary']}")
                said(
                    f"cause: {page['cause']}; alerts in it: {', '.join(sorted({one['rule'] for one in page['members']}))}"
                )
            with screen.step("02:02  what the monitor does by itself") as said:
                wait(processes, lambda: bool(of(receiver, Kind.ACTION)), "do anything about it", 60)
                for action in of(receiver, Kind.ACTION):
                    said(f"{action['state'].removeprefix('ACTION_STATE_').lower()}: {action['summary']}")
                wait(processes, lambda: nulls() == 0.0, "serve what was good", 30)
                said(
                    f"{nulls():.0%} of seats missing in what is served, {time.monotonic() - began:.0f} s after the load"
                )
            with screen.step("02:03  and it is over") as said:
                wait(processes, lambda: bool(of(receiver, Kind.RESOLVED)), "say that it is over", 120)
                said(of(receiver, Kind.RESOLVED)[0]["summary"])
                kinds = [event["type"].rpartition(".")[2] for event in receiver.events]
                said(f"{len(kinds)} messages in all: {', '.join(kinds)}; {receiver.rejected} with a wrong signature")
    name = page["name"]
    screen.console.print("\nIn the morning:")
    for command in (f"monitor incident {name}", "monitor actions", "monitor outbox list", "loads plane_facts"):
        screen.console.print(f"    .venv/bin/featurestore {command} --repo {shown(repo)}", markup=False)


def break_source(store: FeatureStore, repo: Path) -> Any:
    """Deliver a file in which most planes have neither seats nor engines, newer than the one before."""
    rows = pl.read_parquet(repo / "data" / "register" / "day-1.parquet")
    now = datetime.now(UTC) - timedelta(seconds=1)
    broken = rows.with_columns(
        seats=pl.lit(None, pl.Int64),
        engines=pl.lit(None, pl.Int64),
        registered_at=pl.lit(now).cast(pl.Datetime("us", "UTC")),
    )
    broken.sample(fraction=0.8, seed=SEED).write_parquet(repo / "data" / "register" / "day-2.parquet")
    return store.ingest("plane_facts", reason="nightly")


@contextmanager
def traffic(address: str, asked: pl.DataFrame) -> Iterator[Callable[[], float]]:
    """Look planes up all the time; yields what says which share of seats was missing in the last answers."""
    random, stop = np.random.default_rng(SEED), threading.Event()
    tails = asked["tailnum"].to_numpy()
    shares = [0.0]

    def work() -> None:
        with FeatureClient(address) as client:
            while not stop.wait(1 / CALLS_PER_SECOND):
                keys = random.choice(tails, ROWS_PER_SECOND // CALLS_PER_SECOND).tolist()
                answer = client.get_online_features(features="planes", entity_rows={"tailnum": keys})
                seats = answer.to_dict()["seats"]
                shares[0] = sum(one is None for one in seats) / len(seats)

    thread = threading.Thread(target=work, name="traffic", daemon=True)
    thread.start()
    try:
        yield lambda: shares[0]
    finally:
        stop.set()
        thread.join()


def judged(repo: Path) -> int:
    """Return how many windows the monitor has judged."""
    from monitor.history import History
    from monitor.status import status

    with FeatureStore(repo) as store, History(store.config.database_url(store.config.monitor.database)) as history:
        found = status(history, [store.registry.policy("planes_watch")], watermark=None, replay="")
        return sum(one["windows"] for one in found["policies"][0]["services"])


def of(receiver: Receiver, kind: Kind) -> list[dict[str, Any]]:
    """Return what the pager was sent of one kind."""
    return [event["data"] for event in receiver.events if event["type"] == str(kind)]


def wait(processes: Processes, ready: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait for what the monitor is to do."""
    processes.wait_until(ready, "monitor", what, seconds)


def shown(place: Path) -> Path:
    """Return a path as it is typed from here."""
    return place.relative_to(Path.cwd()) if place.is_relative_to(Path.cwd()) else place


if __name__ == "__main__":
    sys.exit(main())
