"""Which requests a batch is logged as, and that its worker is seen to live."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore.serving import batch
from featurestore.serving.batch import BatchLog, requests_of, sampled
from featurestore.serving.log import read_watermarks


@given(rows=st.integers(0, 50), most=st.integers(1, 20))
def test_the_requests_of_a_batch_have_each_row_once_and_in_order(rows: int, most: int) -> None:
    found = requests_of("r", rows, most)
    assert [row for _, start, end in found for row in range(start, end)] == list(range(rows))
    assert all(0 < end - start <= most for _, start, end in found)
    assert len({name for name, _, _ in found}) == len(found)
    if 0 < rows <= most:
        assert found == [("r", 0, rows)]


def test_all_is_logged_at_one_and_nothing_at_zero() -> None:
    requests = requests_of("r", 100, 1)
    assert sampled(requests, 1.0) == requests
    assert sampled(requests, 0.0) == []


def test_a_worker_whose_join_takes_long_is_not_taken_for_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "DEAD_AFTER_SECONDS", 0.2)
    with BatchLog(tmp_path, at=7, replay=False):
        (mark,) = read_watermarks(tmp_path)
        assert (mark.instant, mark.closed) == (7, False)
        os.utime(mark.file, (0, 0))
        deadline = time.monotonic() + 20
        while mark.file.stat().st_mtime == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert json.loads(mark.file.read_text()) == {"watermark": 8, "closed": True}
