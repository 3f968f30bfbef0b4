"""What a user does to release a version of a service: promote, approve, roll back, and take it to another registry."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from featurestore.definitions import FeatureService, content_hash
from featurestore.errors import RegistryError
from featurestore.registry import Plan
from featurestore.registry.aliases import CANARY, PRODUCTION
from featurestore.registry.records import Alias, Promotion, Registered
from featurestore.store.catching_up import CatchingUp


@dataclass(frozen=True, kw_only=True)
class Transferred:
    """A version of a service that is in another registry now.

    Attributes:
        here: the version in this registry.
        there: the version in the other, with the same content hash.
        plan: what changed in the other.
    """

    here: Registered[FeatureService]
    there: Registered[FeatureService]
    plan: Plan


class Rollout(CatchingUp):
    """The rollout of services: their aliases, and what has to be so before one moves."""

    def promote(
        self, reference: str, *, alias: str = PRODUCTION, share: float | None = None, catch_up: bool = False
    ) -> Alias | Promotion:
        """Point an alias to a version of a service, or ask for it where a policy wants it approved.

        Args:
            reference: the version: ``flight_delay@3``; a bare name is the current one.
            alias: the alias.
            share: of the alias ``canary``, the share of the routing keys whose requests for the bare name go to it, 0
                to 1; it stays as it is when not given, and is 0 at first.
            catch_up: whether to bring the version's rows up to date first, as :meth:`catch_up` does.

        Returns:
            Where the alias points now; or the promotion, which waits for :meth:`approve`.

        Raises:
            ObjectNotFoundError: there is no such service or version.
            DefinitionError: the alias's name cannot be one.
            RegistryError: the rows that the version would serve are behind, the share is none, or the version cannot
                answer the requests that it would get.
        """
        service = self.registry.service(reference)
        if not self._gets_less(service, alias, share):  # that is for the night, whatever the state of its rows
            self._make_current(service, catch_up=catch_up)
        waiting = self.registry.request_promotion(service.id, alias, share=share, who=self.who())
        if waiting is not None:
            return waiting
        self.registry.promote(service.id, alias, share=share, who=self.who())
        self._serve_pushed(service)
        return self._alias(service.name, alias)

    def rollback(
        self, service: str, *, alias: str = PRODUCTION, to: int | None = None, catch_up: bool = False
    ) -> Alias | None:
        """Point an alias back to a version it pointed to before; a canary ends. Neither needs approval.

        Args:
            service: the service.
            alias: the alias.
            to: the version; the last one when not given.
            catch_up: whether to bring the version's rows up to date first, as :meth:`catch_up` does.

        Returns:
            Where the alias points now; None if it was a canary, which has ended.

        Raises:
            ObjectNotFoundError: there is no such service, or the alias never pointed there.
            RegistryError: the rows that the version would serve are behind.
        """
        if alias == CANARY and to is None:
            self.demote(service, alias=alias)
            return None
        target = self.registry.rollback_target(service, alias, to=to)
        self._make_current(target, catch_up=catch_up)
        # To the very version that was looked at, in case somebody else moves the alias meanwhile.
        self.registry.rollback(service, alias, to=target.version, who=self.who())
        self._serve_pushed(target)
        return self._alias(target.name, alias)

    def demote(self, service: str, *, alias: str) -> Alias:
        """Take an alias away and return what it was; of ``canary``, this ends the canary.

        Raises:
            ObjectNotFoundError: there is no such service, or the alias is not set.
            RegistryError: what the alias points to needs approval.
        """
        return self.registry.demote(service, alias, who=self.who())

    def approve(self, number: int, *, catch_up: bool = False) -> Promotion:
        """Approve somebody else's promotion; the last approval that it needs moves the alias.

        Args:
            number: the promotion's.
            catch_up: whether to bring the version's rows up to date first, as :meth:`catch_up` does.

        Raises:
            ObjectNotFoundError: there is no such promotion.
            RegistryError: it was decided, we may not approve it, or the rows that the version would serve are behind.
        """
        waiting = self.registry.promotion(number)
        service = self.registry.service(waiting.id)
        if waiting.state == "pending":
            self._make_current(service, catch_up=catch_up)
        approved = self.registry.approve(number, who=self.who())
        self._serve_pushed(service)
        return approved

    def reject(self, number: int) -> Promotion:
        """Turn a promotion down, or withdraw one's own.

        Raises:
            ObjectNotFoundError: there is no such promotion.
            RegistryError: it was decided.
        """
        return self.registry.reject(number, who=self.who())

    def promotions(self, service: str | None = None) -> list[Promotion]:
        """Return the promotions that needed approval, of one service or of all, by number."""
        return self.registry.promotions(service)

    def aliases(self, service: str | None = None) -> list[Alias]:
        """Return the aliases of one service, or of all: where each points, since when, by whom, and the way back.

        Raises:
            ObjectNotFoundError: there is no such service.
        """
        return self.registry.alias_records(None if service is None else self.registry.service(service).name)

    def transfer(self, reference: str, into: str | os.PathLike[str], *, allow_breaking: bool = False) -> Transferred:
        """Take a version of a service, with all that it is made of, to the registry of another configuration.

        It becomes the current version there, as by ``apply``. No alias moves, and policies stay where they are.

        Args:
            reference: the version: ``flight_delay@3``; a bare name is the current one.
            into: the other configuration: a TOML file, or a folder with ``featurestore.toml``.
            allow_breaking: whether users of the version that is current there may break.

        Raises:
            ObjectNotFoundError: there is no such service or version.
            ConfigError: the configuration cannot be read.
            BreakingChangeError: users of the versions there would break, and ``allow_breaking`` is not given.
            RegistryError: the other registry is this one, or this release reads the definition in another way than
                the one that applied it.
        """
        here, who = self.registry.service(reference), self.who()  # before anything is done that would need both
        if content_hash(here.definition) != here.content_hash:
            raise RegistryError(
                f"{here.id} cannot be transferred: this release makes another definition of what is registered.",
                hint="Use the release that applied it, or apply its definition again.",
            )
        with type(self)(into) as target:
            mine, other = ((one.registry.address, one.config.project) for one in (self, target))
            if mine == other:
                raise RegistryError(
                    f'"{os.fspath(into)}" configures this very registry and project.',
                    hint=f"To point an alias there: featurestore promote {here.id} --to ALIAS",
                )
            plan = target.apply(here.definition, allow_breaking=allow_breaking)
            there = target.registry.service(here.name)
            if there.content_hash != here.content_hash:
                raise RegistryError(
                    f"Somebody else applied {there.id} there at the same moment.", hint="Transfer once more."
                )
            authors = list(self.registry.authors(here.id))
            # Only once, though a run that was killed before it got here may be repeated.
            came = {"content_hash": here.content_hash, "from": [*mine, here.id], "authors": authors}
            if not _on_record(target, there.id, came):
                target.registry.record_transfer(there.id, came, who=target.who())
            went = {"content_hash": here.content_hash, "into": [*other, there.id]}
            if not _on_record(self, here.id, went):
                self.registry.record_transfer(here.id, went, who=who)
        return Transferred(here=here, there=there, plan=plan)

    def _alias(self, service: str, alias: str) -> Alias:
        return next(one for one in self.registry.alias_records(service) if one.alias == alias)

    def _gets_less(self, service: Registered[FeatureService], alias: str, share: float | None) -> bool:
        """Return whether a canary stays where it is and is asked no more often than it was."""
        present = self.registry.canaries().get(service.name)
        return (
            alias == CANARY
            and share is not None
            and present is not None
            and (present[0] == service.version and share <= present[1])
        )


def _on_record(store: Rollout, reference: str, details: Mapping[str, object]) -> bool:
    known = store.registry.audit(object=reference, action="transfer")
    return any(all(entry.details.get(key) == value for key, value in details.items()) for entry in known)
