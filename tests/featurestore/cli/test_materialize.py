"""``featurestore materialize``: once, a range, and again and again until a signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from featurestore.cli.repeating import again_and_again, next_start
from tests import forking

CSV = "user_id,total,orders,event_timestamp\n"
STORE_SHOP = [sys.executable, "-m", "featurestore", "materialize", "--repo"]


def ingest(command: Any, *lines: str) -> None:
    file = command.folder / "rows.csv"
    file.write_text(CSV + "".join(f"{line}\n" for line in lines))
    assert command("ingest", "spending", str(file)).code == 0


@pytest.fixture
def shop(command: Any) -> Any:
    command.define(lambda text: text.replace("    ttl=timedelta(days=2),\n", ""))
    assert command("apply").code == 0
    ingest(command, "1,10,2,2024-01-01T00:00:00Z", "2,20,2,2024-02-01T00:00:00Z", "3,30,2,2024-03-01T00:00:00Z")
    return command


def test_a_second_run_reads_what_came_since_and_a_full_one_everything(shop: Any) -> None:
    assert shop("materialize").out == "spending: 3 of 3 rows written\n"
    assert shop("materialize").out == "spending: nothing new\n"
    ingest(shop, "1,11,2,2023-01-01T00:00:00Z", "4,40,2,2024-01-01T00:00:00Z")
    assert shop("materialize", "spending").out == "spending: 1 of 2 rows written, 1 no newer than what is online\n"
    assert shop("materialize", "--full").out == "spending: 0 of 5 rows written, 5 no newer than what is online\n"


def test_a_range_is_read_and_is_in_the_audit_but_does_not_count_as_all(shop: Any) -> None:
    said = shop("materialize", "spending", "--from", "2024-01-15T00:00:00Z", "--to", "2024-02-15T00:00:00Z")
    assert said.out == "spending: 1 of 1 rows written\n"
    entry = shop("audit", "--format", "json").out
    assert '"from": "2024-01-15T00:00:00+00:00"' in entry
    assert shop("materialize").out == "spending: 2 of 3 rows written, 1 no newer than what is online\n"


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (("wether",), '"wether"', "spending"),
        (("--from", "2024-01-01T00:00:00"), "--from", "zone"),
        (("--from", "2024-01-02T00:00:00Z", "--to", "2024-01-01T00:00:00Z"), "before it begins", "first instant"),
        (("--full", "--from", "2024-01-02T00:00:00Z"), "in full, and in a range", "Choose one"),
        (("--every", "soon"), "soon", "30m"),
        (("--every", "0.5s"), "a second", "--every"),
        (("--every", "15m", "--full"), "what came since", "--full"),
        (("--every", "15m", "--to", "2024-01-01T00:00:00Z"), "once", "--every"),
    ],
)
def test_what_cannot_be_is_said_with_what_to_do(shop: Any, words: tuple[str, ...], said: str, hint: str) -> None:
    ran = shop("materialize", *words)
    assert ran.code == 1
    text = " ".join(ran.err.replace("│", " ").split())
    assert said in text
    assert hint in text
    assert "Traceback" not in text


def test_a_view_that_fails_does_not_keep_the_others_from_it(shop: Any) -> None:
    more = 'visits = FeatureView(name="visits", entities=[user], schema=[Field(name="pages", dtype=Int64)])\n'
    shop.define(lambda text: text + more)
    assert shop("apply").code == 0
    (shop.folder / "visits.csv").write_text("user_id,pages,event_timestamp\n1,5,2024-01-01T00:00:00Z\n")
    assert shop("ingest", "visits", str(shop.folder / "visits.csv")).code == 0
    for file in (shop.folder / "data/offline").glob("spending-*/*.parquet"):
        file.unlink()
    ran = shop("materialize")
    assert (ran.code, ran.out) == (1, "visits: 1 of 1 rows written\n")
    assert "1 of 2 views could not be materialized: spending." in ran.err


# Again and again


@pytest.fixture
def started(shop: Any) -> Iterator[subprocess.Popen[str]]:
    process = forking.Forked(
        [*STORE_SHOP, str(shop.folder), "--every", "1s"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def said_by(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().partition("Z  ")[2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_goes_on_until_it_is_told_to_end(shop: Any, started: subprocess.Popen[str], number: int) -> None:
    assert said_by(started) == "spending: 3 of 3 rows written\n"
    assert said_by(started) == "spending: nothing new\n"
    ingest(shop, "5,50,2,2024-01-01T00:00:00Z")
    while (said := said_by(started)) == "spending: nothing new\n":
        pass
    assert said == "spending: 1 of 1 rows written\n"
    started.send_signal(number)
    assert started.wait(30) == 0


def test_a_run_that_fails_is_told_of_and_the_next_ones_follow(shop: Any, started: subprocess.Popen[str]) -> None:
    assert said_by(started) == "spending: 3 of 3 rows written\n"
    settings = shop.folder / "featurestore.toml"
    text = settings.read_text()
    settings.write_text(text + "\nnonsense = 1\n")
    while "failed" not in (said := said_by(started)):
        pass
    assert said == "failed: all\n"
    settings.write_text(text)
    while "failed" in (said := said_by(started)):
        pass
    assert said == "spending: nothing new\n"
    settings.write_text(text + "\nnonsense = 1\n")
    while "failed" not in said_by(started):
        pass
    started.send_signal(signal.SIGTERM)
    assert started.wait(30) == 1, "the last run failed"
    assert started.stderr is not None
    assert 'there is no setting "monitor.nonsense"' in started.stderr.read()


def test_starts_keep_to_the_schedule_and_runs_do_not_overlap() -> None:
    stop, starts, under_way = threading.Event(), [], []

    def work() -> bool:
        assert under_way == []
        under_way.append(True)
        starts.append(time.monotonic())
        time.sleep(0.75 if len(starts) == 2 else 0.05)  # the second one takes longer than its time
        under_way.clear()
        if len(starts) == 4:
            stop.set()
        return len(starts) == 4

    assert again_and_again(work, 0.5, stop) is True
    turns = [(one - starts[0]) / 0.5 for one in starts]
    assert [round(one) for one in turns] == [0, 1, 3, 4]
    assert all(abs(one - round(one)) < 0.4 for one in turns)


def test_the_next_start_is_a_whole_number_of_periods_away() -> None:
    assert next_start(0.0, 10.0, 0.0) == 10.0
    assert next_start(0.0, 10.0, 9.9) == 10.0
    assert next_start(5.0, 10.0, 47.0) == 55.0
