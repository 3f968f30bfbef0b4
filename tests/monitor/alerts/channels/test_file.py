"""A file of JSON lines."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from featurestore.errors import ConfigError
from featurestore.settings.channels import FileConfig
from monitor.alerts.base import Kind, Status
from monitor.alerts.channels.file import File
from tests.contract.channel_far_sides.base import message

_NOW = datetime(2026, 5, 1, tzinfo=UTC)


def _file(path: Path) -> File:
    return File("audit", FileConfig(path=str(path)))


def _events(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def test_a_line_is_the_cloud_event_that_a_webhook_gets(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    said = message(Kind.FIRING, summary="Gl\u00fcck \u2028 \N{FIRE}")
    _file(path).deliver(said, now=_NOW)
    (event,) = _events(path)
    assert event["id"] == said.key
    assert event["type"] == "featurestore.v1.alert.firing"
    assert event["subject"] == said.incident
    assert event["data"] == said.payload
    assert path.stat().st_mode & 0o777 & ~0o640 == 0


def test_a_file_that_is_turned_over_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    file = _file(path)
    file.deliver(message(Kind.FIRING, key="msg_1"), now=_NOW)
    path.rename(tmp_path / "alerts.jsonl.1")
    file.deliver(message(Kind.RESOLVED, key="msg_2"), now=_NOW)
    assert [one["id"] for one in _events(tmp_path / "alerts.jsonl.1")] == ["msg_1"]
    assert [one["id"] for one in _events(path)] == ["msg_2"]


def test_after_a_line_that_was_torn_ours_begins_on_its_own(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    path.write_text('{"id": "half')
    _file(path).deliver(message(Kind.FIRING), now=_NOW)
    torn, ours = path.read_text().splitlines()
    assert torn == '{"id": "half'
    assert json.loads(ours)["id"] == "msg_1"


def test_what_a_full_disk_took_of_a_line_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "alerts.jsonl"
    file = _file(path)
    file.deliver(message(Kind.FIRING, key="msg_1"), now=_NOW)
    write = os.write

    def full(descriptor: int, content: bytes) -> int:
        if len(content) < 200:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, content[: len(content) - 100])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        outcome = file.deliver(message(Kind.FIRING, key="msg_2"), now=_NOW)
    assert (outcome.status, outcome.untaken) == (Status.RETRY, True)
    assert outcome.reason == f"{path} cannot be written: No space left on device"
    assert [one["id"] for one in _events(path)] == ["msg_1"]


def test_what_cannot_be_brought_to_the_disk_is_not_delivered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    path = tmp_path / "alerts.jsonl"
    assert _file(path).deliver(message(Kind.FIRING), now=_NOW).status is Status.RETRY
    assert path.read_text() == ""


def test_another_writer_that_holds_the_file_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    path.touch()
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert _file(path).deliver(message(Kind.FIRING), now=_NOW).status is Status.RETRY
    assert _file(path).deliver(message(Kind.FIRING), now=_NOW).status is Status.DELIVERED


def test_many_writers_tear_no_line(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    delivered: list[str] = []

    def write(name: int) -> None:
        file = _file(path)
        for number in range(20):
            key = f"msg_{name}_{number}"
            while file.deliver(message(Kind.FIRING, key=key), now=_NOW).status is not Status.DELIVERED:
                pass
            delivered.append(key)

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(str(one["id"]) for one in _events(path)) == sorted(delivered)


def test_a_place_that_cannot_be_written_is_found_without_writing(tmp_path: Path) -> None:
    assert _file(tmp_path / "new" / "alerts.jsonl").probe(now=_NOW).status is Status.DELIVERED
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "plain").write_text("no folder")
    for path in (tmp_path, tmp_path / "plain" / "alerts.jsonl"):
        for outcome in (_file(path).probe(now=_NOW), _file(path).deliver(message(Kind.FIRING), now=_NOW)):
            assert outcome.status is Status.RETRY
            assert str(path) in outcome.reason


def test_a_channel_without_a_path_is_refused() -> None:
    with pytest.raises(ConfigError, match='Channel "audit" names no file'):
        File("audit", FileConfig(path=""))
