"""The engine of the point-in-time join against brute force over plain Python rows, on files laid out at random."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.definitions import Entity, FeatureService, FeatureView, Field, storage_id
from featurestore.offline import engine
from featurestore.offline.join import answering
from featurestore.offline.join.entity_rows import check_entity_rows
from featurestore.offline.join.historical import HistoricalFeatures
from featurestore.offline.join.question import Question
from featurestore.offline.tables.snapshots import DataFile, Snapshot
from featurestore.settings.sections import OfflineConfig
from featurestore.types import Int64, String

START = datetime(2013, 11, 3, 5, 59, 59, 999_998, tzinfo=UTC)  # a night on which New York's clocks go back
PRESENT, NOT_FOUND, OUTSIDE_MAX_AGE = 1, 2, 3
INSTANT = pa.timestamp("us", tz="UTC")
# Few keys, few instants, so that everything collides; (1, "23") and (12, "3") would be one key if they were glued.
KEYS = st.sampled_from([(1, "23")] * 4 + [(12, "3")])
US = st.integers(0, 5)


@dataclass(frozen=True)
class Row:
    """A feature row, in microseconds."""

    key: tuple[int | None, str | None]
    event: int
    created: int | None
    value: int


@dataclass(frozen=True)
class Case:
    """Loads in order, each published at an instant; how they lie in files; and what is asked."""

    loads: Sequence[Sequence[Row]]
    published: Sequence[int]
    layout: str
    marked: bool
    ttl: int | None
    delay: int | None
    entities: Sequence[tuple[tuple[int | None, str | None], int]]
    as_of: int | None
    known_at: str | None
    with_status: bool
    memory: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    row = st.builds(Row, KEYS, US, st.none() | US, st.integers(0, 99))
    # Often several full loads: small ones seldom tie with each other.
    full = st.lists(st.lists(row, min_size=4, max_size=8), min_size=2, max_size=4)
    loads = draw(st.lists(st.lists(row, min_size=1, max_size=4), max_size=3) | full | full | full)
    published = sorted(draw(st.lists(US, min_size=len(loads), max_size=len(loads))))
    asked = KEYS | KEYS | KEYS | st.sampled_from([(None, "3"), (1, None), (9, "9")])
    entity = st.tuples(asked, st.integers(-1, 8))
    few, many = st.lists(entity, max_size=3), st.lists(entity, min_size=8, max_size=20)
    return Case(
        loads=loads,
        published=published,
        layout=draw(st.sampled_from(["loaded", "compacted", "by time"])),
        marked=draw(st.booleans()),
        ttl=draw(st.none() | st.integers(1, 3)),
        delay=draw(st.none() | st.none() | st.integers(0, 2)),
        entities=draw(few | many | many),
        as_of=draw(st.none() | st.none() | st.integers(-1, 6)),
        known_at=draw(st.sampled_from([None, "row", "row"])),
        with_status=draw(st.booleans()),
        memory=draw(st.sampled_from([400, 1 << 30])),
    )


def crowded(seed: int) -> Case:
    """Return a case in which nearly all rows matter; those that Hypothesis draws are often trivial."""
    random = Random(seed)
    earliest = random.choice([-1, 5])
    key = lambda: random.choice([(1, "23")] * 3 + [(12, "3")])  # noqa: E731
    loads = [
        [
            Row(key(), random.randint(0, 5), random.choice([None, random.randint(0, 5)]), random.randint(0, 10**6))
            for _ in range(random.randint(1, 8))
        ]
        for _ in range(random.randint(1, 4))
    ]
    return Case(
        loads=loads,
        published=sorted(random.randint(0, 5) for _ in loads),
        layout=random.choice(["loaded", "compacted", "by time"]),
        marked=random.random() < 0.7,
        ttl=random.choice([None, 1, 2, 3]),
        delay=random.choice([None, None, 0, 1, 2]),
        entities=[(key(), random.randint(earliest, 8)) for _ in range(20)],
        as_of=random.choice([None, random.randint(-1, 6)]),
        known_at=random.choice([None, "row"]),
        with_status=random.random() < 0.5,
        memory=random.choice([400, 1 << 30]),
    )


CASES = cases() | st.integers(0, 2**32).map(crowded) | st.integers(0, 2**32).map(crowded)


def answers(case: Case) -> list[tuple[int | None, int, int | None]]:
    """Return value, status and event time of each entity row, by looking at every row for each."""
    entries = [
        (row, load, number, case.published[load])
        for load, rows in enumerate(case.loads)
        for number, row in enumerate(rows)
        if case.as_of is None or case.published[load] <= case.as_of
    ]
    found: list[tuple[int | None, int, int | None]] = []
    for key, instant in case.entities:
        best, best_rank = None, None
        for row, load, number, published in entries:
            if row.key != key or row.event > instant:
                continue
            if case.known_at == "row":
                late = row.created if row.created is not None else published
                if (late if case.delay is None else row.event + case.delay) > instant:
                    continue
            rank = (row.event, -1 if row.created is None else row.created, load, number)
            if best_rank is None or rank > best_rank:
                best, best_rank = row, rank
        if best is None:
            found.append((None, NOT_FOUND, None))
        elif case.ttl is not None and instant - best.event > case.ttl:
            found.append((None, OUTSIDE_MAX_AGE, best.event))
        else:
            found.append((best.value, PRESENT, best.event))
    return found


def at(us: int | None) -> datetime | None:
    return None if us is None else START + timedelta(microseconds=us)


def laid_out(case: Case, folder: Path) -> Snapshot:
    """Write the rows as ingest does, load by load, or as compaction does, sorted, in one file or several."""
    entries = [(row, load, number) for load, rows in enumerate(case.loads) for number, row in enumerate(rows)]
    if case.layout == "loaded":
        files = [[one for one in entries if one[1] == load] for load in range(len(case.loads))]
    else:
        entries.sort(key=lambda one: (one[0].key, one[0].event))
        cut = 3 if case.layout == "by time" else 6
        files = [[one for one in entries if one[0].event < cut], [one for one in entries if one[0].event >= cut]]
    made = []
    for rows in filter(None, files):
        table = pa.table(
            {
                "number": pa.array([row.key[0] for row, _, _ in rows], pa.int64()),
                "code": pa.array([row.key[1] for row, _, _ in rows], pa.string()),
                "value": pa.array([row.value for row, _, _ in rows], pa.int64()),
                "event_timestamp": pa.array([at(row.event) for row, _, _ in rows], INSTANT),
                "created_timestamp": pa.array([at(row.created) for row, _, _ in rows], INSTANT),
                "load_id": pa.array([f"load{load}" for _, load, _ in rows], pa.string()),
                "row_number": pa.array([number for _, _, number in rows], pa.int64()),
            }
        )
        unique = len({(row.key, row.event) for row, _, _ in rows}) == len(rows)
        name = f"part-{uuid.uuid4()}{'-u' if unique and case.marked else ''}.parquet"
        pq.write_table(table, folder / name, row_group_size=3)
        events = table["event_timestamp"].cast(pa.int64()).to_pylist()
        made.append(DataFile(place=folder / name, rows=len(rows), size=1, first=min(events), last=max(events)))
    return Snapshot(version=len(made), files=tuple(sorted(made, key=lambda one: one.name)))


def question(case: Case, folder: Path) -> Question:
    view = FeatureView(
        name="seats",
        entities=[Entity(name="place", join_keys=["number", "code"], dtypes=[Int64, String])],
        ttl=None if case.ttl is None else timedelta(microseconds=case.ttl),
        delay=None if case.delay is None else timedelta(microseconds=case.delay),
        schema=[Field(name="value", dtype=Int64)],
    )
    service = FeatureService(name="offer", features=[view])
    given_rows = pa.table(
        {
            "number": pa.array([key[0] for key, _ in case.entities], pa.int64()),
            "code": pa.array([key[1] for key, _ in case.entities], pa.string()),
            "event_timestamp": pa.array([at(instant) for _, instant in case.entities], INSTANT),
            "position": pa.array(range(len(case.entities)), pa.int64()),
        }
    )
    ledger = [(storage_id(view), f"load{load}", load + 1, at(us)) for load, us in enumerate(case.published)]
    ledger += [("another_table", f"load{load}", 9 - load, at(9)) for load in range(len(case.loads))]
    types = [pa.string(), pa.string(), pa.int64(), INSTANT]
    names = ["storage_id", "load_id", "load_order", "published_at"]
    return Question(
        service=service,
        label="offer@1",
        rows=check_entity_rows(given_rows, service, "event_timestamp", with_status=case.with_status),
        tables={"seats": laid_out(case, folder) if case.loads else None},
        ledger=pa.table(
            [pa.array([one[place] for one in ledger], dtype) for place, dtype in enumerate(types)], names=names
        ),
        with_status=case.with_status,
        as_of=at(case.as_of),
        known_at="row" if case.known_at else None,
        offline=OfflineConfig(threads=1, memory_limit="500MB"),
        spill=folder / ".spill",
    )


def check(case: Case) -> None:
    """Join, and compare with :func:`answers`; entity rows come back all, once, in order."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        # So that few rows are several parts, wait on disk, and are joined in several passes.
        patch.setattr(answering, "_part_rows", lambda _: 5)
        patch.setattr(engine, "memory_limit", lambda _: case.memory)
        result = HistoricalFeatures(question(case, Path(folder))).to_arrow()
        assert [file.name for file in Path(folder).rglob("*.arrow")] == []
    expected = answers(case)
    assert result["position"].to_pylist() == list(range(len(case.entities)))
    assert result["value"].to_pylist() == [value for value, _, _ in expected]
    if case.with_status:
        assert result["seats__status"].to_pylist() == [status for _, status, _ in expected]
        assert result["seats__event_timestamp"].to_pylist() == [at(event) for _, _, event in expected]


@settings(max_examples=100, deadline=None)
@given(case=CASES)
def test_the_engine_agrees_with_brute_force(case: Case) -> None:
    """Ties within and between loads, late rows, compaction, marks, as_of, known_at, delays, TTLs, passes, spilling."""
    check(case)
