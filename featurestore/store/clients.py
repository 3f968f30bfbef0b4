"""What a server answers, answered in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from featurestore.client import FeatureClient, OnlineFeatures
from featurestore.config import Config
from featurestore.definitions import FeatureService
from featurestore.online import OnlineStore
from featurestore.online.local_copy import LocalCopy
from featurestore.registry import Registry
from featurestore.serving.feedback.methods import FeedbackAnswers
from featurestore.serving.lookup import Lookups
from featurestore.serving.pushes import PushAnswers
from featurestore.serving.routing import canaries
from featurestore.serving.runtime import compile_plans, served_services
from featurestore.store.feedback import Feedback
from featurestore.store.pushing import Pushing
from featurestore.store.references import service_name

#: How long a client goes by what was registered when it looked last, as a server does.
_FRESH_SECONDS = 1.0


class InProcess:
    """A :data:`~featurestore.client.Transport` without a network.

    Args:
        config: the store's.
        registry: what is served, looked at again every second.
        online: where rows are.
        others: by method, what answers beside lookups.
        local_copy: is served while the store is away, if there is one.
    """

    def __init__(
        self,
        config: Config,
        registry: Registry,
        online: OnlineStore,
        others: Mapping[str, Callable[[bytes], bytes]],
        local_copy: LocalCopy | None = None,
    ) -> None:
        self._registry = registry
        self._others = others
        self._revision = -1
        self._fresh_until = 0.0
        self._lookups = Lookups(
            online,
            {},
            max_rows=config.serving.max_rows,
            replay=bool(config.replay),
            row_cache=int(config.serving.row_cache_mb * 2**20),
            local_copy=local_copy,
        )

    def __call__(self, method: str, request: bytes) -> bytes:
        """Answer as a server does."""
        if time.monotonic() >= self._fresh_until:
            self._reload()
        other = self._others.get(method)
        return self._lookups.transport(method, request) if other is None else other(request)

    def _reload(self) -> None:
        revision = self._registry.revision()
        self._fresh_until = time.monotonic() + _FRESH_SECONDS
        if revision == self._revision:
            return
        services = served_services(self._registry)
        plans = compile_plans(services)
        self._lookups.serve(plans, canaries(services, plans, self._registry.canaries()))
        self._revision = revision


class Clients(Pushing, Feedback):
    """Lookups, and all else that a client does."""

    def get_online_features(
        self, features: str | FeatureService, entity_rows: Any, *, routing_key: str = ""
    ) -> OnlineFeatures:
        """Return a service's newest values, in process; the same answer as the server's.

        Args:
            features: the service: ``flight_delay``, ``flight_delay@1``, or a FeatureService, which stands for its name.
            entity_rows: join keys and request fields, as :meth:`FeatureClient.get_online_features` takes them.
            routing_key: decides whether a canary answers; the first entity row does when it is empty.

        Raises:
            ObjectNotFoundError: there is no such service.
            InvalidRequestError: a key or request field is missing or of another type.
        """
        return self.client().get_online_features(
            features=service_name(features), entity_rows=entity_rows, routing_key=routing_key
        )

    def client(self) -> FeatureClient:
        """Return a client that is answered in this process: the interface of the remote one, and no network.

        It sees new versions and moved aliases within a second, as a server does. It must not be used after the store is
        closed.
        """
        most = self.config.serving.max_rows
        feedback = FeedbackAnswers(lambda: self.feedback, self.registry.model, self._instant, most=most)
        others = dict(feedback.methods())
        if not self.config.replay:
            others["PushFeatures"] = lambda data: PushAnswers(self._pusher, max_rows=most)(data)
        return FeatureClient(transport=InProcess(self.config, self.registry, self.online, others, self.local_copy))
