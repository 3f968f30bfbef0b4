"""``featurestore monitor outbox``, as it is typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from featurestore.errors import FeatureStoreError, MonitorError
from monitor.alerts.base import Kind
from monitor.alerts.outbox import enqueue
from monitor.cli import app

_WHO_SENDS = "The monitor that runs sends them; without one: featurestore monitor run-once\n"


@pytest.fixture
def written(make_scene: Callable[..., Any], receiver: Any, secret: str) -> Any:
    """A scene whose folder has a featurestore.toml that says the same."""
    scene = make_scene(url=receiver.url)
    (scene.config.root / "featurestore.toml").write_text(
        f"""
        project = "default"
        [channels.ops]
        kind = "webhook"
        url = "{receiver.url}"
        secret = "{secret}"
        allow_private_addresses = true
        fallback = "here"
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


def put(scene: Any, incident: str, *, channel: str = "ops", severity: str = "ticket") -> None:
    with scene.history() as history, history.write() as connection:
        enqueue(
            connection,
            instance=history.instance,
            channel=channel,
            kind=Kind.FIRING,
            project="default",
            service="f@1",
            incident=incident,
            sequence="1",
            severity=severity,
            payload={"summary": "it drifts", "features": [], "baseline": "d@1"},
            now=datetime.now(UTC),
        )


def test_an_outbox_without_messages_says_so(written: Any) -> None:
    assert call(written, "outbox", "list").output == "There is no such message.\n"
    assert json.loads(call(written, "outbox", "list", "--format", "json").output) == {"messages": [], "disabled": {}}


def test_a_channel_whose_receiver_is_gone_says_so_everywhere_and_is_on_again_when_told(
    written: Any, receiver: Any
) -> None:
    receiver.answers = [(410, {})]
    put(written, "a", severity="page")
    put(written, "b")
    # What was delivered is the page, to the fallback.
    said = call(written, "run-once").output
    assert "Messages: 1 delivered, 0 put off, 2 given up.\n1 page went to a fallback as well" in said
    listed = call(written, "outbox", "list", "--dead").output
    assert "Channel ops is disabled: http://127.0.0.1" in listed
    assert "answered 410" in listed
    assert listed.count(", dead") == 2
    assert "featurestore monitor outbox replay --dead --channel ops" in listed
    assert "in place of ops" in call(written, "outbox", "list", "--channel", "here").output
    assert "Channel ops is disabled" in call(written, "status").output
    done = call(written, "outbox", "replay", "--dead", "--channel", "ops").output
    assert done == "Channel ops takes messages again.\n2 to be sent again, 0 overtaken meanwhile\n" + _WHO_SENDS
    assert "2 delivered" in call(written, "run-once").output
    assert len({json.loads(body)["id"] for _, body in receiver.requests}) == 2
    assert call(written, "outbox", "list", "--dead").output == "There is no such message.\n"
    assert "disabled" not in call(written, "status").output


def test_one_message_is_named_by_the_beginning_of_its_key(written: Any, receiver: Any) -> None:
    put(written, "a")
    receiver.answers = [(500, {})]
    call(written, "run-once")
    listed = json.loads(call(written, "outbox", "list", "--pending", "--format", "json").output)
    (one,) = listed["messages"]
    assert (one["state"], one["attempts"], one["doubtful"]) == ("pending", 1, False)
    assert "after 1 attempt, next" in call(written, "outbox", "list").output
    assert "1 to be sent again" in call(written, "outbox", "replay", one["key"][:12]).output
    assert "1 delivered" in call(written, "run-once").output


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--dead", "--pending"),
        ("list", "--channel", "opps"),
        ("replay",),
        ("replay", "msg_1", "--dead"),
        ("replay", "msg_1", "--channel", "ops"),
        ("replay", "msg_1"),
        ("replay", "--dead", "--channel", "opps"),
    ],
)
def test_what_names_nothing_is_one_clear_error(written: Any, arguments: tuple[str, ...]) -> None:
    with pytest.raises(MonitorError) as raised:
        call(written, "outbox", *arguments)
    assert raised.value.hint


def test_messages_for_a_channel_that_was_removed_are_found(written: Any) -> None:
    put(written, "a", channel="gone")
    assert "gone: firing of f@1, ticket, pending" in call(written, "outbox", "list", "--channel", "gone").output


def test_a_rehearsal_has_an_outbox_of_its_own(written: Any) -> None:
    put(written, "a")
    written.config.path("data/replays/july").mkdir(parents=True)
    assert call(written, "outbox", "list", "--replay", "july").output == "There is no such message.\n"
