"""The registry: one project's definitions and aliases; its ledgers come with it."""

from __future__ import annotations

import builtins
from typing import cast

from sqlalchemy import select

from featurestore.definitions import Definition, FeatureService, FeatureView, MonitorPolicy
from featurestore.registry import schema
from featurestore.registry.auditing import Auditing
from featurestore.registry.changing import Changing
from featurestore.registry.consents import Consents
from featurestore.registry.erasures import Erasures
from featurestore.registry.identities import Identities
from featurestore.registry.inspection import Inspection
from featurestore.registry.ledgers import Ledgers
from featurestore.registry.liveness import Liveness
from featurestore.registry.migrating import open_database
from featurestore.registry.records import Registered
from featurestore.registry.references import References
from featurestore.registry.rollout import Rollout
from featurestore.registry.versions import Versions


def open_registry(url: str, project: str) -> Registry:
    """Open a registry, making or upgrading its tables if needed.

    Args:
        url: ``sqlite:///path`` or ``postgresql+psycopg://...``.
        project: the namespace to work in; it need not exist yet.

    Raises:
        RegistryError: the database cannot be opened, or belongs to a newer release.
    """
    return Registry(open_database(url), project)


class Registry(Changing, Inspection, References, Rollout, Consents, Ledgers, Liveness, Auditing, Identities, Erasures):
    """One project of a registry; :func:`open_registry` makes it. Processes and threads may share the database.

    Every method that writes is one transaction together with its entries in the audit log, and takes ``who``: the
    name of whoever is answerable (:func:`featurestore.registry.current_user` where nobody authenticated).
    """

    # Definitions

    def get(self, reference: str, *, kind: str | None = None) -> Registered[Definition]:
        """Return ``weather`` (the current version) or ``weather@1``.

        Raises:
            ObjectNotFoundError: there is none, or it is not of that kind.
        """
        with self._database.read() as connection:
            versions = Versions(connection, self.project)
            return versions.registered(versions.find(reference, kind))

    def feature_view(self, reference: str) -> Registered[FeatureView]:
        """Return a feature view; see :meth:`get`."""
        return cast("Registered[FeatureView]", self.get(reference, kind="feature_view"))

    def service(self, reference: str) -> Registered[FeatureService]:
        """Return a feature service; a bare name is its current version, unlike :meth:`resolve_service`."""
        return cast("Registered[FeatureService]", self.get(reference, kind="feature_service"))

    def policy(self, reference: str) -> Registered[MonitorPolicy]:
        """Return a monitor policy, with its service as it was when the policy was applied; see :meth:`get`."""
        return cast("Registered[MonitorPolicy]", self.get(reference, kind="monitor_policy"))

    def versions(self, name: str) -> builtins.list[Registered[Definition]]:
        """Return every version of an object, oldest first.

        Raises:
            ObjectNotFoundError: there is no such object.
        """
        with self._database.read() as connection:
            versions = Versions(connection, self.project)
            versions.find(name, None)
            return [versions.registered(stored) for stored in versions.of(name)]

    def revision(self) -> int:
        """Return a number that grows with every change that a server must see: applied definitions and aliases."""
        query = select(schema.projects.c.revision).filter_by(project=self.project)
        with self._database.read() as connection:
            return connection.execute(query).scalar() or 0

    def list(self, kind: str | None = None) -> builtins.list[Registered[Definition]]:
        """Return the current version of every object, or of those of one kind, by name."""
        with self._database.read() as connection:
            versions = Versions(connection, self.project)
            return [versions.registered(stored) for stored in versions.current(kind)]
