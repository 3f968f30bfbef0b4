"""The daemon as a process of its own: it works, it stops when told, and it is alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from standardwebhooks import Webhook as Verifier
from structlog.testing import capture_logs

from featurestore.errors import LeadershipLostError, MonitorError
from monitor.alerts.outbox import Courier
from monitor.daemon import Jobs
from monitor.history import History
from monitor.leading import sole_monitor
from monitor.metrics import MonitorMetrics
from monitor.pipeline import run_once
from monitor.schema import windows
from monitor.status import status
from tests.conftest import Program
from tests.forking import Forked
from tests.postgresql_servers import Cluster, cluster_of_its_own, wait_for

_DAEMON = textwrap.dedent(
    """
    import sys
    from dataclasses import dataclass
    from datetime import timedelta
    from pathlib import Path
    from featurestore.config import Config, MonitorConfig
    from featurestore.settings.alerts import AlertsConfig
    from featurestore.settings.channels import WebhookConfig
    from featurestore.errors import MonitorError
    from featurestore.registry import open_registry
    from monitor.alerts.channels import open_channels
    from monitor.daemon import Daemon
    from monitor.history import History

    root, url, secret = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    hook = WebhookConfig.model_validate(
        {"kind": "webhook", "url": url, "secret": secret, "allow_private_addresses": True}
    )

    @dataclass
    class Store:
        config: Config
        registry: object

    standby, port = sys.argv[4] == "standby", int(sys.argv[5])
    section = MonitorConfig(database=sys.argv[6], poll_seconds=0.2, metrics_port=port, lease_seconds=2)
    alerts = AlertsConfig(group_wait=timedelta(0))
    config = Config(root=root, registry=sys.argv[7], channels={"ops": hook}, monitor=section, alerts=alerts)
    registry = open_registry(config.database_url(config.registry), config.project)
    with History(config.database_url(config.monitor.database)) as history:
        try:
            Daemon(Store(config, registry), history, open_channels(config), standby=standby).run()
        except MonitorError as error:
            sys.exit(error.message)
    """
)

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(receiver: Any, secret: str) -> Iterator[Start]:
    """Start a daemon on a scene; it is killed after the test if it still runs."""
    started: list[subprocess.Popen[str]] = []

    def begin(scene: Any, *, standby: bool = True, metrics_port: int = 0) -> subprocess.Popen[str]:
        how = [
            "standby" if standby else "alone",
            str(metrics_port),
            scene.config.monitor.database,
            scene.config.registry,
        ]
        command = [sys.executable, "-c", _DAEMON, str(scene.config.root), receiver.url, secret, *how]
        process = Forked(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


@contextmanager
def jobs(scene: Any) -> Iterator[tuple[Jobs, MonitorMetrics]]:
    """Have a monitor's jobs at work, and what counts them."""
    with scene.history() as history, Courier(history, {}) as courier:
        metrics = MonitorMetrics(history, "default")
        at_work = Jobs(scene, history, courier, metrics)
        yield at_work, metrics
        at_work.finish()


def counted(metrics: MonitorMetrics, job: str) -> dict[str, tuple[float, ...]]:
    """Return what was counted of a job."""
    return {one.metric.name: one.values for one in metrics.samples() if one.labels == (job,)}


def _status(scene: Any) -> dict[str, Any]:
    with scene.history() as history:
        return status(history, [scene.policy], watermark=None, replay="")


def _judged(scene: Any) -> int:
    return sum(one["windows"] for policy in _status(scene)["policies"] for one in policy["services"])


