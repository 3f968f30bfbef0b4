"""`featurestore loadtest` as a user types it, against a server process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, OnDemandFeatureView
from featurestore.cli.app import run
from featurestore.types import Float64, Int64
from tests import forking

AT = datetime(2024, 1, 1, tzinfo=UTC)
#: A key that would be seen, were it printed anywhere.
KEY = 7_741_774_177


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loadtest") / "shop"
    user = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
    view = FeatureView(name="spending", entities=[user], schema=[Field(name="total", dtype=Float64)])
    share = OnDemandFeatureView(
        name="share",
        inputs=[view],
        request=[Field(name="basket", dtype=Float64)],
        schema=[Field(name="part", dtype=Float64)],
        expressions={"part": "basket / total"},
    )
    with FeatureStore.init(folder, project="shop") as store:
        store.apply(
            [FeatureService(name="scoring", features=[view]), FeatureService(name="computed", features=[view, share])]
        )
        store.ingest("spending", [{"user_id": KEY + one, "total": 1.0, "event_timestamp": AT} for one in range(50)])
        store.materialize("spending")
    return folder


@pytest.fixture(scope="module")
def server(repo: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "featurestore", "serve", "--port", "0", "-C", str(repo)]
    process = forking.Forked(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = re.search(r" at (127\.0\.0\.1:\d+),", process.stdout.readline())
    assert found
    yield found[1]
    process.terminate()
    process.wait(30)
    process.stdout.close()


def load(repo: Path, *arguments: str) -> int:
    return run(["loadtest", *arguments, "-C", str(repo)], debug=False)


def test_a_test_is_reported_written_and_drawn_and_names_no_key(
    repo: Path, server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--json", str(tmp_path / "a.json"), "--plot", str(tmp_path / "a.svg")]
    short = ["--rate", "40", "--duration", "2s", "--target", "p99<2s,errors<1%"]
    code = load(repo, "scoring", "--server", server, *short, *files)
    said = capsys.readouterr()
    found = json.loads((tmp_path / "a.json").read_text())
    # On a machine that is busy with something else a sender may be late, and then says so.
    assert code == (2 if found["invalid"] else 0)
    assert found["answered"] == found["requests"] > 40
    assert found["row_statuses"] == {"PRESENT": 1.0}
    assert "scoring@1 100.0%" in said.out
    assert "reached     p99<2s" in said.out
    assert "</svg>" in (tmp_path / "a.svg").read_text()
    assert str(KEY)[:6] not in said.out + said.err + (tmp_path / "a.json").read_text()


def test_a_target_that_is_missed_ends_with_1_unless_the_figures_are_worth_nothing(
    repo: Path, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = load(
        repo,
        "scoring",
        "--server",
        server,
        "--rate",
        "40",
        "--duration",
        "1s",
        "--target",
        "max<1ms",
        "--format",
        "json",
    )
    found = json.loads(capsys.readouterr().out)
    assert code == (2 if found["invalid"] else 1)
    assert not found["passed"]
    assert [one["holds"] for one in found["checks"]] == [False]


def test_what_was_asked_with_request_fields_is_replayed_from_the_log(
    repo: Path, server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.csv").write_text(f"user_id,basket\n{KEY},0.5\n")
    short = ["--rate", "30", "--duration", "1s", "--format", "json"]
    with FeatureStore(repo) as store:
        store.get_batch_features("computed", [{"user_id": KEY, "basket": 0.5}] * 3, request_id="asked")
    for more, said in (
        (["--from-log"], "1 requests of the serving log (3 rows)"),
        (["--entity-rows"], "1 rows of rows.csv"),
    ):
        given = [*more, str(tmp_path / "rows.csv")] if more == ["--entity-rows"] else more
        load(repo, "computed", "--server", server, *short, *given)
        found = json.loads(capsys.readouterr().out)
        assert said in found["rows"]
        assert found["codes"] == {"OK": found["requests"]}
    deadline = time.monotonic() + 20
    while f"loadtest-{found['run']}" not in _logged(repo):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _logged(repo: Path) -> set[str]:
    files = (repo / "data" / "log" / "computed").glob("[!.]*.parquet")
    ids = {name for file in files for name in pq.read_table(file).column("request_id").to_pylist()}
    return {name.rpartition("-")[0] for name in ids if name.startswith("loadtest-")}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["scoring"], "add --server 127.0.0.1:6566"),
        (["scoring", "--server", "192.0.2.1:6566"], "--allow-remote"),
        (["scoring", "--server", "127.0.0.1:9"], "featurestore serve"),
        (["scorng", "--server", "127.0.0.1:9"], 'Did you mean "scoring"?'),
        (["computed", "--server", "127.0.0.1:9"], "--from-log"),
        (["scoring", "--server", "127.0.0.1:9", "--ramp", "1:2:3s", "--rate", "5"], "Leave --rate and --duration out"),
        (["scoring", "--server", "127.0.0.1:9", "--target", "p99"], '"p99<5ms,errors<0.1%"'),
        (["scoring", "--server", "127.0.0.1:9", "--plot", "a.pdf"], ".svg or .png"),
        (["scoring", "--server", "127.0.0.1:9", "--from-log", "--entity-rows", "x.csv"], "Give one of them"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_is_said_with_what_to_do(
    repo: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert load(repo, *arguments) == 1
    assert said in capsys.readouterr().err


def test_ctrl_c_gives_the_figures_so_far(repo: Path, server: str) -> None:
    command = [sys.executable, "-m", "featurestore", "loadtest", "scoring", "--server", server, "--duration", "60s"]
    # A group of its own, as a terminal's: Ctrl-C reaches the senders too.
    process = forking.Forked(
        [*command, "--rate", "50", "-C", str(repo)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    # What other tests had asked is logged by then.
    began, deadline = time.time() + 2.0, time.monotonic() + 60
    while not _logged_of_scoring(repo, began):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(1.5)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "STOPPED before its end" in out
    assert "Traceback" not in err
    assert "latency     p50" in out


def _logged_of_scoring(repo: Path, since: float) -> bool:
    newest = max((one.stat().st_mtime for one in (repo / "data/log/scoring").glob("[!.]*.parquet")), default=0.0)
    return newest > since
