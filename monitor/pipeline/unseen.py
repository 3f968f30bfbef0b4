"""What goes on unseen: an alert whose stream gives no rows any more, and a policy whose runs fail.

Neither is an end. The one goes on firing, and says that nothing has been seen since; the other is an alert of its own,
so that a monitor which sees nothing is not taken for one that sees nothing wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from featurestore.config import Config
from featurestore.definitions import MonitorPolicy
from featurestore.errors import FeatureStoreError
from featurestore.registry import Registered
from monitor.alerts import message
from monitor.alerts.states import Observation, State
from monitor.history import History, StoredAlert, Watch
from monitor.pipeline.committing import RULES, Committer
from monitor.pipeline.review import Review
from monitor.pipeline.telling import Found, Reach, Spoken, Teller

#: Runs of a policy that fail in a row before people are told.
FAILURES = 3

#: How long a stream must have been silent at least, where its windows are of so many rows.
_LEAST = timedelta(hours=1)


def note_silence(
    committer: Committer,
    policy: Registered[MonitorPolicy],
    reviews: Sequence[Review],
    watermark: datetime | None,
) -> Spoken:
    """Mark the alerts of distributions whose stream has given no rows for as long as would have resolved them.

    Args:
        committer: keeps what comes of it.
        policy: the policy.
        reviews: its streams that have rows.
        watermark: up to where the log is complete: of a stream that the log names no more.
    """
    complete = {one.subject.watch.service: one.watermark for one in reviews}
    total = Spoken()
    with committer.history.read() as connection:
        found = [
            one
            for one in committer.history.open_alerts(connection, policy.name)
            if one.rule in RULES and one.alert.state is not State.NO_DATA
        ]
        lasts = [committer.history.last_window(connection, one.watch) for one in found]
    for one, last in zip(found, lasts, strict=True):
        until = complete.get(one.watch.service, watermark)
        if last is None or until is None:
            continue
        start, end = last
        patience = max(end - start, _LEAST if isinstance(policy.definition.window, int) else timedelta(0))
        if until - end < policy.definition.keep_firing_for * patience:
            continue
        teller = _teller_of(committer, policy, one)
        with committer.history.write() as connection:
            _, said = teller.see_nothing(
                connection, one.rule, State.NO_DATA, alert=one.alert, since=end, at=until, now=committer.now
            )
            committer.rehearse(connection, until)
        total += said
    return total


def _teller_of(committer: Committer, policy: Registered[MonitorPolicy], stored: StoredAlert) -> Teller:
    context = message.Context(
        project=committer.config.project,
        replay=committer.config.replay,
        service=stored.watch.service,
        baseline="",
        model="",
        views={},
        slice=stored.watch.slice,
        severity=policy.definition.severity,
    )
    return committer.teller_of(policy.definition, stored.watch, context)


@dataclass(frozen=True, kw_only=True)
class Failures:
    """The runs of a policy that fail: three in a row are an alert, which the next one that works ends.

    Attributes:
        history: the database.
        config: names the project and the channels.
        policy: the policy.
    """

    history: History
    config: Config
    policy: Registered[MonitorPolicy]

    def failed(self, error: Exception, *, now: datetime) -> None:
        """Keep that a run failed."""
        with self.history.write() as connection:
            teller, at = self._teller(), self._clock(connection, now)
            alert = teller.before(message.JUDGING, teller.alerts(connection))
            # What is unforeseen may hold anything in its text: that is for the log.
            said = error.message if isinstance(error, FeatureStoreError) else f"{type(error).__name__}, see the log"
            found = Found(rule=message.JUDGING, sentences=(f"{FAILURES} runs in a row failed: {said}",))
            teller.see_nothing(
                connection,
                message.JUDGING,
                State.ERROR,
                alert=alert,
                since=at,
                at=at,
                now=now,
                found=found,
                tell_after=FAILURES,
            )

    def worked(self, *, now: datetime) -> None:
        """Keep that a run worked; where none had failed before there is nothing to keep."""
        with self.history.read() as connection:
            alert = self._teller().alerts(connection).get(message.JUDGING)
        if alert is None or alert.state is not State.ERROR:
            return
        with self.history.write() as connection:
            teller, at = self._teller(), self._clock(connection, now)
            fine = Observation(alarm=False, effect=False, onset=at, span=1)
            nothing = Found(rule=message.JUDGING, sentences=())
            alerts = teller.alerts(connection)
            teller.take(connection, message.JUDGING, fine, nothing, alerts=alerts, at=at, now=now)

    def _clock(self, connection: Connection, now: datetime) -> datetime:
        return (self.history.data_clock(connection) or now) if self.config.replay else now

    def _teller(self) -> Teller:
        definition = self.policy.definition
        stream = self.policy.name if definition.service is None else definition.service.name
        watch = Watch(policy=self.policy.name, policy_version=self.policy.version, service=stream)
        context = message.Context(
            project=self.config.project,
            replay=self.config.replay,
            service=stream,
            baseline="",
            model="",
            views={},
            severity=definition.severity,
            runbook=definition.runbook,
        )
        # A route that names no channel may be why it fails: whoever can be told is told.
        reach = Reach(routes=tuple(one for one in definition.routes if self._heard(one)))
        return Teller(
            history=self.history,
            watch=watch,
            context=context,
            reach=reach,
            hold_for=0,
            keep_firing_for=1,
            retrain=False,
        )

    def _heard(self, channel: str) -> bool:
        found = self.config.channels.get(channel)
        return found is not None and (not self.config.replay or found.rehearsals)
