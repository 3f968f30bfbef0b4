"""A year of flights under watch: trained on January to March, a window a day from April to December.

It prints, for each month, on how many days something was surely different, what, and what the months were like: a model
of winter is asked about summer, and in December it is at home again. The features are those that the demo serves; here
they are a file with a time, which a policy watches like any other stream of rows.
"""

from __future__ import annotations

import argparse
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl
from data import prepare

from featurestore import BaselineSource, FeatureStore, FileSource, MonitorPolicy
from featurestore.definition_files import load_definitions
from featurestore.logs import configure_logging
from monitor.history import History, JudgedWindow, Watch
from monitor.pipeline import run_once

HERE = Path(__file__).parent
VIEWS = ("weather", "plane_facts", "carrier_delays")
SERVICE = "flight_delay"
APRIL, NEXT_YEAR = datetime(2013, 4, 1, tzinfo=UTC), datetime(2014, 1, 1, tzinfo=UTC)
#: Features that a line of the table names.
NAMED = 3


def main() -> None:
    """Prepare, watch, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, default=HERE.parent.parent / "build" / "year", help="where it works")
    repo = parser.parse_args().dir.absolute()
    configure_logging()
    shutil.rmtree(repo, ignore_errors=True)
    with FeatureStore.init(repo, project="nycflights") as store:
        policy = prepared(store)
        store.apply(policy)
        registered = store.registry.policy(policy.name)
        with History(store.config.database_url(store.config.monitor.database)) as history:
            report = run_once(store, history, registered, now=NEXT_YEAR + timedelta(days=1))
            while report.more:
                report = run_once(store, history, registered, now=NEXT_YEAR + timedelta(days=1))
            stream = report.services[0].service
            with history.read() as connection:
                watch = Watch(policy=policy.name, policy_version=registered.version, service=stream)
                windows = list(history.ledger(connection, watch))
    for line in table(windows):
        print(line)


def prepared(store: FeatureStore) -> MonitorPolicy:
    """Load the flights, make the training set and what the rest of the year would be served; say what to watch."""
    root = store.config.root
    shutil.copy(HERE / "definitions.py", root)
    shutil.copy(HERE / "cases.py", root)
    prepare(root / "data")
    definitions = [one for one in load_definitions(store.config) if not isinstance(one, MonitorPolicy)]
    store.apply(definitions)
    for view in VIEWS:
        store.ingest(view)
    flights = pl.read_parquet(root / "data" / "flights.parquet").select(
        "origin", "tailnum", "carrier", "distance", pl.col("hour").alias("sched_hour"), "time_hour", "arr_delay"
    )
    before = pl.col("time_hour") < APRIL
    dataset = store.create_training_dataset(
        "winter", entity_df=flights.filter(before), features=SERVICE, label="arr_delay", timestamp_field="time_hour"
    )
    later = flights.filter(~before).drop("arr_delay")
    store.get_historical_features(later, SERVICE, timestamp_field="time_hour").write(root / "data" / "later.parquet")
    service = store.registry.service(SERVICE).definition
    return MonitorPolicy(
        name="flights_of_2013",
        source=FileSource(path="data/later.parquet", timestamp_field="time_hour"),
        fields=[field for fields in service.outputs.values() for field in fields],
        baseline=BaselineSource(dataset=dataset.id),
        window=timedelta(days=1),
        average_run_length=2160,
        retrain=False,
    )


def table(windows: Sequence[JudgedWindow]) -> Iterator[str]:
    """Yield a line for each month."""
    yield f"{'month':9} {'days':>4} {'different':>9}  what, with its mean that month (in training)"
    for month, group in groupby(windows, key=lambda one: f"{one.begin.instant:%B}"):
        days = list(group)
        moved = [finding for day in days for finding in findings(day)]
        different = sum(bool(findings(day)) for day in days)
        most = Counter(one["feature"] for one in moved).most_common(NAMED)
        yield f"{month:9} {len(days):4} {different:9}  {'; '.join(described(name, moved) for name, _ in most) or '-'}"


def findings(day: JudgedWindow) -> list[Mapping[str, Any]]:
    """Return what was surely different on a day, or since the onset of what is."""
    return [one for one in day.decision["findings"] if one["verdict"] in ("drift", "severe")]


def described(name: str, moved: Sequence[Mapping[str, Any]]) -> str:
    """Return a feature with its means."""
    mine = [one for one in moved if one["feature"] == name]
    means = [one["current_mean"] for one in mine if one["current_mean"] is not None]
    if not means:
        return f"{name} on {len(mine)} days"
    return f"{name} on {len(mine)} days, {sum(means) / len(means):.1f} ({mine[0]['baseline_mean']:.1f})"


if __name__ == "__main__":
    main()
