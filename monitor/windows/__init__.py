"""Streams of rows -> closed windows -> their rows: alike for the serving log, files, tables, queries and predictions.

A stream has a watermark: the instant before which every row is there. A window is closed, and counts once, when the
watermark less the lateness that is allowed has passed its end. Where windows begin hangs on the rows alone, not on when
they are asked for, so that a monitor that was killed goes on as if it had not been.
"""

from monitor.windows.base import Closed, Cut, Position, Stream, Window
from monitor.windows.measuring import Judged, Late, late_rows, profiled
from monitor.windows.predictions import PREDICTION_FIELDS, PredictionStream
from monitor.windows.row_stream import RowStream
from monitor.windows.serving_log import ServiceLog, ServingLog
from monitor.windows.sources import frame_stream, source_stream, view_stream

__all__ = [
    "PREDICTION_FIELDS",
    "Closed",
    "Cut",
    "Judged",
    "Late",
    "Position",
    "PredictionStream",
    "RowStream",
    "ServiceLog",
    "ServingLog",
    "Stream",
    "Window",
    "frame_stream",
    "late_rows",
    "profiled",
    "source_stream",
    "view_stream",
]
