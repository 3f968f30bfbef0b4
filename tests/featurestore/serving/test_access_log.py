"""The access log: what a line says, and what becomes of the file."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from featurestore.errors import ConfigError
from featurestore.serving.access_log import AccessLog
from featurestore.serving.call_queue import Call, CallQueue

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALL = Call(
    ended_at=1_700_000_000_123_456_789,
    method="GetOnlineFeatures",
    service="churn@1",
    rows=2,
    code="OK",
    seconds=0.0012345,
    request_id="r-1",
    peer="ipv4:127.0.0.1:5",
    metadata=(("authorization", "Bearer secret"), ("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01")),
)


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_line_says_who_asked_what_and_what_became_of_it(tmp_path: Path) -> None:
    file = tmp_path / "new" / "access.jsonl"
    log = AccessLog(file, caller_of=lambda metadata: "web" if dict(metadata)["authorization"] else "")
    assert log([CALL]) == 0
    assert lines(file) == [
        {
            "time": "2023-11-14T22:13:20.123457+00:00",
            "method": "GetOnlineFeatures",
            "service": "churn@1",
            "rows": 2,
            "code": "OK",
            "duration_ms": 1.234,
            "request_id": "r-1",
            "peer": "ipv4:127.0.0.1:5",
            "caller": "web",
            "trace_id": TRACE,
        }
    ]
    assert "secret" not in file.read_text()
    assert file.stat().st_mode & 0o007 == 0
    log.close()


@pytest.mark.parametrize("header", [b"binary", "", "nonsense", "00-"])
def test_a_trace_header_that_cannot_be_read_is_none(tmp_path: Path, header: str | bytes) -> None:
    log = AccessLog(tmp_path / "access.jsonl")
    assert json.loads(log.line(CALL._replace(metadata=(("traceparent", header),))))["trace_id"] is None
    log.close()


def test_whatever_a_caller_names_a_request_stays_one_line(tmp_path: Path) -> None:
    file = tmp_path / "access.jsonl"
    log = AccessLog(file)
    log([CALL._replace(request_id='a"\n{"code": "OK"}\u2028')])
    log.close()
    assert len(file.read_bytes().splitlines()) == 1


def test_a_file_that_was_rotated_is_begun_anew_without_a_signal(tmp_path: Path) -> None:
    file, old = tmp_path / "access.jsonl", tmp_path / "access.jsonl.1"
    log = AccessLog(file)
    log([CALL])
    file.rename(old)
    log([CALL, CALL])
    assert (len(lines(old)), len(lines(file))) == (1, 2)
    file.unlink()
    log([CALL])
    assert len(lines(file)) == 1
    log.close()


def test_lines_of_several_writers_do_not_mix(tmp_path: Path) -> None:
    file = tmp_path / "access.jsonl"
    logs = [AccessLog(file) for _ in range(4)]
    threads = [threading.Thread(target=log, args=([CALL._replace(request_id="x" * 5000)] * 100,)) for log in logs]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    for log in logs:
        log.close()
    assert len(lines(file)) == 400


def test_a_disk_that_is_full_costs_counted_lines(tmp_path: Path) -> None:
    file = tmp_path / "access.jsonl"
    file.symlink_to("/dev/full")
    log = AccessLog(file)
    with capture_logs() as said:
        assert log([CALL, CALL]) == 2
        assert log([CALL]) == 1
        file.unlink()
        assert log([CALL]) == 0
    log.close()
    assert [line["event"] for line in said] == ["access log cannot be written", "access log is written again"]
    assert len(lines(file)) == 1


def test_standard_error_takes_lines_too(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert AccessLog(None)([CALL]) == 0
    assert json.loads(capfdbinary.readouterr().err)["request_id"] == "r-1"


def test_a_place_that_cannot_be_written_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"access log .* cannot be written") as caught:
        AccessLog(tmp_path / "file" / "access.jsonl")
    assert "access_log" in caught.value.hint


def test_a_queue_hands_over_all_that_it_took_and_counts_the_rest() -> None:
    taken: list[Call] = []
    entered, leave = threading.Event(), threading.Event()

    def slow(calls: Any) -> int:
        entered.set()
        assert leave.wait(20)
        taken.extend(calls)
        return 0

    queue = CallQueue("slow", slow, capacity=2)
    queue.offer(CALL)
    assert entered.wait(20)
    for _ in range(5):
        queue.offer(CALL)
    leave.set()
    queue.close()
    assert (len(taken), queue.dropped) == (3, 3)


def test_a_sink_that_fails_costs_what_it_had_and_not_what_follows() -> None:
    taken: list[Call] = []

    def sink(calls: Any) -> int:
        if not taken and calls[0].request_id == "bad":
            raise ZeroDivisionError
        taken.extend(calls)
        return 1

    queue = CallQueue("sink", sink, capacity=100)
    with capture_logs() as said:
        queue.offer(CALL._replace(request_id="bad"))
        while not queue.dropped:
            pass
        queue.offer(CALL)
        queue.close()
    assert [line["event"] for line in said] == ["calls cannot be written down"]
    assert (len(taken), queue.dropped) == (1, 2)
