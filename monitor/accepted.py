"""What somebody said is normal, as a baseline: of several of one stream or slice the newest counts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection

from featurestore.definitions import BaselineSource
from monitor.history import History, Watch


def accepted_sources(
    history: History, connection: Connection, watch: Watch, *, clock: datetime
) -> Mapping[str, BaselineSource]:
    """Return what is accepted of a stream at an instant, by slice: of several the newest."""
    found = history.acceptances(connection, policy=watch.policy, service=watch.service)
    return {one.slice: BaselineSource(since=one.since, until=one.until) for one in found if one.holds(clock)}
