"""The newest feature row of each entity row, whatever the order, batches and threads in which the rows come."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from featurestore.offline.join.threads import in_threads
from featurestore.offline.join.timelines import CODE, Timelines

Key = tuple[str | None, int | None]


def columns_of(keys: list[Key]) -> list[pa.ChunkedArray]:
    texts, numbers = [key[0] for key in keys], [key[1] for key in keys]
    return [
        pa.chunked_array([texts[:70], [], texts[70:]], pa.string()),
        pa.chunked_array([numbers[:9], numbers[9:]], pa.int64()),
    ]


def codes_of(timelines: Timelines) -> dict[Key, int]:
    rows = timelines.keys.to_pylist()
    assert [row[CODE] for row in rows] == list(range(len(rows)))
    return {(row["k0"], row["k1"]): row[CODE] for row in rows}


@pytest.mark.parametrize("far", [False, True])  # whether keys and instants do not fit into one number to sort by
@pytest.mark.parametrize("seed", range(6))
def test_the_newest_row_up_to_each_instant_is_found_and_ties_are_told(seed: int, far: bool) -> None:
    random = Random(seed)
    keys: list[Key] = [("1", 23), ("12", 3), (None, 3), ("12", None), ("alone", 0)]
    low = -(2**62) if far else -50
    asked = [(random.choice(keys), random.choice([low, *range(-9, 30), 2**62 if far else 60])) for _ in range(200)]
    timelines = Timelines(columns_of([key for key, _ in asked]), np.array([instant for _, instant in asked]))
    codes = codes_of(timelines)
    assert set(codes) == {key for key, _ in asked}
    rows = [(random.choice(list(codes)), random.randint(-5, 35)) for _ in range(random.choice([5, 60, 400]))]
    batches = []
    for first in range(0, len(rows), 16):
        some = rows[first : first + 16]
        code = np.array([codes[key] for key, _ in some], np.int32)
        batches.append((code, np.array([event for _, event in some]), np.arange(first, first + len(some))))
    in_threads(timelines.offer, batches, 2)

    newest = {
        place: max((event for key, event in rows if key == asked_key and event <= instant), default=None)
        for place, (asked_key, instant) in enumerate(asked)
    }
    tied = timelines.tied()
    names = {code: key for key, code in codes.items()}
    told = {(names[code], instant) for code, instant in zip(tied.codes.tolist(), tied.instants.tolist(), strict=True)}
    matched = {(asked[place][0], event) for place, event in newest.items() if event is not None}
    assert told == {match for match in matched if rows.count(match) > 1}
    last = {row: place for place, row in enumerate(rows)}
    chosen = [last[names[code], event] for code, event in zip(tied.codes.tolist(), tied.instants.tolist(), strict=True)]
    timelines.settle(tied.slots, np.array(chosen, np.int64))
    places, events = timelines.answers()
    for place, event in newest.items():
        expected: tuple[int, int] = (-1, 0) if event is None else (last[asked[place][0], event], event)
        assert (places[place], events[place]) == expected


def test_event_times_may_be_other_than_the_instants_by_which_rows_are_ordered() -> None:
    timelines = Timelines([pa.chunked_array([[7, 7, 8, 7]])], np.array([10, 5, 5, 1]))
    code = {row["k0"]: row[CODE] for row in timelines.keys.to_pylist()}
    for key, *row in [(7, 4, 0, 3), (7, 9, 1, 8), (8, 6, 2, 1)]:
        candidate, place, event = (np.array([one]) for one in row)
        timelines.offer(np.array([code[key]], np.int32), candidate, place, event)
    places, events = timelines.answers()
    assert (places.tolist(), events.tolist()) == ([1, 0, -1, -1], [8, 3, 0, 0])


def test_keys_that_are_equal_are_one_key() -> None:
    nan = float("nan")
    keys = Timelines([pa.chunked_array([[nan, 1.5], [nan, None]])], np.zeros(4, np.int64)).keys
    assert repr(keys["k0"].to_pylist()) == repr([nan, 1.5, None])


def test_the_first_error_of_a_thread_is_raised_and_ends_the_work() -> None:
    seen: list[int] = []

    def work(number: int) -> None:
        seen.append(number)
        if number == 3:
            raise ValueError("three")

    def items() -> Any:
        for number in range(1000):
            yield (number,)

    with pytest.raises(ValueError, match="three"):
        in_threads(work, items(), 2)
    assert len(seen) < 20
