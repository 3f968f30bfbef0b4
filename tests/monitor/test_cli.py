"""``featurestore monitor``, as it is typed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import update
from typer.testing import CliRunner, Result

from featurestore.definitions import MonitorPolicy
from featurestore.errors import ConfigError, FeatureStoreError, MonitorError, TimestampError
from monitor import schema
from monitor.cli import app
from monitor.leading import sole_monitor
from monitor.pipeline import run_once as run_policy
from tests.forking import Forked


@pytest.fixture
def written(make_scene: Callable[..., Any], receiver: Any, secret: str) -> Any:
    """A scene whose folder has a featurestore.toml that says the same."""
    scene = make_scene(url=receiver.url)
    (scene.config.root / "featurestore.toml").write_text(
        f"""
        project = "default"
        [monitor]
        poll_seconds = 0.2
        [alerts]
        group_wait = "0 seconds"
        [channels.ops]
        kind = "webhook"
        url = "{receiver.url}"
        secret = "{secret}"
        allow_private_addresses = true
        rehearsals = true
        [channels.here]
        kind = "console"
        """
    )
    return scene


def call(scene: Any, *arguments: str) -> Result:
    result = CliRunner().invoke(app, [*arguments, "--repo", str(scene.config.root)])
    if isinstance(result.exception, FeatureStoreError):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_run_once_judges_and_delivers_and_says_what_it_did(written: Any, receiver: Any) -> None:
    written.train()
    written.serve_days(0, 2)
    written.serve_days(2, 8, shift=1.0)
    result = call(written, "run-once")
    assert result.exit_code == 0
    assert "flight_drift@1 on flight_delay@1: 10 new windows, drift, alert firing (1 fired" in result.output
    assert "Messages: 2 delivered, 0 put off, 0 given up." in result.output
    assert len(receiver.requests) == 2
    assert "0 new windows" in call(written, "run-once").output
    assert len(receiver.requests) == 2


def test_the_exit_code_says_whether_an_incident_fires_if_that_is_asked_for(written: Any) -> None:
    written.train()
    written.serve_days(0, 3)
    assert call(written, "run-once", "--exit-code").exit_code == 0
    written.serve_days(3, 6, shift=1.0)
    assert call(written, "run-once", "--exit-code").exit_code == 10
    # Nothing is new, and it still fires.
    assert call(written, "run-once", "--exit-code").exit_code == 10
    assert call(written, "run-once").exit_code == 0


def test_a_backtest_as_it_is_typed(written: Any) -> None:
    written.train()
    written.serve_days(0, 3)
    written.serve_days(3, 6, shift=1.0)
    call(written, "run-once")
    few = ("--null-windows", "10")
    text = call(written, "backtest", "flight_drift", *few).output
    assert "It would have paged 1 time (1 drift):" in text
    assert "Chance alone: " in text
    found = json.loads(call(written, "backtest", "flight_drift", "--format", "json", "--threshold", "0.9", *few).output)
    assert (found["pages"], found["achieved"]["windows"]) == ([], 10)
    before = call(written, "backtest", "flight_drift", "--until", "2013-07-04T00:00:00Z", "--budget", "5", *few).output
    assert "5 false pages a quarter" in before
    assert "It would have paged nobody." in before
    with pytest.raises(TimestampError, match="since"):
        call(written, "backtest", "flight_drift", "--since", "yesterday")


def test_status_says_budgets_and_limits(written: Any) -> None:
    written.train()
    written.serve_days(0, 3)
    call(written, "run-once")
    text = call(written, "status").output
    assert "channel ops: 1 false pages a quarter, 100% of a budget of 1" in text
    assert "limit ln 7.68 (2,160 windows)" in text


def test_a_rehearsal_has_its_own_log_and_its_own_history(written: Any, receiver: Any) -> None:
    written.train()
    replayed = written.replayed("july")
    replayed.serve_days(0, 2)
    replayed.serve_days(2, 8, shift=1.0)
    assert "nothing was served yet" in call(written, "run-once").output
    assert "10 new windows" in call(written, "run-once", "--replay", "july").output
    assert json.loads(receiver.requests[0][1])["data"]["replay"] is True
    assert json.loads(call(written, "status", "--format", "json").output)["alerts"] == []
    found = json.loads(call(written, "status", "--replay", "july", "--format", "json").output)
    assert found["replay"] == "july"
    assert [one["state"] for one in found["alerts"]] == ["firing"]
    assert found["outbox"]["delivered"] == 2
    text = call(written, "status", "--replay", "july").output
    assert text.startswith("REPLAY july, log complete up to 2013-07-11")
    assert "flight_delay@1: drift after 10 windows, 2,000 rows" in text


def test_status_of_a_monitor_that_never_ran(written: Any) -> None:
    result = call(written, "status")
    assert "Messages: 0 pending, 0 delivered, 0 dead" in result.output
    assert json.loads(call(written, "status", "--format", "json").output)["daemon"] is None


def test_what_was_decided_before_goes_out_even_if_this_run_fails(written: Any, receiver: Any) -> None:
    written.train()
    written.serve_days(0, 2)
    written.serve_days(2, 8, shift=1.0)
    with written.history() as history:
        run_policy(written, history, written.policy, now=datetime.now(UTC))
    written.apply(routes=["opps"])
    with pytest.raises(MonitorError, match="opps"):
        call(written, "run-once")
    assert len(receiver.requests) == 2


def test_a_channel_without_its_secret_holds_up_no_other(
    written: Any, receiver: Any, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NIGHT_SECRET", raising=False)
    written.train()
    written.serve_days(0, 2)
    written.serve_days(2, 8, shift=1.0)
    written.apply(routes=["ops", "night"])
    settings = written.config.root / "featurestore.toml"
    said = f'[channels.night]\nkind = "webhook"\nurl = "{receiver.url}"\nallow_private_addresses = true\n'
    settings.write_text(settings.read_text() + said + 'secret = "${NIGHT_SECRET}"\n')
    result = CliRunner().invoke(app, ["run-once", "--repo", str(written.config.root)])
    assert isinstance(result.exception, ConfigError)
    assert "channels.night.secret" in result.exception.message
    assert "Messages: 2 delivered, 2 put off, 0 given up." in result.output
    listed = call(written, "outbox", "list", "--channel", "night").output
    assert listed.count("pending after 1 attempt, next") == 2
    assert "NIGHT_SECRET, which is not set" in listed
    assert len(receiver.requests) == 2
    monkeypatch.setenv("NIGHT_SECRET", secret)
    with written.history() as history, history.write() as connection:
        connection.execute(update(schema.outbox).values(next_at=0))
    assert "Messages: 2 delivered, 0 put off, 0 given up." in call(written, "run-once").output


def test_a_policy_that_fails_holds_up_no_other(written: Any, receiver: Any) -> None:
    written.train()
    written.serve_days(0, 2)
    written.serve_days(2, 8, shift=1.0)
    written.registry.apply(
        [MonitorPolicy(name="a_broken_one", service=written.policy.definition.service, routes=["opps"])], who="test"
    )
    result = CliRunner().invoke(app, ["run-once", "--repo", str(written.config.root)])
    assert isinstance(result.exception, MonitorError)
    assert 'a_broken_one@1: Monitor policy "a_broken_one" routes to "opps"' in result.output
    assert "10 new windows, drift" in result.output
    assert len(receiver.requests) == 2


@pytest.mark.parametrize(
    "command", [["run-once"], ["start"], ["status"], ["parity", "flight_delay"], ["backtest", "flight_drift"]]
)
def test_a_rehearsal_that_never_was_is_named_and_not_made(written: Any, command: list[str]) -> None:
    written.replayed("july").serve_days(0, 1)
    with pytest.raises(ConfigError, match='no replay "juli"') as raised:
        call(written, *command, "--replay", "juli")
    assert "july" in raised.value.hint
    assert not written.replayed("juli").log.parent.exists()


def test_run_once_beside_another_monitor_is_refused(written: Any) -> None:
    with written.history() as history, sole_monitor(history), pytest.raises(MonitorError, match="Another monitor"):
        call(written, "run-once")


def test_without_a_policy_there_is_nothing_to_watch(written: Any) -> None:
    text = (written.config.root / "featurestore.toml").read_text().replace('"default"', '"empty"')
    (written.config.root / "featurestore.toml").write_text(text)
    for command in ("run-once", "start"):
        with pytest.raises(MonitorError, match="No monitor policy") as raised:
            call(written, command)
        assert "featurestore apply" in raised.value.hint


def test_parity_of_an_empty_log(written: Any) -> None:
    assert "0 rows (0 values) compared, 0 mismatches" in call(written, "parity", "flight_delay").output
    assert "has no row of this version" in call(written, "parity", "flight_delay").output
    found = json.loads(call(written, "parity", "flight_delay@1", "--format", "json").output)
    assert (found["service"], found["checked"], found["examples"]) == ("flight_delay@1", 0, [])


def test_start_works_until_it_is_told_to_stop(
    written: Any, receiver: Any, wait_for: Callable[[Callable[[], bool]], None]
) -> None:
    written.train()
    written.serve_days(0, 2)
    written.serve_days(2, 8, shift=1.0)
    command = [sys.executable, "-c", "from monitor.cli import app; app()", "start", "--repo", str(written.config.root)]
    process = Forked(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: len(receiver.requests) == 2)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert output.startswith("monitor of project default, every 0.2 s")
