"""What a user does to release a version of a service: promote, approve, roll back, and take it to another registry."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from featurestore.definitions import (
    FeatureService,
    FeatureView,
    PushSource,
    SharedFeatureView,
    content_hash,
    heritage,
    storage_id,
)
from featurestore.errors import ObjectNotFoundError, OnlineStoreError, RegistryError
from featurestore.materialize import rows_left_out
from featurestore.offline.intake.pushed import PUSHED
from featurestore.registry import Plan
from featurestore.registry.aliases import CANARY, PRODUCTION
from featurestore.registry.consents import Home
from featurestore.registry.records import Alias, Load, Materialization, Promotion, Registered
from featurestore.store.definitions import Definitions
from featurestore.store.pushing import Pushing


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


@dataclass(frozen=True, kw_only=True)
class _Lag:
    """What a version of a view lacks: loads of the version that is current, or a materialization of its own."""

    view: Registered[FeatureView]
    lacking: tuple[Load, ...] = ()
    source: Registered[FeatureView] | None = None
    waiting: tuple[Load, ...] = ()
    left_out: int = 0

    @property
    def owner(self) -> str:
        """The other project that has to mend it; empty if this one can."""
        return self.view.definition.project if isinstance(self.view.definition, SharedFeatureView) else ""

    @property
    def hint(self) -> str:
        """What to have the owner do."""
        name, version = self.view.definition.name, self.view.version
        ingest = f"featurestore ingest {name}@{version}; " if self.lacking else ""
        return f'In the folder of "{self.owner}", its owner runs: {ingest}featurestore materialize {name}@{version}'

    def __str__(self) -> str:
        parts = []
        if self.source is not None:
            parts.append(f"{self.view.id} lacks {_amount(self.lacking)} of {self.source.id}")
        if self.left_out:
            parts.append(f"{self.view.id} keeps some of {self.left_out:,} rows that a shorter TTL left out online")
        if self.waiting:
            parts.append(f"{self.view.id} has {_amount(self.waiting)} that {_were(self.waiting)} never materialized")
        return " and ".join(parts)


class Rollout(Definitions, Pushing):
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

    def catch_up(self, reference: str) -> tuple[str, ...]:
        """Bring the rows that a version of a service would serve up to date, and return what was done, as sentences.

        A view's version that was not fed for a while reads its source, or takes over the rows of the current version
        if it has no source; then it is materialized.

        Raises:
            ObjectNotFoundError: there is no such service or version.
            RegistryError: a view has no source, and the current version's rows would leave some of its fields empty.
            DataError: a source cannot be read.
        """
        return tuple(self._caught_up(self.registry.service(reference)))

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

    def _make_current(self, service: Registered[FeatureService], *, catch_up: bool) -> None:
        """Raise RegistryError if the rows that a version would serve are behind, or bring them up to date."""
        if catch_up:
            for _ in self._caught_up(service):
                pass
            self._serve_pushed(service)
            return
        behind = list(self._behind(service))
        if behind:
            theirs = next((one for one in behind if one.owner), None)
            raise RegistryError(
                f"{service.id} is behind: {'; '.join(str(one) for one in behind)}.",
                hint=theirs.hint if theirs else "Bring it up to date first: --catch-up (catch_up=True).",
            )
        self._serve_pushed(service)

    def _serve_pushed(self, service: Registered[FeatureService]) -> None:
        """Put rows online that were pushed before a version was live, and are in no table yet.

        Before an alias moves, so that whoever reads by it misses none; and again after it, as a version that only then
        is live was not given those in between.
        """
        if self.config.replay:  # whose online store has no pushed rows
            return
        for view in service.definition.views:
            self._pusher.flusher.serve_waiting(view)

    def _behind(self, service: Registered[FeatureService]) -> Iterator[_Lag]:
        """Yield what the views of a version lack; a view that was never ingested in any version lacks nothing."""
        for one in service.definition.views:
            home = self._home(one)
            view = home.feature_view(f"{one.name}@{service.pins[one.reference]}")
            loads = self.offline.loads(view.definition)
            done = home.last_materialization(storage_id(view.definition))
            self._check_online(view.definition, done)
            waiting = [
                load
                for load in loads
                if load.rows_written
                and (done is None or load.table_version > done.table_version)
                and not load.load_id.startswith(PUSHED)  # whose rows were online before
            ]
            left_out = 0 if done is None else rows_left_out(view.definition, self.online, datetime.now(UTC))
            for source in _fresher(home, view, never=not loads):
                lacking = self.offline.missing_loads(source.definition, view.definition)
                if sum(load.rows_written for load in lacking):
                    yield _Lag(view=view, lacking=tuple(lacking), source=source, waiting=tuple(waiting))
                    break
            else:
                if waiting or left_out:
                    yield _Lag(view=view, waiting=tuple(waiting), left_out=left_out)

    def _home(self, view: FeatureView) -> Home:
        """Return the project that loads and materializes a view.

        Raises:
            RegistryError: it is another one, which shares the view no more.
        """
        if not isinstance(view, SharedFeatureView):
            return self.registry
        if not self.registry.may_use(view):
            raise RegistryError(
                f'Project "{view.project}" does not share view "{view.name}" any more, and need not feed it.',
                hint=f'Its owner runs, in the folder of "{view.project}": '
                f"featurestore share {view.name} --with {self.config.project}",
            )
        return self.registry.owner(view)

    def _check_online(self, view: FeatureView, done: Materialization | None) -> None:
        """Raise OnlineStoreError if another project has materialized its view, and into another store than ours."""
        if not isinstance(view, SharedFeatureView) or done is None:
            return
        there = done.counts.get("written", 0) + done.counts.get("older", 0)
        if there and storage_id(view) not in self.online.status():
            raise OnlineStoreError(
                f'Project "{view.project}" has materialized view "{view.name}", and not into this online store.',
                hint='Both projects have to keep their rows in one place: the same "online" in both.',
            )

    def _caught_up(self, service: Registered[FeatureService]) -> Iterator[str]:
        for lag in self._behind(service):
            if lag.owner:
                raise RegistryError(f"{service.id} cannot catch up by itself: {lag}.", hint=lag.hint)
            if lag.source is not None:
                yield from self._take_rows(lag.view, lag.source)
            yield str(self.materialize(lag.view.id))

    def _take_rows(self, view: Registered[FeatureView], current: Registered[FeatureView]) -> Iterator[str]:
        new = view.definition
        if new.source is not None and not isinstance(new.source, PushSource):
            yield f"{view.id}: {self.offline.ingest_source(new, who=self.who())}"
            return
        inherited = heritage(current.definition, new)
        if inherited.obstacle or inherited.added:
            reason = inherited.obstacle or f"{current.id} has no {', '.join(inherited.added)}"
            raise RegistryError(
                f"{view.id} cannot catch up with {current.id} by itself: {reason}.",
                hint=f'Load its rows: featurestore ingest {view.id} FILE, or store.ingest("{view.id}", frame).',
            )
        report = self.offline.carry_over(current.definition, new, who=self.who())
        if report is not None:
            yield f"{view.id}, from {current.id}: {report}"


def _fresher(home: Home, view: Registered[FeatureView], *, never: bool) -> list[Registered[FeatureView]]:
    """Return the versions of a view whose loads it should have too.

    Every load reaches the current version first and the other live ones after it, so what the current version has is
    what there is; unless the version is new, and has nothing at all.
    """
    name = view.definition.name
    if never:
        return [one for one in home.live_views(name) if one.id != view.id]
    try:
        current = home.feature_view(name)
    except ObjectNotFoundError:  # the view was removed; its versions are what they were
        return []
    return [] if current.id == view.id else [current]


def _on_record(store: Rollout, reference: str, details: Mapping[str, object]) -> bool:
    known = store.registry.audit(object=reference, action="transfer")
    return any(all(entry.details.get(key) == value for key, value in details.items()) for entry in known)


def _amount(loads: tuple[Load, ...]) -> str:
    rows = sum(load.rows_written for load in loads)
    newest = f"the newest of {loads[-1].published_at:%Y-%m-%d %H:%M}"
    return f"{len(loads)} load{'s' * (len(loads) != 1)} ({rows:,} row{'s' * (rows != 1)}, {newest})"


def _were(loads: tuple[Load, ...]) -> str:
    return "was" if len(loads) == 1 else "were"
