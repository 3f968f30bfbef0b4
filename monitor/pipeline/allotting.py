"""The run length of each window, from the policy's share of the budget and from what is judged beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from featurestore.definitions import MonitorPolicy
from featurestore.registry import Registered
from monitor import budget
from monitor.history import History
from monitor.pipeline.subjects import MOST_SLICES, Subject
from monitor.store import Store
from monitor.windows import Window


@dataclass(kw_only=True)
class Allotment:
    """What the parts of a policy may use of its share.

    Service versions that are served at once share it; which these were is known of each window, so the same log gives
    the same limits in however many runs it is judged.

    Attributes:
        policy: the policy.
        share: its share in the strictest of its routes.
        rules: parts of one service version: its features, slices, and what else is judged of it once a window.
        models: parts of the models beside: the predictions and the outcomes of each.
    """

    policy: Registered[MonitorPolicy]
    share: budget.Share
    rules: int
    models: int
    _closed: dict[str, Sequence[Window]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        store: Store,
        policy: Registered[MonitorPolicy],
        subjects: Iterable[Subject],
        *,
        budgets: Mapping[str, float] | None = None,
    ) -> Allotment:
        """Return the allotment of a policy.

        Args:
            store: knows the other policies, and the budgets of the routes.
            policy: the policy.
            subjects: the streams that it watches by now.
            budgets: in place of those of the configuration, for some of the routes.
        """
        given = route_budgets(store, policy.definition) | dict(budgets or {})
        share = budget.strictest(budget.shares(policy.definition, current_policies(store), given))
        found = list(subjects)
        models = {one.watch.service for one in found if one.predictions}
        definition = policy.definition
        return cls(
            policy=policy,
            share=share,
            rules=1 + _slices(definition) + int(definition.quality),
            models=2 * len(models),
        )

    def expect(self, subject: Subject, windows: Sequence[Window]) -> None:
        """Take note of the windows of a stream that are to be judged."""
        if not subject.predictions:
            self._closed[subject.watch.service] = windows

    def run_length(self, history: History, subject: Subject, start: datetime, end: datetime) -> float:
        """Return the average run length of each part in a window."""
        given = self.policy.definition.average_run_length
        if given is not None:
            return given
        with history.read() as connection:
            judged = history.served_beside(connection, self.policy.name, start, end)
        beside = {name for name, found in self._closed.items() if any(_overlap(one, start, end) for one in found)}
        versions = {subject.watch.service} | beside | (judged & set(self._closed))
        streams = versions if not subject.predictions else versions - {subject.watch.service}
        return budget.average_run_length(end - start, self.share, parts=max(1, len(streams)) * self.rules + self.models)

    def model_run_length(self, length: timedelta) -> float:
        """Return the average run length of what is judged of a model once a window of a length."""
        given = self.policy.definition.average_run_length
        parts = max(1, len(self._closed)) * self.rules + self.models
        return given if given is not None else budget.average_run_length(length, self.share, parts=parts)


def current_policies(store: Store) -> list[MonitorPolicy]:
    """Return every current policy of a registry."""
    return [store.registry.policy(one.name).definition for one in store.registry.list("monitor_policy")]


def route_budgets(store: Store, policy: MonitorPolicy) -> dict[str, float]:
    """Return the budgets of a policy's routes, in pages a quarter."""
    channels = store.config.channels
    return {name: channels[name].budget for name in policy.routes if name in channels}


def _slices(policy: MonitorPolicy) -> int:
    return sum(1 if "=" in name else MOST_SLICES for name in policy.slices)


def _overlap(window: Window, start: datetime, end: datetime) -> bool:
    return window.start < end and window.end > start
