"""Segments of the push log as bytes."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.errors import OfflineStoreError
from featurestore.pushing.segments import HEADER, Entry, body_of, frame_of, parse


def entry(first: int, users: list[str], *, view: str = "clicks") -> Entry:
    body = body_of(pa.RecordBatch.from_pydict({"user": pa.array(users, pa.string())}))
    return Entry(view=view, version=2, only=False, at=17, first=first, rows=len(users), body=body)


ENTRIES = st.builds(entry, st.integers(0, 9), st.lists(st.text(max_size=5), min_size=1, max_size=5))
FRAMES = st.lists(st.lists(ENTRIES, min_size=1, max_size=3), max_size=4)


@given(FRAMES)
def test_entries_come_back_as_they_were_written(frames: list[list[Entry]]) -> None:
    data = HEADER + b"".join(map(frame_of, frames))
    found = parse(data, "it")
    assert found.entries == tuple(one for frame in frames for one in frame)
    assert found.end == len(data)


@settings(max_examples=50)
@given(FRAMES, st.data())
def test_a_segment_that_is_torn_anywhere_keeps_its_whole_frames(frames: list[list[Entry]], data: st.DataObject) -> None:
    ends = [len(HEADER)]
    for frame in frames:
        ends.append(ends[-1] + len(frame_of(frame)))
    written = HEADER + b"".join(map(frame_of, frames))
    cut = data.draw(st.integers(0, len(written)))
    rest = data.draw(st.sampled_from([b"", bytes(500)]))  # a file system may have made the file longer than it wrote
    if rest and cut < len(HEADER):
        return
    torn = written[:cut] + rest
    whole = sum(torn[:end] == written[:end] for end in ends[1:])  # the zeros may be those that were cut off
    found = parse(torn, "it")
    assert found.entries == tuple(one for frame in frames[:whole] for one in frame)
    assert found.end == (ends[whole] if cut >= len(HEADER) else 0)


@settings(max_examples=200)
@given(st.lists(st.lists(ENTRIES, min_size=1, max_size=2), min_size=1, max_size=3), st.data())
def test_a_flipped_bit_or_a_cut_before_the_acknowledged_end_is_always_told(
    frames: list[list[Entry]], data: st.DataObject
) -> None:
    written = HEADER + b"".join(map(frame_of, frames))
    broken = bytearray(written)
    place = data.draw(st.integers(0, len(written) - 1))
    if data.draw(st.booleans()):
        broken[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del broken[place:]
    with pytest.raises(OfflineStoreError):
        parse(bytes(broken), "it", acknowledged=len(written))
    last = len(written) - len(frame_of(frames[-1]))
    if len(broken) == len(written) and place < last:  # with nothing known, what a whole frame follows is damage
        with pytest.raises(OfflineStoreError):
            parse(bytes(broken), "it")


def test_a_frame_that_is_broken_between_whole_ones_is_told_and_not_cut_off() -> None:
    first = frame_of([entry(0, ["a"])])
    data = bytearray(HEADER + first + frame_of([entry(1, ["b"])]))
    data[len(HEADER) + len(first) - 3] ^= 1
    with pytest.raises(OfflineStoreError, match=f"of it is damaged at byte {len(HEADER)}") as caught:
        parse(bytes(data), "of it")
    assert "backup" in caught.value.hint


def test_the_rest_of_a_segment_is_read_from_where_the_reader_was() -> None:
    first, second = frame_of([entry(0, ["a"])]), frame_of([entry(1, ["b"])])
    start = len(HEADER) + len(first)
    found = parse(second, "it", start=start)
    assert ([one.first for one in found.entries], found.end) == ([1], start + len(second))


def test_another_format_and_another_file_are_refused() -> None:
    with pytest.raises(
        OfflineStoreError, match=r"has format 99, of a newer release; this one, .*, reads up to 02"
    ) as caught:
        parse(b"fspush99", "it")
    assert "--flush" in caught.value.hint
    with pytest.raises(OfflineStoreError, match="is no push log"):
        parse(b"PAR1 and more", "it")


def test_what_a_neighbouring_release_says_of_an_entry_beside_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = frame_of([entry(0, ["a"])])
    with monkeypatch.context() as patched:
        dumps = json.dumps
        patched.setattr(json, "dumps", lambda said: dumps(said | {"tomorrow": 1}))
        longer = frame_of([entry(0, ["a"])])
    assert len(longer) > len(whole)
    assert parse(HEADER + longer, "it").entries == parse(HEADER + whole, "it").entries


@given(st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=8))
def test_rows_that_stay_keep_their_places_and_no_byte_of_the_others(users: list[str]) -> None:
    named = [f"{one}-marker-{one}" for one in users]
    whole = entry(5, named)
    left = whole.without(pa.array([one == "a" for one in users]))
    places = [one.first + offset for one in left for offset in range(one.rows)]
    assert places == [5 + place for place, one in enumerate(users) if one == "b"]
    assert [text for one in left for text in one.batch().column("user").to_pylist()] == ["b-marker-b"] * len(places)
    assert not any(b"a-marker-a" in one.body for one in left)
