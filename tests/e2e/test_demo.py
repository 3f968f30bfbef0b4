"""The demo: the whole sentence of docs/design.md on real data, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import featurestore

ROOT = Path(__file__).parent.parent.parent
DEMO = [sys.executable, str(ROOT / "examples" / "nycflights" / "demo.py")]


@dataclass(frozen=True)
class Interrupted:
    """A demo that was interrupted in the middle of its rehearsal, and what was done beside it and after.

    Attributes:
        folder: where it worked.
        pid: its process.
        beside: another demo in the same folder, while it ran.
        code: its exit code.
        output: what it printed.
        left: its processes that were still there when it had ended.
        status: ``featurestore status`` of the store that it left.
    """

    folder: Path
    pid: int
    beside: subprocess.CompletedProcess[str]
    code: int
    output: str
    left: list[psutil.Process]
    status: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    folder = tmp_path_factory.mktemp("demo")
    command = [*DEMO, "--dir", str(folder)]
    demo = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        _wait_for(folder / ".lock")
        beside = subprocess.run(command, capture_output=True, text=True, check=False)
        # In the middle of the rehearsal: server and monitor are at work.
        _wait_for(folder / "monitor.log")
        until = time.monotonic() + 30
        while len(children := psutil.Process(demo.pid).children(recursive=True)) < 2:
            assert time.monotonic() < until, "server and monitor are never there at once"
            time.sleep(0.1)
        time.sleep(1)
        os.killpg(demo.pid, signal.SIGINT)
        output, _ = demo.communicate(timeout=60)
    finally:
        if demo.poll() is None:
            os.killpg(demo.pid, signal.SIGKILL)
    return Interrupted(
        folder=folder,
        pid=demo.pid,
        beside=beside,
        code=demo.returncode,
        output=output,
        left=[child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE],
        status=featurestore("status", "--repo", str(folder / "repo"), cwd=folder),
    )


@pytest.fixture(scope="module")
def finished(interrupted: Interrupted) -> Path:
    """The folder of a demo that has run to its end where one was interrupted. What it printed is in ``screen.txt``."""
    folder = interrupted.folder
    ran = subprocess.run([*DEMO, "--dir", str(folder)], capture_output=True, text=True, timeout=280, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stderr == ""
    (folder / "screen.txt").write_text(ran.stdout)
    return folder


def test_a_second_demo_beside_the_first_is_refused_in_one_line(interrupted: Interrupted) -> None:
    assert interrupted.beside.returncode == 1
    assert f"Another demo (process {interrupted.pid}) works in" in interrupted.beside.stderr
    assert "--dir" in interrupted.beside.stderr


def test_ctrl_c_leaves_no_process_and_a_whole_store(interrupted: Interrupted) -> None:
    assert interrupted.code == 130
    assert "Interrupted" in interrupted.output
    assert "Traceback" not in interrupted.output
    assert interrupted.left == []
    assert interrupted.status.returncode == 0, interrupted.status.stderr
    assert "flight_delay@1" in interrupted.status.stdout


def test_the_page_of_the_demo_shows_what_it_prints_and_the_readme_some_of_it(finished: Path) -> None:
    said = _lasting((finished / "screen.txt").read_text())
    page, readme = ((ROOT / name).read_text() for name in ("docs/demo.md", "README.md"))
    shown = re.search(r"It\s+prints:\n\n```text\n(.*?)\n```", page, re.DOTALL)
    assert shown is not None
    assert _lasting(shown.group(1)) == said
    some = re.search(r"the whole demo.*?```text\n(.*?)\n```", readme, re.DOTALL)
    assert some is not None
    start = said.index("    control days: 0 alerts")
    assert [line.strip() for line in some.group(1).splitlines()] == [line.strip() for line in said[start : start + 3]]


def _lasting(screen: str) -> list[str]:
    """Lines without what differs from run to run: times, rates, memory, folders."""
    lines = []
    for line in screen.strip().splitlines():
        line = re.sub(r"[\d.,]+ (s|a second)$", r"N \1", line)
        line = re.sub(r"(peak memory mb|seconds) +[\d.,]+$", r"\1 N", line)
        line = re.sub(r"(--repo|store is in) \S+/repo", r"\1 FOLDER", line)
        # Named by all that is needed to make the set again, and so by when its loads were published.
        line = re.sub(r"(datasets/\w+)/[0-9a-f]{16}/", r"\1/N/", line)
        lines.append(line.rstrip())
    return lines


def test_the_summary_tells_of_one_drift_and_no_false_alarm(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["control_alerts"] == 0
    assert summary["drift_alerts"] == 1
    assert {"temp", "dewp"} & set(summary["drifted_features"][:4])
    assert summary["retraining_signals"] == 1
    assert summary["webhooks_delivered"] == 2
    assert summary["parity_checked"] == 2000
    assert summary["parity_mismatches"] == 0
    assert summary["training_rows"] > 50_000
    assert summary["lookups"] > 40_000
    # Four were planted; a wind of 1,048 mph and an hour without a temperature are in the data.
    assert summary["quarantined_rows"] == 6
    assert summary["peak_memory_mb"] < 2048


def test_the_dataset_hash_is_that_of_the_manifest_and_the_same_in_every_run(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    manifests = list((finished / "repo").glob("data/offline/datasets/*/*/manifest.json"))
    assert len(manifests) == 1
    assert json.loads(manifests[0].read_text())["content_hash"] == summary["dataset_hash"]


def test_the_rehearsal_is_on_record(finished: Path) -> None:
    said = (finished / "server.log").read_text()
    assert "REPLAY july: clock at 2013-01-01T00:00:00+00:00" in said
    shown = (finished / "monitor.log").read_text().splitlines()
    assert [line for line in shown if line.startswith("REPLAY july: PAGE") and "flight_delay@1 drifted" in line]


def _wait_for(file: Path, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not (file.exists() and file.stat().st_size):
        assert time.monotonic() < deadline, f"{file} did not appear"
        time.sleep(0.05)


def test_the_dashboard_opens_on_what_the_demo_did(finished: Path) -> None:
    command = [sys.executable, "-m", "featurestore", "dashboard", "--replay", "july", "--port", "0"]
    dashboard = subprocess.Popen([*command, "--repo", str(finished / "repo")], stdout=subprocess.PIPE, text=True)
    try:
        assert dashboard.stdout is not None
        url = dashboard.stdout.readline().split()[4]
        with urllib.request.urlopen(f"{url}incidents.json", timeout=30) as answered:
            shown = json.load(answered)
        assert "flight_delay" in json.dumps(shown)
        dashboard.send_signal(signal.SIGINT)
        assert dashboard.wait(timeout=30) == 0
    finally:
        dashboard.kill()
        dashboard.communicate()
