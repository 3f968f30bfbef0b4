"""Predictions as a stream: each once, whichever way it came, as the reader of predictions has them."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.config import Config
from featurestore.errors import MonitorError
from featurestore.serving.feedback import PREDICTIONS, predictions
from featurestore.serving.feedback.segments import write_segment
from featurestore.settings.sections import MonitorConfig
from monitor.windows import Cut, Judged, PredictionStream, late_rows

_START = datetime(2026, 1, 1, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)


def _segment(folder: Path, name: str, rows: list[tuple[str, int, int, str]]) -> Path:
    """Write (id, minute predicted, minute logged, version) as a file of the log."""
    columns: dict[str, list[Any]] = {name: [None] * len(rows) for name in PREDICTIONS.stored.names}
    columns |= {
        "model": [f"m@{version}" for *_, version in rows],
        "prediction_id": [one for one, *_ in rows],
        "number": [float(minute) for _, minute, *_ in rows],
        "predicted_at": [_START + minute * _MINUTE for _, minute, *_ in rows],
        "logged_at": [_START + minute * _MINUTE for *_, minute, _ in rows],
    }
    file = folder / "predictions" / "m" / f"{name}.parquet"
    write_segment(file, pa.table(columns, schema=PREDICTIONS.stored))
    return file


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(root=tmp_path, monitor=MonitorConfig())


def _folder(config: Config) -> Path:
    return config.path(config.serving.feedback_path)


_rows = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.integers(0, 30), st.sampled_from("12")), min_size=1, max_size=12
)


@given(_rows, st.sampled_from(["m", "m@1"]))
@settings(max_examples=15, deadline=None)
def test_windows_have_what_the_reader_of_predictions_has(rows: list[tuple[str, int, str]], model: str) -> None:
    with tempfile.TemporaryDirectory() as root:
        config = Config(root=Path(root))
        # Each arrives at an instant of its own: which of two that came at once was the first, nobody can say.
        arrived = [(key, minute, at, version) for at, (key, minute, version) in enumerate(rows)]
        _segment(_folder(config), "w-0-1", arrived[::2])
        if arrived[1::2]:
            _segment(_folder(config), "w-0-2", arrived[1::2])
        with PredictionStream(config, model) as stream:
            closed = stream.closed_windows(Cut(size=7 * _MINUTE), since=None, watermark=_START + 60 * _MINUTE)
            found: list[str] = []
            for window in closed.windows:
                with stream.read(window, ["prediction_id"]) as reader:
                    table = reader.read_all()
                assert table.num_rows == window.rows
                found += table.column("prediction_id").to_pylist()
        expected = predictions(_folder(config), model).column("prediction_id").to_pylist()
        assert sorted(found) == sorted(expected)


def test_a_repeat_is_no_late_row_and_what_was_kept_back_is(config: Config) -> None:
    _segment(_folder(config), "w-0-1", [("a", 1, 1, "1"), ("b", 2, 2, "1")])
    with PredictionStream(config, "m@1") as stream:
        assert stream.watermark(now=_START) == _START
        closed = stream.closed_windows(Cut(size=5 * _MINUTE), since=None, watermark=_START + 5 * _MINUTE)
        ledger = [Judged(begin=one.begin, stop=one.stop, rows=one.rows) for one in closed.windows]
        _segment(_folder(config), "w-0-2", [("a", 1, 8, "1"), ("a", 3, 9, "1"), ("c", 3, 9, "1")])
        assert late_rows(stream, ledger, reached=closed.position).by_window == (1,)


def test_files_that_were_merged_since_they_were_listed_are_found(config: Config) -> None:
    first = _segment(_folder(config), "w-0-1", [("a", 1, 1, "1")])
    second = _segment(_folder(config), "w-0-2", [("b", 2, 2, "1")])
    with PredictionStream(config, "m@1") as stream:
        (window,) = stream.closed_windows(Cut(size=5 * _MINUTE), since=None, watermark=_START + 5 * _MINUTE).windows
        _segment(_folder(config), "w-1-2", [("a", 1, 1, "1"), ("b", 2, 2, "1")])
        first.unlink()
        second.unlink()
        with stream.read(window, ["prediction_id"]) as reader:
            assert reader.read_all().column("prediction_id").to_pylist() == ["a", "b"]


def test_a_damaged_file_is_named(config: Config) -> None:
    _segment(_folder(config), "w-0-1", [("a", 1, 1, "1")]).with_name("torn.parquet").write_bytes(b"PAR1")
    with (
        PredictionStream(config, "m@1") as stream,
        pytest.raises(MonitorError, match=r"torn\.parquet in the log of pre"),
    ):
        stream.period(None, None)
