"""What a user does with the newest rows: materialize and look up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from featurestore.client import FeatureClient, OnlineFeatures
from featurestore.definitions import FeatureService, FeatureView, storage_id
from featurestore.erasure.online_places import remove_suppressed
from featurestore.materialize import MaterializeReport, materialize, rebuild
from featurestore.offline.erasure.suppression import suppressed
from featurestore.offline.store import Progress
from featurestore.registry.records import Registered
from featurestore.serving.lookup import Lookups
from featurestore.serving.routing import canaries
from featurestore.serving.runtime import compile_plans, served_services
from featurestore.store.loading import Loading
from featurestore.store.references import service_name


class NewestRows(Loading):
    """The newest rows, online."""

    def materialize(self, view: str, *, progress: Progress | None = None) -> MaterializeReport:
        """Copy the newest rows of a view, up to now, into the online store.

        Args:
            view: the view: ``weather`` is every live version, as in :meth:`ingest`; ``weather@1`` just that one.
            progress: called with the rows of each piece.

        Raises:
            ObjectNotFoundError: there is no such view.
            RegistryError: the view is another project's.
            OnlineStoreError: the online store refuses.
        """
        current, *others = [self._materialize(one, progress) for one in self._live(view)]
        return replace(current, view=current.view.partition("@")[0], also=tuple(others))

    def _materialize(self, view: Registered[FeatureView], progress: Progress | None) -> MaterializeReport:
        """Materialize one version, and enter it in the ledger; a view that was never ingested leaves no trace."""
        who = self.who()
        now = datetime.now(UTC)
        # Read before the rows: what is recorded is in them for certain, and later loads may be too.
        version = self.offline.table_version(view.definition)
        done = self.registry.last_materialization(storage_id(view.definition))
        # A key whose newest rows were taken back would keep them: no row that is left is newer.
        # Without an entry, a materialization may have died before it was entered.
        since = 0 if done is None else done.table_version
        taken = self.offline.rows_taken(view.definition, since)
        write = rebuild if taken else materialize
        erased = suppressed(view.definition, self.registry, self.config)
        report = write(view.definition, self.offline, self.online, now=now, progress=progress)
        now_erased = suppressed(view.definition, self.registry, self.config)
        if now_erased is not None and (erased is None or now_erased.digests - erased.digests):
            remove_suppressed(self.online, storage_id(view.definition), view.definition, now_erased)
        if version is not None:
            counts = {name: getattr(report, name) for name in ("read", "written", "older", "expired", "rejected")}
            if report.expired and view.definition.ttl is not None:
                # A version that shares the rows and keeps them longer has to know that some were left out.
                counts["ttl_us"] = view.definition.ttl // timedelta(microseconds=1)
            table = storage_id(view.definition)
            self.registry.record_materialization(table, version, now, counts, who=who)
        return replace(report, view=view.id)

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
        """Return a client that reads the online store in this process: the interface of the remote one, no network.

        It answers from the services that are registered now.
        """
        services = served_services(self.registry)
        plans = compile_plans(services)
        lookups = Lookups(
            self.online,
            plans,
            max_rows=self.config.serving.max_rows,
            replay=bool(self.config.replay),
            canaries=canaries(services, plans, self.registry.canaries()),
            row_cache=int(self.config.serving.row_cache_mb * 2**20),
        )
        return FeatureClient(transport=lookups.transport)
