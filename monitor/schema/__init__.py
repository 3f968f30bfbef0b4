"""The tables of the monitor's database. Instants are microseconds since 1970, UTC; structured values are JSON text.

``service`` is the name of a stream of rows: a service version, or what a policy with a source of its own watches.
``slice`` is "" for all rows of the stream, or says which: ``carrier=AA``.
"""

from monitor.schema.alerts import acceptances, acknowledgements, alerts, incidents, members, silences, timeline
from monitor.schema.base import READABLE_FROM, VERSION, meta, metadata
from monitor.schema.daemon import heartbeats, leases
from monitor.schema.outbox import outbox, receivers
from monitor.schema.results import signal_results
from monitor.schema.rollback import action_looks, actions
from monitor.schema.signals import alert_episodes, signal_cursor, signal_events, signals
from monitor.schema.windows import checks, detectors, streams, windows

__all__ = [
    "READABLE_FROM",
    "VERSION",
    "acceptances",
    "acknowledgements",
    "action_looks",
    "actions",
    "alert_episodes",
    "alerts",
    "checks",
    "detectors",
    "heartbeats",
    "incidents",
    "leases",
    "members",
    "meta",
    "metadata",
    "outbox",
    "receivers",
    "signal_cursor",
    "signal_events",
    "signal_results",
    "signals",
    "silences",
    "streams",
    "timeline",
    "windows",
]
