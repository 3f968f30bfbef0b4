"""Push: rows that are served at once, and kept in a log on the disk until the offline store has them."""

from featurestore.pushing.flushing import FlushReport
from featurestore.pushing.log import Backlog, PushLog
from featurestore.pushing.pusher import Pusher, PushReport
from featurestore.pushing.rows import RejectedRow

__all__ = ["Backlog", "FlushReport", "PushLog", "PushReport", "Pusher", "RejectedRow"]
