"""The rows of a version that is to be served: whether they are behind, and how they come up to date."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from featurestore.definitions import (
    FeatureService,
    FeatureView,
    PushSource,
    SharedFeatureView,
    heritage,
    storage_id,
)
from featurestore.errors import ObjectNotFoundError, OnlineStoreError, RegistryError
from featurestore.materialize import MaterializeReport, materialize, rows_left_out
from featurestore.offline.intake.pushed import PUSHED
from featurestore.registry.consents import Home
from featurestore.registry.records import Load, Materialization, Registered
from featurestore.store.carrying import carry_rest
from featurestore.store.definitions import Definitions
from featurestore.store.pushing import Pushing


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


class CatchingUp(Definitions, Pushing):
    """What has to be so of the rows of a version before it is served."""

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

    def _make_current(self, service: Registered[FeatureService], *, catch_up: bool) -> None:
        """Raise RegistryError if the rows that a version would serve are behind, or bring them up to date."""
        for one in service.definition.views:
            # What an apply owed that was killed; the owner of a shared view does that.
            if not isinstance(one, SharedFeatureView):
                view = self.registry.feature_view(f"{one.name}@{service.pins[one.reference]}")
                carry_rest(view, self.registry, self.offline, self._put_online, who=self.who())
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

    def _put_online(self, view: FeatureView) -> MaterializeReport:
        if self.config.replay:
            return super()._put_online(view)
        with self._pusher.flusher.settled():
            waiting = partial(self._pusher.flusher.waiting, view)
            return materialize(view, self.offline, self.online, now=datetime.now(UTC), waiting=waiting)

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


def _amount(loads: tuple[Load, ...]) -> str:
    rows = sum(load.rows_written for load in loads)
    newest = f"the newest of {loads[-1].published_at:%Y-%m-%d %H:%M}"
    return f"{len(loads)} load{'s' * (len(loads) != 1)} ({rows:,} row{'s' * (rows != 1)}, {newest})"


def _were(loads: tuple[Load, ...]) -> str:
    return "was" if len(loads) == 1 else "were"
