"""Whether retraining helped."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, String, Table

from monitor.schema.base import metadata

#: How far the comparison of the model that came of a signal with the one before has got. ``looks`` counts the looks at
#: live data; ``verdict`` is "" until it is settled.
signal_results = Table(
    "signal_results",
    metadata,
    Column("signal", String, primary_key=True),
    Column("model", String, nullable=False),
    Column("promoted_at", BigInteger, nullable=False),
    Column("looks", Integer, nullable=False),
    Column("verdict", String, nullable=False),
)
