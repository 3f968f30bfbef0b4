"""Each prediction once, the first; each outcome once, the one observed last."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.errors import OfflineStoreError, TimestampError
from featurestore.serving.feedback import OUTCOMES, PREDICTIONS, Kind, known_predictions, outcomes, predictions

START = datetime.fromisoformat("2024-05-01T00:00:00Z")
SECOND = timedelta(seconds=1)

#: Id or metric, the instant in seconds, the arrival in seconds; and in which file.
_SENT = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["", "revenue"]), st.integers(0, 9), st.integers(0, 9)),
    max_size=12,
)
_RANGE = st.tuples(st.none() | st.integers(0, 9), st.none() | st.integers(0, 10))


def put(folder: Path, kind: Kind, *files: list[dict[str, Any]]) -> None:
    for number, rows in enumerate(files):
        target = folder / kind.name / "churn" / f"w-0-{number:08d}.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=kind.stored), target)


def at(second: int | None) -> datetime | None:
    return None if second is None else START + second * SECOND


def within(second: int, start: int | None, end: int | None) -> bool:
    return (start is None or second >= start) and (end is None or second < end)


@settings(max_examples=60, deadline=None)
@given(sent=st.lists(_SENT, max_size=3), span=_RANGE)
def test_predictions_are_those_that_a_plain_loop_finds(
    tmp_path_factory: pytest.TempPathFactory, sent: list[list[Any]], span: tuple[int | None, int | None]
) -> None:
    folder = tmp_path_factory.mktemp("feedback")
    files = [
        [
            {"model": "churn@1", "prediction_id": name, "number": float(made), "predicted_at": at(made)}
            | {"logged_at": at(arrived)}
            for name, _, made, arrived in rows
        ]
        for rows in sent
    ]
    put(folder, PREDICTIONS, *files)
    first: dict[str, tuple[int, int]] = {}
    for name, _, made, arrived in (row for rows in sent for row in rows):
        if name not in first or arrived < first[name][1]:
            first[name] = (made, arrived)
    wanted = {(name, arrived) for name, (made, arrived) in first.items() if within(made, *span)}
    found = predictions(folder, "churn", at(span[0]), at(span[1])).to_pylist()
    # Of two that arrived in one instant either may be the first, so values are compared where there is one.
    assert {(one["prediction_id"], (one["logged_at"] - START) // SECOND) for one in found} >= wanted
    assert len({one["prediction_id"] for one in found}) == len(found)
    if span == (None, None):
        assert len(found) == len(first)
        assert {one["prediction_id"]: one["number"] for one in found} == {
            name: float(made) for name, (made, _) in first.items()
        }


@settings(max_examples=60, deadline=None)
@given(sent=st.lists(_SENT, max_size=3), span=_RANGE)
def test_outcomes_are_those_that_a_plain_loop_finds(
    tmp_path_factory: pytest.TempPathFactory, sent: list[list[Any]], span: tuple[int | None, int | None]
) -> None:
    folder = tmp_path_factory.mktemp("feedback")
    files = [
        [
            {"model": "churn", "prediction_id": name, "metric": metric, "number": float(arrived)}
            | {"observed_at": at(seen), "logged_at": at(arrived)}
            for name, metric, seen, arrived in rows
        ]
        for rows in sent
    ]
    put(folder, OUTCOMES, *files)
    last: dict[tuple[str, str], tuple[int, int]] = {}
    for name, metric, seen, arrived in (row for rows in sent for row in rows):
        if span[1] is None or seen < span[1]:
            last[name, metric] = max(last.get((name, metric), (-1, -1)), (seen, arrived))
    wanted = {(*key, *value) for key, value in last.items() if within(value[0], *span)}
    found = outcomes(folder, "churn", at(span[0]), at(span[1])).to_pylist()
    assert {
        (one["prediction_id"], one["metric"], (one["observed_at"] - START) // SECOND, int(one["number"]))
        for one in found
    } == wanted
    assert len(found) == len(wanted)


def test_a_version_gives_its_own_predictions_but_not_the_repeats_of_another_versions(tmp_path: Path) -> None:
    first = {"model": "churn@1", "prediction_id": "a", "number": 1.0, "predicted_at": at(1), "logged_at": at(1)}
    again = first | {"model": "churn@2", "logged_at": at(2)}
    other = first | {"model": "churn@2", "prediction_id": "b"}
    put(tmp_path, PREDICTIONS, [again, other], [first])
    assert [one["prediction_id"] for one in predictions(tmp_path, "churn").to_pylist()] == ["a", "b"]
    assert [one["prediction_id"] for one in predictions(tmp_path, "churn@2").to_pylist()] == ["b"]
    assert [one["prediction_id"] for one in predictions(tmp_path, "churn@1").to_pylist()] == ["a"]


def test_an_id_that_was_sent_before_the_range_is_not_in_it(tmp_path: Path) -> None:
    first = {"model": "churn@1", "prediction_id": "a", "number": 1.0, "predicted_at": at(1), "logged_at": at(1)}
    put(tmp_path, PREDICTIONS, [first], [first | {"predicted_at": at(5), "logged_at": at(5)}])
    assert predictions(tmp_path, "churn", start=at(4)).num_rows == 0
    assert predictions(tmp_path, "churn", start=at(0)).num_rows == 1


def test_nothing_logged_is_an_empty_table_of_the_same_columns(tmp_path: Path) -> None:
    assert predictions(tmp_path, "churn").schema == PREDICTIONS.stored
    assert outcomes(tmp_path, "churn").schema == OUTCOMES.stored


def test_a_range_needs_a_time_zone(tmp_path: Path) -> None:
    with pytest.raises(TimestampError, match="names no time zone"):
        predictions(tmp_path, "churn", start=datetime(2024, 5, 1))  # noqa: DTZ001 - that it has none is the point


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "outcomes" / "churn"
    folder.mkdir(parents=True)
    (folder / "w-0-00000001.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(OfflineStoreError, match=r"outcomes of churn in .* cannot be read"):
        outcomes(tmp_path, "churn")


def test_outcomes_that_a_later_one_replaces_can_be_asked_for_each_once(tmp_path: Path) -> None:
    first = {"model": "churn", "prediction_id": "a", "metric": "", "number": 0.0}
    first |= {"observed_at": at(1), "logged_at": at(1)}
    later = first | {"number": 1.0, "logged_at": at(2)}
    # In two files, as a merge that died leaves them.
    put(tmp_path, OUTCOMES, [first, later], [first])
    assert [one["number"] for one in outcomes(tmp_path, "churn").to_pylist()] == [1.0]
    assert sorted(one["number"] for one in outcomes(tmp_path, "churn", every=True).to_pylist()) == [0.0, 1.0]


def test_ids_are_known_under_which_any_version_predicted_at_any_time(tmp_path: Path) -> None:
    first = {"model": "churn@1", "prediction_id": "a", "number": 1.0, "predicted_at": at(1), "logged_at": at(1)}
    put(tmp_path, PREDICTIONS, [first, first | {"model": "churn@2", "prediction_id": "b"}])
    ids = pa.array(["a", "b", "c"])
    assert sorted(known_predictions(tmp_path, "churn@2", ids).to_pylist()) == ["a", "b"]
    assert known_predictions(tmp_path / "nothing", "churn", ids).to_pylist() == []