def test_it_judges_windows_as_they_close_and_delivers_signed_messages(
    scene: Any, start: Start, receiver: Any, secret: str, wait_for: Callable[..., None]
) -> None:
    scene.train()
    scene.serve_days(0, 3)
    daemon = start(scene)
    wait_for(lambda: _judged(scene) == 3)
    scene.serve_days(3, 8, shift=1.0)
    wait_for(lambda: len(receiver.requests) == 2)
    for headers, body in receiver.requests:
        Verifier(secret).verify(body, headers)
    kinds = [json.loads(body)["type"] for _, body in receiver.requests]
    assert kinds == ["featurestore.v1.alert.firing", "featurestore.v1.retraining"]
    wait_for(lambda: _status(scene)["outbox"] == {"pending": 0, "delivered": 2, "dead": 0, "overtaken": 0})
    heart = _status(scene)["daemon"]
    assert heart["pid"] == daemon.pid
    wait_for(lambda: _status(scene)["daemon"]["beat_at"] > heart["beat_at"])
    daemon.send_signal(signal.SIGTERM)
    daemon.communicate(timeout=30)
    assert daemon.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_finishes_the_window_at_hand_and_exits_with_zero(
    scene: Any, start: Start, wait_for: Callable[..., None], number: signal.Signals
) -> None:
    scene.train()
    scene.serve_days(0, 60)
    daemon = start(scene)
    wait_for(lambda: _judged(scene) > 1)
    daemon.send_signal(number)
    output, _ = daemon.communicate(timeout=30)
    assert daemon.returncode == 0, output
    assert "Traceback" not in output
    assert 1 < _judged(scene) <= 60


def test_a_policy_applied_while_it_runs_is_taken_up(scene: Any, start: Start, wait_for: Callable[..., None]) -> None:
    scene.train()
    scene.serve_days(0, 2)
    start(scene)
    wait_for(lambda: _judged(scene) == 2)
    scene.apply(average_run_length=5000)
    wait_for(lambda: bool(_status(scene)["policies"][0]["services"]))  # by the new version
    scene.serve_days(2, 3)
    wait_for(lambda: _judged(scene) == 3)
    assert _status(scene)["policies"][0]["policy"] == "flight_drift@2"


def test_a_policy_that_fails_is_told_of_and_tried_again(
    scene: Any, start: Start, wait_for: Callable[..., None]
) -> None:
    scene.apply(routes=["opps"])
    scene.train()
    scene.serve_days(0, 2)
    daemon = start(scene)
    assert daemon.stdout is not None
    told = next(line for line in daemon.stdout if "job failed" in line)
    assert "opps" in told
    scene.apply(routes=["ops"])
    wait_for(lambda: _judged(scene) == 2)
    daemon.terminate()
    output, _ = daemon.communicate(timeout=30)
    assert "Traceback" not in told + output


def test_what_is_unforeseen_is_told_in_the_log_and_ends_no_other_job(scene: Any, wait_for: Callable[..., None]) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with capture_logs() as said, jobs(scene) as (at_work, metrics):
        at_work.every(3600, "odd", fail)
        wait_for(lambda: "featurestore_monitor_job_errors_total" in counted(metrics, "odd"))
    failed = [line for line in said if line["event"] == "job failed"]
    assert [(line["job"], line["exc_info"]) for line in failed] == [("odd", True)]


def test_a_job_that_makes_another_while_the_monitor_ends_does_not_hold_it_up(scene: Any) -> None:
    at_hand, made = threading.Event(), threading.Event()

    def work() -> None:
        at_hand.set()
        at_work._finishing.wait(60)
        time.sleep(0.1)  # by now the scheduler is told to end
        at_work.every(3600, "another", lambda: None)
        made.set()

    with jobs(scene) as (at_work, _):
        at_work.every(3600, "odd", work)
        assert at_hand.wait(60)
    assert made.is_set()


def test_a_second_one_that_is_not_to_stand_by_is_refused_and_told_the_first_ones_pid(
    scene: Any, start: Start, wait_for: Callable[..., None]
) -> None:
    first = start(scene)
    wait_for(lambda: _status(scene)["daemon"] is not None)
    second = start(scene, standby=False)
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 1
    assert f"Another monitor (pid {first.pid})" in output


