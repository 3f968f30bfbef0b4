"""How the ids of loads begin that each table has for itself: whether another has the same rows, they do not tell."""

from __future__ import annotations

#: What a database answered to a query.
QUERY = "query-"
#: What a view's transformation gave for a range of time once more.
BACKFILL = "backfill-"
#: Rows that had been kept aside, and pass now.
REQUEUED = "requeued-"

OWN = (QUERY, BACKFILL, REQUEUED)
