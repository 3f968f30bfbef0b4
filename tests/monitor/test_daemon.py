"""The daemon as a process of its own: it works, it stops when told, and it is alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier
from structlog.testing import capture_logs

from featurestore.errors import MonitorError
from monitor.daemon import Daemon
from monitor.lock import sole_monitor
from monitor.status import status

_DAEMON = textwrap.dedent(
    """
    import sys
    from dataclasses import dataclass
    from pathlib import Path
    from featurestore.config import ChannelConfig, Config, MonitorConfig
    from featurestore.errors import MonitorError
    from featurestore.registry import open_registry
    from monitor.alerts.channels import open_channels
    from monitor.daemon import Daemon
    from monitor.history import History

    root, url, secret = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    hook = ChannelConfig.model_validate(
        {"kind": "webhook", "url": url, "secret": secret, "allow_private_addresses": True}
    )

    @dataclass
    class Store:
        config: Config
        registry: object

    config = Config(root=root, channels={"ops": hook}, monitor=MonitorConfig(poll_seconds=0.2))
    registry = open_registry(config.database_url(config.registry), config.project)
    with History(config.database_url(config.monitor.database)) as history:
        try:
            Daemon(Store(config, registry), history, open_channels(config)).run()
        except MonitorError as error:
            sys.exit(error.message)
    """
)

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(receiver: Any, secret: str) -> Iterator[Start]:
    """Start a daemon on a scene; it is killed after the test if it still runs."""
    started: list[subprocess.Popen[str]] = []

    def begin(scene: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", _DAEMON, str(scene.config.root), receiver.url, secret]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


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
    wait_for(lambda: _status(scene)["outbox"] == {"pending": 0, "delivered": 2, "dead": 0})
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


def test_what_is_unforeseen_is_told_in_the_log_and_ends_no_other_job(scene: Any) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with scene.history() as history, capture_logs() as said:
        Daemon(scene, history, {})._guarded("odd", fail)
    assert [(line["event"], line["job"], line["exc_info"]) for line in said] == [("job failed", "odd", True)]


def test_a_second_one_on_the_same_database_is_refused_and_told_the_first_ones_pid(
    scene: Any, start: Start, wait_for: Callable[..., None]
) -> None:
    first = start(scene)
    wait_for(lambda: _status(scene)["daemon"] is not None)
    second = start(scene)
    output, _ = second.communicate(timeout=30)
    assert second.returncode == 1
    assert f"Another monitor (pid {first.pid})" in output


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
            sole_monitor(history.path),
            pytest.raises(MonitorError, match=f"pid {os.getpid()}"),
            sole_monitor(history.path),
        ):
            pass
        with sole_monitor(history.path):
            pass