def test_others_stand_by_and_one_takes_over_when_the_first_is_killed(
    scene: Any, start: Start, wait_for: Callable[..., None]
) -> None:
    scene.train()
    scene.serve_days(0, 2)
    first = start(scene)
    wait_for(lambda: _judged(scene) == 2)
    second = start(scene)
    assert second.stdout is not None
    told = next(line for line in second.stdout if "standing by" in line)
    assert str(first.pid) in told
    assert _status(scene)["daemon"]["pid"] == first.pid
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    scene.serve_days(2, 3)
    wait_for(lambda: _judged(scene) == 5)
    assert _status(scene)["daemon"]["pid"] == second.pid
    second.terminate()
    output, _ = second.communicate(timeout=60)
    assert (second.returncode, "Traceback" in output) == (0, False)


def test_one_that_stands_by_stops_when_told(scene: Any, start: Start) -> None:
    with scene.history() as history, sole_monitor(history):
        waiting = start(scene)
        assert waiting.stdout is not None
        next(line for line in waiting.stdout if "standing by" in line)
        waiting.terminate()
        waiting.communicate(timeout=60)
    assert waiting.returncode == 0


def test_its_metrics_tell_what_it_does(scene: Any, start: Start, free_port: int, wait_for: Callable[..., None]) -> None:
    def page() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/metrics", timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    scene.train()
    scene.serve_days(0, 3)
    scene.serve_days(3, 6, shift=1.0)
    start(scene, metrics_port=free_port)
    stream = 'policy="flight_drift",service="flight_delay@1"'
    wait_for(lambda: f"featurestore_monitor_windows_judged_total{{{stream}}} 9.0" in page())
    wait_for(lambda: 'featurestore_monitor_outbox_messages{state="delivered"} 2.0' in page())
    found = page()
    assert f'featurestore_monitor_verdict{{{stream},verdict="drift"}} 1.0' in found
    assert f"featurestore_monitor_evidence_limit_log{{{stream}}} 7.67" in found
    assert f"featurestore_monitor_lag_seconds{{{stream}}} 0.0" in found
    assert "featurestore_monitor_alerts_firing 1.0" in found
    assert 'featurestore_monitor_incidents{acknowledged="false",severity="page"} 1.0' in found
    assert "featurestore_monitor_oldest_unacknowledged_page_seconds " in found
    assert "featurestore_monitor_silences 0.0" in found
    assert f'featurestore_monitor_alerts_total{{change="fired",{stream}}}' in found or "alerts_total" in found
    assert 'featurestore_monitor_job_errors_total{job="policy flight_drift"} 0.0' in found
    assert 'featurestore_monitor_job_last_success_timestamp_seconds{job="heartbeat"}' in found


def test_whose_port_another_process_has_works_and_serves_it_later(
    scene: Any, start: Start, free_port: int, wait_for: Callable[..., None]
) -> None:
    scene.train()
    scene.serve_days(0, 2)
    with socket.socket() as other:  # as a monitor that was only stopped has it
        other.bind(("127.0.0.1", free_port))
        other.listen()
        process = start(scene, metrics_port=free_port)
        wait_for(lambda: _judged(scene) == 2)
        assert process.poll() is None
    wait_for(lambda: _answers(free_port))
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=30)[0]
    assert "port for metrics is taken" in said
    assert "port for metrics is served now" in said


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
            return bool(page.status == 200)
    except OSError:
        return False


def test_a_clock_that_is_set_back_stops_nothing(scene: Any, wait_for: Callable[..., None]) -> None:
    done: list[None] = []
    clock = iter([datetime.now(UTC), datetime.now(UTC) - timedelta(seconds=1), datetime.now(UTC) - timedelta(days=9)])
    with scene.history() as history, Courier(history, {}) as courier:
        at_work = Jobs(scene, history, courier, MonitorMetrics(history, "default"), clock=clock.__next__)
        at_work.every(86_400, "daily", lambda: done.append(None))
        wait_for(lambda: len(done) == 1)
        at_work.follow_clock()  # a correction
        with capture_logs() as said:
            at_work.follow_clock()
        wait_for(lambda: len(done) == 2)
        at_work.finish()
    assert [one["event"] for one in said if one["event"].startswith("the clock")] == ["the clock was set back"]
    assert len(done) == 2


