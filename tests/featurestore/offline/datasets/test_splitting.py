"""The part of a row depends on the row and the split, and on nothing else."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore import GroupSplit, KeySplit, RandomSplit, TimeSplit
from featurestore.definitions import Split
from featurestore.errors import SchemaError
from featurestore.offline.datasets.splitting import assigned, counts, fixed
from featurestore.offline.join.entity_rows import EntityRows

START = datetime(2013, 1, 1, tzinfo=UTC)
THREE = {"train": 0.6, "validation": 0.1, "test": 0.3}


def entity_rows(keys: Sequence[Any], hours: Sequence[int], **columns: Any) -> EntityRows:
    instants = pa.array([START + timedelta(hours=hour) for hour in hours], pa.timestamp("us", "UTC"))
    typed = pa.table({"user": pa.array(keys), "event_timestamp": instants})
    given = typed
    for name, values in columns.items():
        given = given.append_column(name, values if isinstance(values, pa.Array) else pa.array(values))
    return EntityRows(given=given, typed=typed, notes=())


def parts(split: Split, rows: EntityRows) -> list[str]:
    found: list[str] = assigned(fixed(split, rows), rows, ["user"]).to_pylist()
    return found


def text(value: Any) -> bytes:
    """The bytes that stand for a value, as the documentation says it."""
    if value is None:
        return b",n"
    if isinstance(value, bool):
        said = b"1" if value else b"0"
    elif isinstance(value, float):
        said = str(struct.unpack("<q", struct.pack("<d", value + 0.0))[0]).encode()
    elif isinstance(value, datetime):
        said = str((value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)).encode()
    elif isinstance(value, date):
        said = str((value - date(1970, 1, 1)).days).encode()
    elif isinstance(value, bytes):
        said = value
    else:
        said = str(value).encode() if isinstance(value, (int, str)) else repr(value).encode()
    return b",v%d:%s" % (len(said), said)


def expected(shares: dict[str, float], seed: int, *values: Any) -> str:
    digest = sha256(str(seed).encode() + b"".join(map(text, values))).digest()
    chance = int.from_bytes(digest[:8], "big") / 2**64
    end = 0.0
    for part, share in shares.items():
        end += share
        if chance < end:
            return part
    return list(shares)[-1]


VALUES = st.one_of(
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=30),
    st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=6), min_size=1, max_size=30),
    st.lists(st.none() | st.floats(allow_nan=False), min_size=1, max_size=30),
    st.lists(st.none() | st.booleans(), min_size=1, max_size=30),
    st.lists(st.none() | st.binary(max_size=4), min_size=1, max_size=30),
    st.lists(st.none() | st.dates(), min_size=1, max_size=30),
    st.lists(st.none() | st.decimals(-99, 99, places=2), min_size=1, max_size=30),
)


@settings(max_examples=150, deadline=None)
@given(VALUES, st.integers(-5, 5))
def test_a_group_is_where_its_hash_puts_it(values: list[Any], seed: int) -> None:
    rows = entity_rows([1] * len(values), range(len(values)), group=values)
    found = parts(GroupSplit(column="group", shares=THREE, seed=seed), rows)
    assert found == [expected(THREE, seed, value) for value in rows.given.column("group").to_pylist()]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), min_size=1, max_size=40),
    st.randoms(use_true_random=False),
    st.sampled_from(
        [
            KeySplit(shares=THREE, seed=3),
            RandomSplit(shares=THREE),
            TimeSplit(test=START + timedelta(hours=4)),
            TimeSplit(shares={"train": 0.5, "test": 0.5}),
        ]
    ),
)
def test_the_order_of_rows_changes_no_rows_part(rows: list[tuple[int, int]], random: Any, split: Split) -> None:
    def by_row(these: list[tuple[int, int]]) -> dict[tuple[int, int], str]:
        found = entity_rows([key for key, _ in these], [hour for _, hour in these])
        return dict(zip(these, parts(split, found), strict=True))

    shuffled = list(rows)
    random.shuffle(shuffled)
    assert by_row(shuffled) == by_row(rows)
    if not isinstance(split, TimeSplit):
        assert by_row(rows[:1]) == {rows[0]: by_row(rows)[rows[0]]}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=40))
def test_a_key_is_in_one_part_and_a_row_is_where_keys_and_instant_put_it(rows: list[tuple[int, int]]) -> None:
    found = entity_rows([key for key, _ in rows], [hour for _, hour in rows])
    by_key: dict[int, set[str]] = {}
    for (key, _), part in zip(rows, parts(KeySplit(shares=THREE), found), strict=True):
        by_key.setdefault(key, set()).add(part)
    assert by_key == {key: {expected(THREE, 0, key)} for key, _ in rows}
    instants = [START + timedelta(hours=hour) for _, hour in rows]
    assert parts(RandomSplit(shares=THREE, seed=9), found) == [
        expected(THREE, 9, key, instant) for (key, _), instant in zip(rows, instants, strict=True)
    ]


def test_composite_keys_do_not_run_into_each_other() -> None:
    typed = pa.table({"a": ["1", "12"], "b": ["23", "3"], "event_timestamp": pa.array([START] * 2)})
    rows = EntityRows(given=typed, typed=typed, notes=())
    for seed in range(64):
        split = KeySplit(shares={"train": 0.5, "test": 0.5}, seed=seed)
        found = assigned(split, rows, ["a", "b"]).to_pylist()
        assert found == [expected(dict(split.shares), seed, *pair) for pair in (("1", "23"), ("12", "3"))]
        if found[0] != found[1]:
            return
    pytest.fail("the two keys were never told apart")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([1, 2, None], pa.int8()), pa.array([1, 2, None], pa.int64())),
        (pa.array(["a", None]), pa.array(["a", None]).dictionary_encode()),
        (pa.array(["a", None]), pa.array(["a", None]).cast(pa.string_view())),
        (pa.array(["a", None]), pa.array(["a", None], pa.large_string())),
        (pa.array([b"a", None]), pa.array([b"a", None]).cast(pa.binary_view())),
        (pa.array([0.0, 1.5]), pa.array([-0.0, 1.5])),
        (pa.array([1.5, None]), pa.array([1.5, None], pa.float32())),
        (pa.array([START]), pa.array([START], pa.timestamp("ms", "Europe/Berlin"))),
        (pa.array([date(2013, 1, 1)]), pa.array([date(2013, 1, 1)], pa.date64())),
    ],
    ids=["integers", "dictionary", "view", "large", "blobs", "zeros", "floats", "instants", "dates"],
)
def test_how_a_value_is_held_changes_nothing(one: pa.Array, other: pa.Array) -> None:
    for seed in range(20):
        split = GroupSplit(column="group", shares=THREE, seed=seed)
        found = [parts(split, entity_rows([1] * len(array), [0] * len(array), group=array)) for array in (one, other)]
        assert found[0] == found[1]


def test_shares_come_out_as_they_were_asked_for() -> None:
    rows = entity_rows(np.arange(20_000), [0] * 20_000)
    found = counts(assigned(KeySplit(shares=THREE), rows, ["user"]), KeySplit(shares=THREE))
    assert sum(found.values()) == 20_000
    for part, share in THREE.items():
        assert abs(found[part] / 20_000 - share) < 0.02


def test_by_time_a_part_begins_at_its_instant() -> None:
    split = TimeSplit(validation=START + timedelta(hours=2), test=START + timedelta(hours=3))
    rows = entity_rows([1] * 5, [0, 1, 2, 3, 4])
    assert parts(split, rows) == ["train", "train", "validation", "test", "test"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=40), st.sampled_from([0.3, 0.5, 0.8]))
def test_shares_of_time_never_part_rows_of_one_instant_and_take_the_oldest_to_train(
    hours: list[int], share: float
) -> None:
    rows = entity_rows([1] * len(hours), hours)
    split = TimeSplit(shares={"train": share, "test": 1 - share})
    found = fixed(split, rows)
    assert isinstance(found, TimeSplit)
    assert found.shares is None
    cut = found.cuts["test"]
    where = dict(zip(hours, parts(split, rows), strict=True))
    assert all((part == "test") == (START + timedelta(hours=hour) >= cut) for hour, part in where.items())
    train = sum(where[hour] == "train" for hour in hours)
    assert train <= share * len(hours) + 1
    # One more instant would be more than its share.
    at_cut = sum(START + timedelta(hours=hour) == cut for hour in hours)
    assert not at_cut or train + at_cut > share * len(hours) - 1e-6


def test_an_instant_that_fills_two_parts_is_refused() -> None:
    rows = entity_rows([1] * 10, [0] * 4 + [1] * 6)
    with pytest.raises(SchemaError, match="leaves no instant between validation and test"):
        fixed(TimeSplit(shares={"train": 0.5, "validation": 0.2, "test": 0.3}), rows)


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(SchemaError, match='no column "costumer" to split by') as raised:
        assigned(GroupSplit(column="costumer"), entity_rows([1], [0], customer=["a"]), ["user"])
    assert raised.value.hint == 'Did you mean "customer"?'


def test_decimals_and_lists_have_a_part_too() -> None:
    for values in ([Decimal("1.50"), None], [[1, 2], None], [{"a": 1}, {"a": None}]):
        rows = entity_rows([1, 1], [0, 0], group=pa.array(values))
        assert parts(GroupSplit(column="group", shares=THREE), rows) == [expected(THREE, 0, one) for one in values]


def test_the_split_is_the_same_in_every_release() -> None:
    """Manifests say the split and not each row's part; a change of the algorithm needs a new manifest format."""
    rows = entity_rows([1, 2, 3, 4, 5, 6, 7, 8], range(8))
    letters = {"train": "t", "validation": "v", "test": "e"}
    found = ["".join(letters[part] for part in parts(split, rows)) for split in (KeySplit(shares=THREE), RandomSplit())]
    assert found == ["ettvttte", "ttttettt"]
