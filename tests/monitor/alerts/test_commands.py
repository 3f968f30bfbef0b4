"""The commands about incidents, as they are typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from featurestore.errors import FeatureStoreError, MonitorError
from monitor.cli import app


@pytest.fixture
def written(make_scene: Callable[..., Any], receiver: Any, secret: str) -> Any:
    """A scene with a featurestore.toml, in which temp has drifted and incident 1 was told to channel ops."""
    scene = make_scene(url=receiver.url)
    (scene.config.root / "featurestore.toml").write_text(
        f"""
        project = "default"
        [monitor]
        poll_seconds = 0.2
        [channels.ops]
        kind = "webhook"
        url = "{receiver.url}"
        secret = "{secret}"
        allow_private_addresses = true
        """
    )
    scene.apply(retrain=False)
    scene.train()
    scene.serve_days(0, 3)
    scene.serve_days(3, 10, shift=1.0)
    call(scene, "run-once")
    return scene


def call(scene: Any, *arguments: str) -> Result:
    result = CliRunner().invoke(app, [*arguments, "--repo", str(scene.config.root)])
    if isinstance(result.exception, FeatureStoreError):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def sent(receiver: Any) -> list[dict[str, Any]]:
    return [json.loads(body)["data"] for _, body in receiver.requests]


def test_an_incident_is_told_as_a_timeline(written: Any) -> None:
    (line,) = call(written, "incidents").output.splitlines()
    assert "1  page    open  since 2013-07-04 00:00:00  service flight_delay@1: drift (" in line
    lines = call(written, "incident", "1").output.splitlines()
    assert lines[0] == "Incident 1: service flight_delay@1 (page, open)"
    whole = "\n".join(lines)
    happened = [one.split("  ")[2] for one in lines[lines.index("Timeline") + 1 :]]
    assert [one.partition(":")[0] for one in happened] == ["onset", "evidence", "fired", "told"]
    assert "evidence: ln " in whole
    assert "told: ops: delivered " in whole
    assert "do: Look at the sources of " in whole
    found = json.loads(call(written, "incident", "1", "--format", "json").output)
    assert (found["number"], found["state"], found["told"]) == (1, "open", ["ops"])
    assert [one["what"] for one in found["timeline"]] == ["onset", "evidence", "fired", "told"]
    with pytest.raises(MonitorError, match="no incident 2"):
        call(written, "incident", "2")


def test_who_acknowledges_is_named_where_people_look(written: Any, receiver: Any) -> None:
    assert "Incident 1 is yours" in call(written, "ack", "1", "--reason", "looking").output
    call(written, "run-once")
    assert [one["change"] for one in sent(receiver)] == ["ALERT_CHANGE_FIRED", "ALERT_CHANGE_ACKNOWLEDGED"]
    whole = call(written, "incident", "1").output
    assert "works on it since" in whole
    assert "acknowledged by " in whole
    assert ": looking" in whole
    (entry,) = written.registry.audit(action="acknowledge")
    assert entry.object == "incident 1"


def test_a_silence_is_made_shown_and_ended(written: Any, receiver: Any) -> None:
    made = call(written, "silence", "incident=1", "rule=drift", "--for", "2h", "--reason", "a move").output
    assert made.startswith("Silence 1 until ")
    assert "it is about 1 open incident: 1." in made
    assert "incident=1 rule=drift  by " in call(written, "silences").output
    assert "; silence 1 by " in call(written, "incident", "1").output
    written.serve_days(13, 12)
    call(written, "run-once")
    assert len(sent(receiver)) == 1
    assert call(written, "unsilence", "1").output == "Silence 1 is over.\n"
    call(written, "run-once")
    assert [one["change"] for one in sent(receiver)] == ["ALERT_CHANGE_FIRED", "ALERT_CHANGE_RESOLVED"]
    assert call(written, "silences").output == "Nothing is silenced.\n"
    assert "over since" in call(written, "silences", "--all").output
    assert [one.action for one in written.registry.audit() if "silence" in one.action] == ["silence", "unsilence"]
    with pytest.raises(MonitorError, match="no silence 1 that goes on"):
        call(written, "unsilence", "1")


def test_the_new_normal_as_it_is_typed(written: Any, receiver: Any) -> None:
    said = call(written, "accept", "1", "--for", "30d", "--reason", "a new airport").output
    assert "flight_delay@1: 10 windows from 2013-07-04 00:00 to 2013-07-14 00:00 (2,000 rows)" in said
    call(written, "run-once")
    assert sent(receiver)[-1]["change"] == "ALERT_CHANGE_CLOSED"
    assert (
        call(written, "incidents").output
        == "No incident goes on. Those that are over: featurestore monitor incidents --all\n"
    )
    assert " closed  since" in call(written, "incidents", "--all").output
    assert "a new airport" in call(written, "acceptances").output
    assert "compared again" in call(written, "revoke", "1", "--reason", "no").output
    (kept,) = json.loads(call(written, "acceptances", "--format", "json").output)
    assert (kept["counts"], kept["incident"]) == (False, 1)


def test_what_nothing_ends_by_itself_is_closed_by_hand(written: Any, receiver: Any) -> None:
    with pytest.raises(MonitorError, match="why this is over"):
        call(written, "close", "1", "--reason", " ")
    assert "Incident 1 is over: drift." in call(written, "close", "1", "--reason", "that version is retired").output
    call(written, "run-once")
    last = sent(receiver)[-1]
    assert last["change"] == "ALERT_CHANGE_CLOSED"
    assert "says that it is over (that version is retired)" in last["summary"]
    whole = call(written, "incident", "1").output
    assert "closed by" in whole
    assert "recovered" not in whole
    (entry,) = written.registry.audit(action="close")
    assert (entry.object, entry.details["rules"]) == ("incident 1", ["drift"])
    with pytest.raises(MonitorError, match="Incident 1 is over"):
        call(written, "close", "1", "--reason", "again")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("silence", "incident=1", "--reason", "x"), "until when"),
        (("silence", "incident=1", "--reason", "x", "--for", "2h", "--until", "2030-01-01T00:00:00Z"), "until when"),
        (("silence", "colour=red", "--reason", "x", "--for", "2h"), '"colour"'),
        (("accept", "1", "--reason", "x", "--for", "2d", "--windows", "today"), "which windows"),
        (("revoke", "3"), "Nothing of number 3"),
        (("close", "7", "--reason", "x"), "no incident 7"),
    ],
)
def test_what_cannot_be_meant_is_refused(written: Any, arguments: tuple[str, ...], why: str) -> None:
    with pytest.raises(MonitorError, match=why):
        call(written, *arguments)


def test_the_status_names_incidents_by_their_command(written: Any) -> None:
    text = call(written, "status").output
    assert "Alert of flight_delay@1 is firing since 2013-07-04" in text
    assert "Incident 1 (service flight_delay@1, page) is open: featurestore monitor incident 1" in text