def test_a_failed_job_is_counted_and_done_again(scene: Any, wait_for: Callable[..., None]) -> None:
    outcomes = iter([MonitorError("no"), LeadershipLostError("left to another"), None])

    def work() -> None:
        outcome = next(outcomes, None)
        if outcome is not None:
            raise outcome

    with jobs(scene) as (at_work, metrics):
        at_work.every(0.05, "odd", work)
        wait_for(lambda: "featurestore_monitor_job_last_success_timestamp_seconds" in counted(metrics, "odd"))
        found = counted(metrics, "odd")
    assert found["featurestore_monitor_job_errors_total"] == (1.0,)
    assert found["featurestore_monitor_job_last_success_timestamp_seconds"][0] > 1e9


def test_a_daemon_that_was_killed_leaves_no_lock(scene: Any, start: Start, wait_for: Callable[..., None]) -> None:
    killed = start(scene)
    wait_for(lambda: _status(scene)["daemon"] is not None)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    start(scene)
    wait_for(lambda: _status(scene)["daemon"]["pid"] != killed.pid)


def test_the_lock_is_free_again_after_its_block(scene: Any) -> None:
    with scene.history() as history:
        with (
            sole_monitor(history),
            pytest.raises(MonitorError, match=f"pid {os.getpid()}"),
            sole_monitor(history),
        ):
            pass
        with sole_monitor(history):
            pass


@pytest.fixture
def shared(scene: Any, postgresql: str) -> Any:
    """The scene, with a database that daemons of several hosts can share."""
    url = postgresql.replace("postgresql://", "postgresql+psycopg://")
    section = scene.config.monitor.model_copy(update={"database": url})
    return replace(scene, config=scene.config.model_copy(update={"monitor": section}))


def _said(receiver: Any) -> list[tuple[str, str]]:
    """Return key and type of what a receiver got that knows keys again."""
    found = [json.loads(body) for _, body in receiver.requests]
    return list(dict.fromkeys((one["id"], one["type"].removeprefix("featurestore.v1.")) for one in found))


def _leader(first: subprocess.Popen[str], scene: Any, wait_for: Callable[..., None]) -> None:
    wait_for(lambda: (_status(scene)["daemon"] or {}).get("pid") == first.pid)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_of_two_daemons_on_one_database_the_other_takes_over_and_nobody_is_paged_twice(
    shared: Any, start: Start, receiver: Any, wait_for: Callable[..., None], number: signal.Signals
) -> None:
    """The first one is killed, or stopped, in the middle of the page's delivery; a stopped one goes on afterwards."""
    shared.train()
    shared.serve_days(0, 3)
    first = start(shared)
    _leader(first, shared, wait_for)
    second = start(shared)
    assert second.stdout is not None
    next(line for line in second.stdout if "standing by" in line)
    wait_for(lambda: _judged(shared) == 3)
    receiver.delay = 1.0
    shared.serve_days(3, 8, shift=1.0)
    wait_for(lambda: bool(receiver.requests))
    os.kill(first.pid, number)
    receiver.delay = 0.0
    gone = time.monotonic()
    wait_for(lambda: _status(shared)["daemon"]["pid"] == second.pid)
    assert time.monotonic() - gone < 2 + 10  # the lease, and a busy machine
    shared.serve_days(11, 2, shift=1.0)
    wait_for(lambda: _judged(shared) == 13)
    if number == signal.SIGSTOP:
        os.kill(first.pid, signal.SIGCONT)
        assert first.stdout is not None
        next(line for line in first.stdout if "standing by" in line)
        assert first.poll() is None
    shared.serve_days(13, 8)
    wait_for(lambda: _judged(shared) == 21)
    wait_for(lambda: _status(shared)["outbox"]["pending"] == 0)
    said = _said(receiver)
    assert sorted(kind for _, kind in said) == ["alert.firing", "alert.resolved", "retraining"]
    kinds = [kind for _, kind in said]
    assert kinds.index("alert.firing") < kinds.index("alert.resolved")
    assert _status(shared)["daemon"]["pid"] == second.pid
    second.terminate()
    second.communicate(timeout=60)
    if number == signal.SIGSTOP:
        # The old one is ready to go on.
        _leader(first, shared, wait_for)


