"""Which stored row answers each entity row, as Spark's SQL; the rules are those of the join in DuckDB.

The rows of both sides are put in one order of keys and instants, and a window over it carries the newest feature row
along to each entity row: one shuffle and one sort, whatever the keys. Spark 4.3 has an AS OF join of its own, behind
``spark.sql.join.asofJoin.enabled``, and it is not used: it has no rules for rows that tie or were not known yet, and
what it costs rises with the rows of a key (docs/scaling.md has figures, ``benchmarks scale spark`` measures them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from featurestore.definitions import FeatureView
from featurestore.definitions.names import LOAD_ID
from featurestore.offline.join.question import KnownAt
from featurestore.offline.join.visible_rows import hides
from featurestore.types import microseconds

LOWEST, _LATEST = -9_200_000_000_000_000_000, 9_200_000_000_000_000_000
#: What orders rows of one key, oldest first: a load that is not in the ledger counts as the newest.
RANK = ("event", "made", "load_order", "number")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What is seen of a view's rows, and when.

    Attributes:
        view: the view.
        loads: the ledger of its loads, as ``ledger_of`` returns it.
        as_of: rows ingested later are not seen; None sees all.
        known_at: ``row`` sees of each entity row only what could be known at its instant.
    """

    view: FeatureView
    loads: pa.Table
    as_of: datetime | None
    known_at: KnownAt | None

    @property
    def rising(self) -> bool:
        """Whether a row counts from another instant on than its event time."""
        return self.known_at is not None and self.view.delay is None

    def until(self) -> str:
        """Return up to which instant rows could be known, as SQL over the entity row's ``instant``."""
        if self.known_at is None or self.view.delay is None:
            return "instant"
        delay = self.view.delay // timedelta(microseconds=1)
        return f"greatest(instant, {LOWEST + delay}) - {delay}"


def ranked(spark: Any, rows: Any, seen: Seen, features: Sequence[str]) -> Any:
    """Return the rows that are seen, with ``since``, from when on each counts, and what orders them.

    Args:
        spark: the session.
        rows: as :func:`~featurestore.offline.spark.reading.rows_of` returns them.
        seen: which.
        features: the columns of features.
    """
    keys = [f"r.k{place}" for place in range(len(seen.view.keys))]
    since = f"greatest(r.event, coalesce(r.made, l.published, {_LATEST}))" if seen.rising else "r.event"
    columns = [
        *keys,
        f"{since} AS since",
        "r.event",
        f"coalesce(r.made, {LOWEST}) AS made",
        f"coalesce(l.load_order, {_LATEST}) AS load_order",
        "r.number",
        *(f"r.{name}" for name in features),
    ]
    hidden = seen.as_of is not None and hides(seen.view, seen.loads, seen.as_of)
    where = f"WHERE l.published <= {microseconds(seen.as_of)}" if hidden and seen.as_of is not None else ""
    return spark.sql(
        f"SELECT /*+ BROADCAST(l) */ {', '.join(columns)} FROM {{rows}} r LEFT JOIN {{loads}} l "
        f"ON l.load_id = r.load_id AND r.number >= l.first_row AND r.number < l.next_row {where}",
        rows=rows,
        loads=spark.createDataFrame(_runs(seen.loads)),
    )


def _runs(loads: pa.Table) -> pa.Table:
    """Return the runs of loads, each with the number of the first row after it."""
    ids, first = loads.column(LOAD_ID).to_pylist(), loads.column("first_row").to_pylist()
    after = [*zip(ids[1:], first[1:], strict=True), ("", 0)] if ids else []
    following = [row if one == load else _LATEST for load, (one, row) in zip(ids, after, strict=True)]
    return loads.append_column("next_row", pa.array(following, pa.int64()))


def met(
    spark: Any, entities: Any, rows: Any, seen: Seen, *, keys: Sequence[str], features: Sequence[str], called: str
) -> Any:
    """Return entity rows with the newest row of each: its event time and its features, null where there is none.

    Args:
        spark: the session.
        entities: have ``instant``, and the keys.
        rows: as :func:`ranked` returns them.
        seen: which rows these are.
        keys: the columns of the entity rows that hold the view's keys, in order.
        features: the columns of features.
        called: what comes before the names of the columns that are added.
    """
    taken = [("event", f"{called}event"), *((name, f"{called}{name}") for name in features)]
    parts = [f"k{place}" for place in range(len(keys))]
    row = f"struct({', '.join((*RANK, *features))})"
    if seen.rising:  # the last that came is not always the newest
        newest = f"max(row__) OVER ({_up_to('since, side__', parts)})"
    else:
        newest = f"last_value(row__) IGNORE NULLS OVER ({_up_to(', '.join(('since', 'side__', *RANK)), parts)})"
    there = " AND ".join(f"{part} IS NOT NULL" for part in parts)
    theirs = ", ".join(f"{key} AS {part}" for key, part in zip(keys, parts, strict=True))
    nothing = ", ".join(f"NULL AS {name}" for name in RANK)
    both = (
        f"SELECT {', '.join(parts)}, since, 0 AS side__, {', '.join(RANK)}, {row} AS row__, NULL AS entity__ "
        f"FROM {{rows}} UNION ALL SELECT {theirs}, {seen.until()}, 1, {nothing}, NULL, "
        f"struct({', '.join(entities.columns)}) FROM {{entities}}"
    )
    columns = ", ".join(f"newest__.{name} AS {alias}" for name, alias in taken)
    return spark.sql(
        f"SELECT entity__.*, {columns} FROM (SELECT entity__, side__, CASE WHEN {there} THEN {newest} END AS newest__ "
        f"FROM ({both})) WHERE side__ = 1",
        entities=entities,
        rows=rows,
    )


def _up_to(order: str, parts: Sequence[str]) -> str:
    return f"PARTITION BY {', '.join(parts)} ORDER BY {order} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"
