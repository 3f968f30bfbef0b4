"""What checks of facts found."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, insert, select

from featurestore.types import microseconds
from monitor import schema
from monitor.history.values import EPOCH, Check, Watch, instant


class Checks:
    """The checks of the monitor's database; every method works in the caller's transaction."""

    def record_check(self, connection: Connection, watch: Watch, check: Check, *, now: datetime) -> None:
        """Keep what a check found; a check of one subject looks at an instant once.

        Raises:
            MonitorError: (when the transaction's block is left) it has looked at it before.
        """
        connection.execute(
            insert(schema.checks).values(
                policy=watch.policy,
                policy_version=watch.policy_version,
                service=watch.service,
                subject=check.subject,
                at=microseconds(check.at),
                verdict=check.verdict,
                findings=json.dumps(list(check.findings)),
                decided_at=microseconds(now),
            )
        )

    def checked_until(self, connection: Connection, watch: Watch, subject: str) -> datetime | None:
        """Return up to where a check has looked at a stream, for any version of the policy."""
        table = schema.checks
        query = select(func.max(table.c.at)).where(
            table.c.policy == watch.policy, table.c.service == watch.service, table.c.subject == subject
        )
        return instant(connection.execute(query).scalar())

    def checks(
        self, connection: Connection, policy: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> list[tuple[str, Check]]:
        """Return what the checks of a policy found, with the stream of each, in order."""
        table = schema.checks
        query = select(table).where(table.c.policy == policy)
        if since is not None:
            query = query.where(table.c.at >= microseconds(since))
        if until is not None:
            query = query.where(table.c.at <= microseconds(until))
        rows = connection.execute(query.order_by(table.c.service, table.c.subject, table.c.at)).all()
        return [
            (
                row.service,
                Check(
                    subject=row.subject,
                    at=EPOCH + timedelta(microseconds=row.at),
                    verdict=row.verdict,
                    findings=json.loads(row.findings),
                ),
            )
            for row in rows
        ]
