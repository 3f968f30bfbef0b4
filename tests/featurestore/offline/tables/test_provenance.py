"""Rows parted by the load that they came from and the instant at which they came to be known."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa

from featurestore.offline.tables.arrivals import Run
from featurestore.offline.tables.carry_over import STRETCH
from featurestore.offline.tables.provenance import Origin, Origins, Provenance, stretches
from featurestore.registry.records import Load


def load(order: int, rows: int) -> Load:
    return Load(
        load_id=f"load-{order}",
        storage_id="weather-1",
        order=order,
        table_version=order,
        published_at=datetime(2013, 1, 1, tzinfo=UTC),
        rows_read=rows,
        rows_written=rows,
        rows_quarantined=0,
        reasons={},
        author="ada",
    )


def batch(numbers: list[int]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"wind": pa.array(numbers), STRETCH: pa.array(numbers)})


def test_rows_of_one_origin_may_have_come_at_several_instants_and_the_other_way_round() -> None:
    own, carried = load(1, 3), load(2, 9)
    whole = Origin(load=own, first=0, rows=3, load_id="load-1")
    parts = tuple(
        Origin(load=carried, first=first, rows=rows, load_id=name)
        for first, rows, name in ((0, 4, "a"), (4, 0, "none-passed"), (4, 5, "b"))
    )
    runs = [Run(load=own, first=0, at=10)] + [Run(load=carried, first=first, at=at) for first, at in ((0, 1), (6, 2))]
    found = [Origins(load=own, parts=(whole,)), Origins(load=carried, parts=parts, traced=True)]
    made = stretches(runs, found, [whole, parts[0], parts[2]])
    assert [(one.load.order, one.first, one.at, one.origin) for one in made] == [
        (1, 0, 10, "load-1"),
        (2, 0, 1, "a"),
        (2, 4, 1, ""),
        (2, 4, 1, "b"),
        (2, 6, 2, "b"),
    ]


def test_what_was_published_says_where_it_came_from_and_when() -> None:
    one = load(1, 9)
    parts = [Origin(load=one, first=0, rows=4, load_id="a"), Origin(load=one, first=4, rows=5, load_id="b")]
    runs = [Run(load=one, first=0, at=1), Run(load=one, first=2, at=2), Run(load=one, first=4, at=2)]
    provenance = Provenance(stretches(runs, [Origins(load=one, parts=tuple(parts), traced=True)], parts))
    published = 0
    for rows in provenance.parted([batch([0, 0, 1]), batch([1])]):  # of "b" none passes
        assert rows.schema.names == provenance.rest(batch([0]).schema).names == ["wind"]
        provenance.note(published)
        published += rows.num_rows
    assert provenance.arrivals() == [(0, 1), (2, 2)]
    assert provenance.origins(published) == [(0, "a"), (4, "b")]
