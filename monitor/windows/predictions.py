"""What a model predicted, as a stream: each prediction once, the first that arrived of those with one id."""

from __future__ import annotations

import glob
from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from featurestore.config import Config
from featurestore.definitions import Field
from featurestore.errors import MonitorError
from featurestore.offline.engine import literal
from featurestore.offline.sources.intervals import Interval
from featurestore.serving.feedback import PREDICTIONS
from featurestore.types import Float64, String
from monitor.windows.parquet_rows import ParquetRows
from monitor.windows.row_stream import RowStream
from monitor.windows.rows import Rows

#: What a profile of predictions counts: the number of a regression, or a score; and the label of a class.
PREDICTION_FIELDS = (Field(name="number", dtype=Float64), Field(name="label", dtype=String))

_INSTANT = PREDICTIONS.instant
_REPEATS = "monitor_repeats__"


class PredictionStream(RowStream):
    """The predictions of a model, by ``predicted_at``.

    They are on disk when the call that logs them returns, so the watermark is the present instant; ``lateness`` says
    how long callers may keep theirs back. Of a rehearsal it is the newest instant.

    Args:
        config: says where feedback lies, and whether it is a rehearsal's.
        model: ``churn@3``, or ``churn`` for those of all its versions.
        lateness: see :class:`~monitor.windows.row_stream.RowStream`.
    """

    def __init__(self, config: Config, model: str, *, lateness: timedelta | None = None) -> None:
        folder = config.path(config.serving.feedback_path) / PREDICTIONS.name / model.partition("@")[0]
        super().__init__(
            _PredictionRows(folder, model),
            config,
            name=model,
            time_column=_INSTANT,
            clock="newest" if config.replay else "now",
            lateness=lateness,
            order=("prediction_id",),
            what=f"The log of predictions of {model}",
        )


class _PredictionRows(Rows):
    ordered = False

    def __init__(self, folder: Path, model: str) -> None:
        def damaged(file: Path) -> MonitorError:
            return MonitorError(
                f"{file} in the log of predictions of {model} is damaged: it cannot be read as Parquet.",
                hint="Bring the file back from a backup, or remove it.",
            )

        self._model = model
        self._files = ParquetRows(f"{glob.escape(str(folder))}/*.parquet", _INSTANT, damaged=damaged)
        self._looked = False

    def refresh(self) -> None:
        """Look at what is there by now."""
        self._files.refresh()
        self._looked = False

    def fault(self) -> MonitorError | None:
        """See :meth:`~monitor.windows.rows.Rows.fault`."""
        return self._files.fault()

    def sql(self, cursor: duckdb.DuckDBPyConnection, interval: Interval) -> str:
        """See :meth:`~monitor.windows.rows.Rows.sql`."""
        if self._files.gone(interval):
            # Small files are merged while they are read; the rows stay the same.
            self._files.refresh()
        if not self._looked:
            self._find_repeats(cursor)
        rows = f"({self._typed(cursor, interval)})"
        once = (
            f"SELECT * FROM {rows} AS one ANTI JOIN {_REPEATS} USING (prediction_id) UNION ALL BY NAME "
            f"SELECT one.* FROM {rows} AS one JOIN {_REPEATS} AS first USING (prediction_id) "
            f"WHERE one.logged_at = first.logged_at AND one.{_INSTANT} = first.{_INSTANT} "
            "QUALIFY row_number() OVER (PARTITION BY one.prediction_id ORDER BY one.number, one.label) = 1"
        )
        if "@" not in self._model:
            return once
        return f"SELECT * FROM ({once}) WHERE model = {literal(self._model)}"

    def schema(self, cursor: duckdb.DuckDBPyConnection) -> pa.Schema:  # noqa: ARG002 - ever the same
        """Return the columns."""
        return PREDICTIONS.stored

    def _find_repeats(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Make a table of the ids that came more than once, and of when the first of each came.

        They are few, as callers repeat only what they do not know to have arrived; with them at hand a window need not
        look into all other files.
        """
        rows = self._typed(cursor, Interval(None, None))
        cursor.execute(
            f"CREATE OR REPLACE TABLE {_REPEATS} AS SELECT prediction_id, least.logged_at AS logged_at, "
            f"least.{_INSTANT} AS {_INSTANT} FROM (SELECT prediction_id, "
            f"min({{'logged_at': logged_at, '{_INSTANT}': {_INSTANT}}}) AS least FROM ({rows}) "
            "GROUP BY prediction_id HAVING count(*) > 1)"
        )
        self._looked = True

    def _typed(self, cursor: duckdb.DuckDBPyConnection, interval: Interval) -> str:
        """Return a SELECT with the columns of the log, also where there is no file yet."""
        if self._files.schema(cursor).names:
            return self._files.sql(cursor, interval)
        cursor.register("monitor_no_predictions__", PREDICTIONS.stored.empty_table())
        return "SELECT * FROM monitor_no_predictions__"
