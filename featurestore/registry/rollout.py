"""Which version of a service is meant: aliases, promotion and rollback."""

from __future__ import annotations

from typing import cast

from sqlalchemy import Connection

from featurestore.definitions import FeatureService
from featurestore.definitions.names import check_name
from featurestore.registry import aliases, values
from featurestore.registry.audit import Event
from featurestore.registry.project import Project
from featurestore.registry.records import Registered
from featurestore.registry.versions import Versions


class Rollout(Project):
    """The aliases of one project's services."""

    def resolve_service(self, reference: str) -> Registered[FeatureService]:
        """Return what a user means by ``flight_delay``, in training and serving alike.

        Args:
            reference: ``name@version``, or a name: the version that the alias ``production`` points to if it is set,
                else the current one.

        Raises:
            ObjectNotFoundError: there is no such service.
        """
        name, version = values.split_reference(reference)
        with self._database.read() as connection:
            versions = Versions(connection, self.project)
            promoted = aliases.of_service(connection, self.project, name).get(aliases.PRODUCTION)
            meant = f"{name}@{promoted}" if version is None and promoted is not None else reference
            found = versions.registered(versions.find(meant, "feature_service"))
        return cast("Registered[FeatureService]", found)

    def promote(self, reference: str, alias: str = aliases.PRODUCTION, *, who: str) -> Registered[FeatureService]:
        """Point an alias to a version of a service (the current one if none is named) and return that version.

        Raises:
            ObjectNotFoundError: there is no such service or version.
            DefinitionError: the alias's name cannot be one.
        """
        check_name(alias, "an alias")
        with self._write() as connection:
            versions = Versions(connection, self.project)
            found = versions.registered(versions.find(reference, "feature_service"))
            before = aliases.of_service(connection, self.project, found.name).get(alias)
            if before != found.version:
                aliases.push(connection, self.project, found.name, alias, found.version)
                self._moved(connection, who, "promote", found.name, alias, before, found.version)
        return cast("Registered[FeatureService]", found)

    def rollback(self, service: str, alias: str = aliases.PRODUCTION, *, who: str) -> Registered[FeatureService]:
        """Point an alias back to the version it pointed to before, and return that version.

        Raises:
            ObjectNotFoundError: there is no such service, or the alias never pointed elsewhere.
        """
        with self._write() as connection:
            versions = Versions(connection, self.project)
            name = versions.find(service, "feature_service").row.name
            before = aliases.of_service(connection, self.project, name).get(alias)
            version = aliases.pop(connection, self.project, name, alias)
            self._moved(connection, who, "rollback", name, alias, before, version)
            found = versions.registered(versions.find(f"{name}@{version}", "feature_service"))
        return cast("Registered[FeatureService]", found)

    def _moved(
        self, connection: Connection, who: str, action: str, service: str, alias: str, before: int | None, after: int
    ) -> None:
        self._revise(connection)
        details = {"alias": alias, "from_version": before, "to_version": after}
        self._audit(connection, who, Event(action=action, object=f"{service}@{after}", details=details))

    def aliases(self, service: str) -> dict[str, int]:
        """Return each alias of a service with the version that it points to; empty if none is set."""
        with self._database.read() as connection:
            return aliases.of_service(connection, self.project, service)