@pytest.fixture
def own_postgresql(program: Program) -> Iterator[Cluster]:
    """Yield a PostgreSQL that may be killed."""
    for cluster in cluster_of_its_own(program):
        cluster.start()
        yield cluster


def test_a_database_that_is_killed_costs_time_and_no_window_and_no_alert(
    make_scene: Callable[..., Any], own_postgresql: Cluster, start: Start, receiver: Any
) -> None:
    """Registry and ledger are in it: it is killed while windows are judged, and while the page is delivered."""
    scene = make_scene(database=own_postgresql.url, registry=own_postgresql.url)
    output = judge_while_it_is_killed(scene, own_postgresql, start, receiver, pauses=[0.0, 0.7])
    assert "Traceback" not in output


def judge_while_it_is_killed(
    scene: Any, cluster: Cluster, start: Start, receiver: Any, *, pauses: Sequence[float]
) -> str:
    """Have a daemon judge 21 windows, while its database is killed so often; return what it wrote.

    Args:
        scene: whose registry and ledger are in the database.
        cluster: the database.
        start: starts the daemon.
        receiver: of its messages.
        pauses: after each the database is killed; windows close meanwhile, and while it is away.
    """
    scene.train()
    scene.serve_days(0, 3)
    daemon = start(scene)
    assert daemon.stdout is not None
    told: list[str] = []
    reading = threading.Thread(target=told.extend, args=(daemon.stdout,))  # it says much, and waits where nobody reads
    reading.start()
    wait_for(lambda: _judged(scene) == 3)
    receiver.delay = 0.2
    closed, last = 3, 21
    for turn, pause in enumerate(pauses):
        until = 3 + (last - 3) * (turn + 1) // (len(pauses) + 1)
        half = closed + (until - closed) // 2
        _close_windows(scene, closed, half)
        time.sleep(pause)
        cluster.kill()
        _close_windows(scene, half, until)
        closed = until
        time.sleep(1.0)
        cluster.start()
    _close_windows(scene, closed, last)
    wait_for(lambda: _judged(scene) == last)
    wait_for(lambda: _status(scene)["outbox"]["pending"] == 0)
    assert daemon.poll() is None, "it went on, and was not started anew"
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(60) == 0
    reading.join()
    with History(f"sqlite:///{scene.config.root}/undisturbed.db") as undisturbed, scene.history() as history:
        while run_once(scene, undisturbed, scene.policy, now=datetime.now(UTC)).more:
            pass
        expected = _ledger(undisturbed)
        assert len(expected) == last
        assert _ledger(history) == expected
    kinds = [kind for _, kind in _said(receiver)]
    # A signal that the incident's end has overtaken is not sent any more.
    assert [kind for kind in kinds if kind != "retraining"] == ["alert.firing", "alert.resolved"]
    assert kinds.count("retraining") <= 1
    return "".join(told)


def _close_windows(scene: Any, first: int, end: int) -> None:
    """Serve some days, of which those before the eleventh are shifted."""
    for day in range(first, end):
        scene.serve_days(day, 1, shift=1.0 if day < 11 else 0.0)


def _ledger(history: History) -> list[tuple[Any, ...]]:
    """Return each window that was judged, with what was found: a detector that took one twice would find another."""
    columns = [windows.c.window_start, windows.c.rows, windows.c.profile, windows.c.verdict, windows.c.decision]
    with history.read() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(windows.c.window_start))]
