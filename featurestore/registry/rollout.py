"""Which version of a service is meant: aliases, the canary, promotion with and without approval, and rollback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import Connection

from featurestore.definitions import FeatureService
from featurestore.definitions.names import check_name
from featurestore.errors import ObjectNotFoundError, RegistryError
from featurestore.registry import aliases, promotions, values
from featurestore.registry.audit import Event
from featurestore.registry.canary import check_share, request_differences
from featurestore.registry.project import Project
from featurestore.registry.records import Alias, Promotion, Registered
from featurestore.registry.versions import Versions


class Rollout(Project):
    """The aliases of one project's services."""

    def resolve_service(self, reference: str) -> Registered[FeatureService]:
        """Return what a user means by ``flight_delay``, in training and serving alike.

        A canary is no part of this: it takes its share of the requests in the server, and nothing else sees it.

        Args:
            reference: ``name@version``, or a name: the version that the alias ``production`` points to if it is set,
                else the current one.

        Raises:
            ObjectNotFoundError: there is no such service.
        """
        with self._database.read() as connection:
            return _resolved(connection, Versions(connection, self.project), self.project, reference)

    def resolved_services(self) -> dict[str, Registered[FeatureService]]:
        """Return, for each reference to a service, bare or with a version, what :meth:`resolve_service` does.

        All in a few queries, however many services there are.
        """
        found: dict[str, Registered[FeatureService]] = {}
        with self._database.read() as connection:
            versions = Versions(connection, self.project)
            production = aliases.named(connection, self.project, aliases.PRODUCTION)
            for stored in versions.every("feature_service"):
                one = cast("Registered[FeatureService]", versions.registered(stored))
                meant, _ = production.get(one.name, (stored.row.current_version, 1.0))
                found[one.id] = one
                if one.version == meant:
                    found[one.name] = one
        return found

    def promote(
        self, reference: str, alias: str = aliases.PRODUCTION, *, share: float | None = None, who: str
    ) -> Registered[FeatureService]:
        """Point an alias to a version of a service (the current one if none is named) and return that version.

        ``production`` that comes to the canary's version ends the canary.

        Args:
            reference: the version.
            alias: the alias.
            share: of the alias ``canary``, the share of the routing keys that it gets, 0 to 1; it stays as it is when
                not given, and is 0 at first. No other alias has one.
            who: who promotes.

        Raises:
            ObjectNotFoundError: there is no such service or version.
            DefinitionError: the alias's name cannot be one.
            RegistryError: the share is none, the version cannot answer the requests that it would get, or a policy
                wants the promotion approved.
        """
        check_name(alias, "an alias")
        check_share(alias, share)
        with self._write() as connection:
            versions = Versions(connection, self.project)
            found = _service(versions, reference)
            share = self._share(connection, found.name, alias, share)
            self._check_canary(connection, versions, found, alias, share)
            needed = self._approvals(connection, versions, found, alias, share)
            if needed:
                raise RegistryError(
                    f'The alias "{alias}" of service "{found.name}" moves only when a promotion is approved.',
                    hint=f"Ask for one: featurestore promote {found.id} --to {alias}",
                )
            self._point(connection, found, alias, share, who)
        return found

    def request_promotion(
        self, reference: str, alias: str = aliases.PRODUCTION, *, share: float | None = None, who: str
    ) -> Promotion | None:
        """Ask for a promotion that needs approval.

        Args:
            reference: the version.
            alias: the alias.
            share: as of :meth:`promote`.
            who: who asks.

        Returns:
            The promotion, which waits; None when none is needed: :meth:`promote` will do.

        Raises:
            ObjectNotFoundError: there is no such service or version.
            DefinitionError: the alias's name cannot be one.
            RegistryError: the share is none, or the version cannot answer the requests that it would get.
        """
        check_name(alias, "an alias")
        check_share(alias, share)
        with self._write() as connection:
            versions = Versions(connection, self.project)
            found = _service(versions, reference)
            share = self._share(connection, found.name, alias, share)
            self._check_canary(connection, versions, found, alias, share)
            needed = self._approvals(connection, versions, found, alias, share)
            if not needed:
                return None
            made, new = promotions.request(
                connection,
                self.project,
                service=found.name,
                version=found.version,
                alias=alias,
                share=share,
                who=who,
            )
            if new:
                details = {"promotion": made.number, "approvals": needed} | _target(alias, share)
                self._audit(connection, who, Event(action="request", object=made.id, details=details))
        return made

    def approve(self, number: int, *, who: str) -> Promotion:
        """Approve a promotion; the last approval that it needs moves the alias, in the same transaction.

        Args:
            number: the promotion's.
            who: who approves: a verified identity, neither who asked for it nor who applied the version.

        Raises:
            ObjectNotFoundError: there is no such promotion.
            RegistryError: it was decided, ``who`` may not approve it, or the version cannot answer the requests that
                it would get.
        """
        with self._write() as connection:
            versions = Versions(connection, self.project)
            waiting = promotions.pending(connection, self.project, number)
            promotions.check_approver(connection, self.project, waiting, who)
            found = _service(versions, waiting.id)
            by = (*waiting.decided_by, who)
            counted = promotions.in_standing(connection, by)
            enough = len(counted) >= promotions.approvals_needed(versions, waiting.service, waiting.alias)
            state, at = ("approved", values.now()) if enough else ("pending", None)
            decided = promotions.decide(connection, self.project, number, state, by, decided_at=at)
            details = {"promotion": number, "state": state} | _target(waiting.alias, waiting.share)
            self._audit(connection, who, Event(action="approve", object=waiting.id, details=details))
            if enough:
                self._check_canary(connection, versions, found, waiting.alias, waiting.share)
                self._point(connection, found, waiting.alias, waiting.share, who)
        return decided

    def reject(self, number: int, *, who: str) -> Promotion:
        """Turn a promotion down, or withdraw one's own.

        Raises:
            ObjectNotFoundError: there is no such promotion.
            RegistryError: it was decided.
        """
        with self._write() as connection:
            waiting = promotions.pending(connection, self.project, number)
            decided = promotions.decide(connection, self.project, number, "rejected", (who,), decided_at=values.now())
            details = {"promotion": number} | _target(waiting.alias, waiting.share)
            self._audit(connection, who, Event(action="reject", object=waiting.id, details=details))
        return decided

    def promotion(self, number: int) -> Promotion:
        """Return a promotion that needed approval.

        Raises:
            ObjectNotFoundError: there is none of that number.
        """
        with self._database.read() as connection:
            return promotions.find(connection, self.project, number)

    def promotions(self, service: str | None = None) -> list[Promotion]:
        """Return the promotions that needed approval, of one service or of all, by number."""
        with self._database.read() as connection:
            return promotions.listed(connection, self.project, service)

    def rollback_target(
        self, service: str, alias: str = aliases.PRODUCTION, *, to: int | None = None
    ) -> Registered[FeatureService]:
        """Return the version to which :meth:`rollback` would lead.

        Raises:
            ObjectNotFoundError: there is no such service, or the alias never pointed there.
        """
        with self._database.read() as connection:
            versions = Versions(connection, self.project)
            name = versions.find(service, "feature_service").row.name
            version = aliases.target(connection, self.project, name, alias, to)
            return _service(versions, f"{name}@{version}")

    def rollback(
        self, service: str, alias: str = aliases.PRODUCTION, *, to: int | None = None, who: str
    ) -> Registered[FeatureService]:
        """Point an alias back to a version it pointed to before, and return that version. It needs no approval.

        ``production`` that comes to the canary's version ends the canary.

        Args:
            service: the service.
            alias: the alias.
            to: the version; the last one when not given.
            who: who does it.

        Raises:
            ObjectNotFoundError: there is no such service, or the alias never pointed there.
        """
        with self._write() as connection:
            versions = Versions(connection, self.project)
            name = versions.find(service, "feature_service").row.name
            version = aliases.target(connection, self.project, name, alias, to)
            before = aliases.find(connection, self.project, name, alias)
            aliases.pop(connection, self.project, name, alias, version=version, at=values.now(), who=who)
            after = aliases.find(connection, self.project, name, alias)
            assert before is not None  # noqa: S101 - it has a way back
            assert after is not None  # noqa: S101 - it has just been pointed there
            self._moved(connection, who, "rollback", name, alias, before.version, version, after.share)
            self._end_canary(connection, who, name, alias, version)
            return _service(versions, f"{name}@{version}")

    def demote(self, service: str, alias: str, *, who: str) -> Alias:
        """Take an alias away, with its way back, and return what it was; of ``canary``, this ends the canary.

        Raises:
            ObjectNotFoundError: there is no such service, or the alias is not set.
            RegistryError: a policy wants moves of the alias approved; without it the bare name would mean the newest
                version, which nobody approved.
        """
        with self._write() as connection:
            versions = Versions(connection, self.project)
            name = versions.find(service, "feature_service").row.name
            before = aliases.find(connection, self.project, name, alias)
            if before is None:
                raise ObjectNotFoundError(
                    f'The alias "{alias}" of service "{name}" is not set.', hint="List them: featurestore aliases"
                )
            if alias == aliases.PRODUCTION and promotions.approvals_needed(versions, name, alias):
                raise RegistryError(
                    f'The alias "{alias}" of service "{name}" cannot be taken away: what it points to is approved, '
                    "and without it the newest version would be served.",
                    hint=f"Go back: featurestore rollback {name}",
                )
            self._end(connection, who, before)
        return before

    def aliases(self, service: str) -> dict[str, int]:
        """Return each alias of a service with the version that it points to; empty if none is set."""
        with self._database.read() as connection:
            return aliases.of_service(connection, self.project, service)

    def alias_records(self, service: str | None = None) -> list[Alias]:
        """Return the aliases of one service, or of all, by service and name: where each points, since when, by whom."""
        with self._database.read() as connection:
            return aliases.listed(connection, self.project, service)

    def canaries(self) -> Mapping[str, tuple[int, float]]:
        """Return, for each service with a canary, its version and its share of the routing keys, 0 to 1."""
        with self._database.read() as connection:
            return aliases.named(connection, self.project, aliases.CANARY)

    def authors(self, reference: str) -> tuple[str, ...]:
        """Return who applied a version of a service, here and wherever it was transferred from.

        Raises:
            ObjectNotFoundError: there is no such version.
        """
        with self._database.read() as connection:
            row = Versions(connection, self.project).find(reference, "feature_service").row
            return promotions.authors(connection, self.project, row.name, row.version)

    @property
    def address(self) -> str:
        """The URL of the database, without its password."""
        return self._database.name

    def record_transfer(self, reference: str, details: Mapping[str, Any], *, who: str) -> None:
        """Enter in the audit log that a version came from another registry, or went to one."""
        with self._write() as connection:
            self._audit(connection, who, Event(action=promotions.TRANSFER, object=reference, details=details))

    def _share(self, connection: Connection, service: str, alias: str, share: float | None) -> float:
        """Return the share that an alias is to have."""
        if alias != aliases.CANARY:
            return 1.0
        if share is not None:
            return float(share)
        present = aliases.find(connection, self.project, service, alias)
        return 0.0 if present is None else present.share

    def _approvals(
        self, connection: Connection, versions: Versions, found: Registered[FeatureService], alias: str, share: float
    ) -> int:
        present = aliases.find(connection, self.project, found.name, alias)
        if present is not None and present.version == found.version and share <= present.share:
            return 0  # it moves nowhere, or a canary gets less: that is for the night, like a rollback
        return promotions.approvals_needed(versions, found.name, alias)

    def _check_canary(
        self, connection: Connection, versions: Versions, found: Registered[FeatureService], alias: str, share: float
    ) -> None:
        if alias != aliases.CANARY or share == 0:
            return
        others = _resolved(connection, versions, self.project, found.name)
        if others.version == found.version:
            raise RegistryError(
                f'{found.id} cannot be a canary: it answers every request for "{found.name}".',
                hint=f"First promote the version that the others are to get: featurestore promote {found.name}@VERSION",
            )
        unfit = request_differences(others.definition, found.definition)
        if unfit:
            raise RegistryError(
                f"{found.id} cannot be a canary beside {others.id}: {'; '.join(unfit)}.",
                hint=f"Callers that send what {others.id} takes would fail. Try it by its version: {found.id}",
            )

    def _point(
        self, connection: Connection, found: Registered[FeatureService], alias: str, share: float, who: str
    ) -> None:
        """Move an alias, if it is to be elsewhere or to have another share."""
        name, at = found.name, values.now()
        present = aliases.find(connection, self.project, name, alias)
        if present is not None and (present.version, present.share) == (found.version, share):
            return
        if present is not None and present.version == found.version:
            aliases.set_share(connection, self.project, name, alias, share=share, at=at, who=who)
            self._revise(connection)
            details = {"alias": alias, "from_share": present.share, "to_share": share}
            self._audit(connection, who, Event(action="share", object=found.id, details=details))
            return
        if alias == aliases.CANARY:  # it has no way back: it ends
            aliases.remove(connection, self.project, name, alias)
        aliases.push(connection, self.project, name, alias, version=found.version, share=share, at=at, who=who)
        before = None if present is None else present.version
        self._moved(connection, who, "promote", name, alias, before, found.version, share)
        self._end_canary(connection, who, name, alias, found.version)

    def _end_canary(self, connection: Connection, who: str, service: str, alias: str, version: int) -> None:
        """End the canary if production has come to its version; it would take requests again when production leaves."""
        canary = aliases.find(connection, self.project, service, aliases.CANARY)
        if alias == aliases.PRODUCTION and canary is not None and canary.version == version:
            self._end(connection, who, canary)

    def _end(self, connection: Connection, who: str, alias: Alias) -> None:
        aliases.remove(connection, self.project, alias.service, alias.alias)
        self._revise(connection)
        details = {"alias": alias.alias, "from_version": alias.version, "to_version": None}
        self._audit(connection, who, Event(action="demote", object=alias.id, details=details))

    def _moved(
        self,
        connection: Connection,
        who: str,
        action: str,
        service: str,
        alias: str,
        before: int | None,
        after: int,
        share: float,
    ) -> None:
        self._revise(connection)
        details = {"from_version": before, "to_version": after} | _target(alias, share)
        self._audit(connection, who, Event(action=action, object=f"{service}@{after}", details=details))


def _target(alias: str, share: float) -> dict[str, Any]:
    return {"alias": alias, "share": share} if alias == aliases.CANARY else {"alias": alias}


def _service(versions: Versions, reference: str) -> Registered[FeatureService]:
    return cast("Registered[FeatureService]", versions.registered(versions.find(reference, "feature_service")))


def _resolved(connection: Connection, versions: Versions, project: str, reference: str) -> Registered[FeatureService]:
    name, version = values.split_reference(reference)
    promoted = None if version is not None else aliases.find(connection, project, name, aliases.PRODUCTION)
    return _service(versions, reference if promoted is None else promoted.id)
