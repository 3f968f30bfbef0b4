"""What is done with tables as a whole: compaction, restore, and the removal of what nobody needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from featurestore import markup
from featurestore.definitions import FeatureView, storage_id
from featurestore.errors import ConfigError
from featurestore.offline.intake.pushed import PUSHED
from featurestore.offline.store import Progress
from featurestore.offline.tables.compacting import CompactReport
from featurestore.offline.tables.garbage import Garbage, by_age, garbage, older
from featurestore.offline.tables.restoring import RestoreReport
from featurestore.registry import live_views
from featurestore.registry.records import Load, Registered
from featurestore.serving.feedback.segments import segments
from featurestore.store.collectors import collectors_of
from featurestore.store.pushing import Pushing


@dataclass(frozen=True, kw_only=True)
class GcReport:
    """What was removed, or would be.

    Attributes:
        removed: files, and rows of databases, that nobody needs.
        kept: those that are old enough to go, and are needed; each says by what.
        young: files that nothing needs, but that were written within the last hour, so that somebody may be at work
            with them; the next run takes them.
        dry_run: whether nothing was done.
    """

    removed: tuple[Garbage, ...]
    kept: tuple[Garbage, ...]
    young: tuple[Garbage, ...]
    dry_run: bool

    @property
    def bytes(self) -> int:
        """Of what was removed, or would be."""
        return sum(one.size for one in self.removed)

    def _repr_html_(self) -> str:
        """What a notebook shows: what goes, and what something needs still."""
        fates = [(one, "goes" if self.dry_run else "gone") for one in self.removed]
        fates += [(one, f"kept: {one.kept_by}") for one in self.kept]
        fates += [(one, "was written just now") for one in self.young]
        rows = [(one.kind, one.what, f"{one.size:,}", fate) for one, fate in fates]
        caption = f"{self.bytes:,} bytes {'would be removed' if self.dry_run else 'removed'}"
        return markup.text_of(markup.table(("what", "of", "bytes", ""), rows, caption=caption))


class Tables(Pushing):
    """Tables as a whole."""

    def loads(self, view: str) -> list[Load]:
        """Return the loads of a view's table in their order, with their reasons and those that a restore has withdrawn.

        Raises:
            ObjectNotFoundError: there is no such view.
            RegistryError: the view is another project's.
        """
        return self.offline.explained(self._own_view(view).definition)

    def compact(self, view: str, *, reason: str = "", progress: Progress | None = None) -> CompactReport:
        """Merge the small files of a view's table into large ones, sorted by key and event time.

        Loads may land meanwhile. The rows are the same, and so is every result.

        Args:
            view: the view: ``weather`` is every live version, as in :meth:`ingest`; ``weather@1`` just that one.
            reason: why, for the table's history and the audit.
            progress: called with the rows of each batch.

        Raises:
            ObjectNotFoundError: there is no such view.
            RegistryError: the view is another project's.
            OfflineStoreError: the table cannot be read or written.
        """
        who = self.who()
        current, *others = [
            replace(self.offline.compact(one.definition, who=who, reason=reason, progress=progress), view=one.id)
            for one in self._live(view)
        ]
        return replace(current, view=current.view.partition("@")[0], also=tuple(others))

    def restore(
        self,
        view: str,
        *,
        to: str | datetime,
        pushes: bool = False,
        reason: str = "",
        progress: Progress | None = None,
    ) -> RestoreReport:
        """Take a view's rows back to what they were after a load, or at an instant, offline and online.

        The loads that came since are withdrawn, and may be ingested again; restoring to one of them brings them back.
        A load of the view's source is read again by the next ingest of it, if the source still has it. Pushed rows
        were acknowledged one by one, and stay.
        Online, the keys that the loads have rows of get the newest of what is left, though it is older, at once: a
        lookup sees all of them as they were before, or as they are after. Whoever is killed in between leaves them as
        they were, and the same restore, or the next materialization, finishes it.

        Args:
            view: the view: ``weather`` is every live version, as in :meth:`ingest`; ``weather@1`` just that one. The
                other versions go back to what they had before the current one's next load.
            to: a load's id, as :meth:`loads` gives it, or an instant.
            pushes: whether rows that were pushed since are withdrawn too.
            reason: why, for the table's history and the audit.
            progress: called with the rows of each piece that is written online.

        Raises:
            ObjectNotFoundError: there is no such view or load, or there were no rows yet.
            RegistryError: the view is another project's.
            ConfigError: the store is open for a replay, whose tables are the store's own.
            OfflineStoreError: files of that time are gone, or a table cannot be written.
            OnlineStoreError: the online store refuses; restoring again goes on with it.
        """
        who = self.who()
        self._check_live("takes nothing back")
        if pushes:  # those in the log came since too
            self.flush_pushes()
        current, *others = self._live(view)
        state = self.offline.find_state(current.definition, to)
        after = self.offline.table(current.definition).commits(state.version)
        until = next((commit.at for commit in after if commit.load is not None), None)
        targets, notes = [(current, state)], []
        for one in others:
            known = {load.load_id for load in self.offline.ledger(one.definition)}
            if to in known:
                targets.append((one, self.offline.find_state(one.definition, to)))
            elif until is not None and (then := self.offline.state_before(one.definition, until)) is not None:
                targets.append((one, then))
            elif until is not None:
                notes.append(f"{one.id} had no rows yet, and is left as it is")

        def keep(load_id: str) -> bool:
            return not pushes and load_id.startswith(PUSHED)

        reports = []
        for one, then in targets:
            report = self.offline.restore(one.definition, then, who=who, reason=reason, keep=keep)
            reports.append(self._online_too(one, report, progress))
        undone = zip(targets, reports, strict=True)
        if any(self.offline.read_again(one.definition, report.withdrawn) for (one, _), report in undone):
            notes.append(
                "withdrawn loads that came from the source are read again by the next featurestore ingest "
                f"{current.name}: mend the source before it"
            )
        stayed = sum(len(one.stayed) for one in reports)
        if stayed:
            notes.append(f"{stayed} load(s) of rows that were pushed since stay; --pushes takes them back too")
        return _together(reports, notes)

    def withdraw(
        self, view: str, load_ids: Collection[str], *, reason: str = "", progress: Progress | None = None
    ) -> RestoreReport | None:
        """Take loads out of a view, offline and online; all other rows stay, whenever they came.

        As :meth:`restore` does: they may be ingested again, and online their keys get the newest of what is left.

        Args:
            view: as of :meth:`restore`.
            load_ids: the loads.
            reason: why, for the table's history and the audit.
            progress: as of :meth:`restore`.

        Returns:
            What was done; None if no version has any of them: then what was left to do online is done all the same.

        Raises:
            ObjectNotFoundError: there is no such view.
            RegistryError: the view is another project's.
            ConfigError: the store is open for a replay.
            OfflineStoreError: a table cannot be read or written.
            OnlineStoreError: the online store refuses; doing it again, or the next materialization, goes on with it.
        """
        who = self.who()
        self._check_live("takes nothing back")
        reports, notes = [], []
        for one in self._live(view):
            report = self.offline.withdraw(one.definition, load_ids, who=who, reason=reason)
            if report is not None:
                reports.append(self._online_too(one, report, progress))
            elif self._had(one, load_ids):
                self._finish(one)
            else:
                notes.append(f"{one.id} never had these loads, and is left as it is")
        return _together(reports, notes) if reports else None

    def reinstate(
        self, view: str, load_ids: Collection[str], *, reason: str = "", progress: Progress | None = None
    ) -> RestoreReport | None:
        """Bring loads of a view back that a restore withdrew, offline and online; whatever came since stays.

        Args:
            view: as of :meth:`restore`.
            load_ids: the loads. A version that has them, or never had them, is left as it is.
            reason: why, for the table's history and the audit.
            progress: as of :meth:`restore`.

        Returns:
            What was done; None if no version lacks any of them, and then as of :meth:`withdraw`.

        Raises:
            ObjectNotFoundError: there is no such view.
            RegistryError: the view is another project's.
            ConfigError: the store is open for a replay.
            OfflineStoreError: other loads would come back too, as somebody restored the view since; files of that
                time are gone; or a table cannot be written.
            OnlineStoreError: the online store refuses; the next materialization goes on with it.
        """
        who = self.who()
        self._check_live("brings nothing back")
        reports = []
        for one in self._live(view):
            report = self.offline.reinstate(one.definition, load_ids, who=who, reason=reason)
            if report is not None:
                reports.append(self._online_too(one, report, progress))
            elif self._had(one, load_ids):
                self._finish(one)
        return _together(reports, []) if reports else None

    def _had(self, view: Registered[FeatureView], load_ids: Collection[str]) -> bool:
        return any(one.load_id in load_ids for one in self.offline.ledger(view.definition))

    def _finish(self, view: Registered[FeatureView]) -> None:
        """Bring online what somebody who was killed has done to a version's table alone."""
        if self.registry.last_materialization(storage_id(view.definition)) is not None:
            self._materialize(view, None)

    def _online_too(
        self, view: Registered[FeatureView], report: RestoreReport, progress: Progress | None
    ) -> RestoreReport:
        """Bring online what a restore made of a version's table, if the version is served."""
        online, table = None, storage_id(view.definition)
        if self.registry.last_materialization(table) is not None or self._has_withdrawn_pushes(view):
            self._materialize(view, None if progress is None else lambda rows, _: progress(rows))
            online = self.online.status()[table].rows
        return replace(report, view=view.id, online=online)

    def _has_withdrawn_pushes(self, view: Registered[FeatureView]) -> bool:
        """Return whether rows may be online, though nobody materialized the view, that were pushed and taken back."""
        ledger = self.offline.ledger(view.definition)
        return any(one.withdrawn_at is not None and one.load_id.startswith(PUSHED) for one in ledger)

    def _check_live(self, what: str) -> None:
        if self.config.replay:
            raise ConfigError(
                f'The replay "{self.config.replay}" {what}: its tables are those of the store itself.',
                hint="Open the store without the replay.",
            )

    def gc(self, *, dry_run: bool = False, reason: str = "", now: datetime | None = None) -> GcReport:
        """Remove what nobody needs: what dead processes left, and what is older than ``[retention]`` says.

        What a training dataset was made of stays as long as the dataset does, and a dataset as long as a model of it
        is there, or the monitor compares with it.

        Args:
            dry_run: find it only.
            reason: why, for the audit.
            now: the instant against which ages are measured; the present one when not given.

        Raises:
            OfflineStoreError: a manifest or a table cannot be read.
        """
        now = datetime.now(UTC) if now is None else now
        who = self.who()
        live = {storage_id(one.definition) for one in live_views(self.registry)}
        found = self.offline.find_datasets(now=now)
        going = [one for one in found if not one.kept_by]
        if not dry_run:
            for one in going:
                self.offline.remove_garbage(one, who=who, reason=reason, now=now)
        # Only a dataset that is gone for certain frees its files.
        found += self.offline.find_garbage(live, without=[one.what for one in going] if dry_run else (), now=now)
        found += self._old_log(now)
        elsewhere = [(one, list(one.find(now=now))) for one in collectors_of(self.config)]
        found += [one for _, theirs in elsewhere for one in theirs]
        removed = tuple(one for one in found if not one.kept_by and not one.young)
        if not dry_run and removed:
            for one in removed:
                if one not in going:
                    self.offline.remove_garbage(one, who=who, reason=reason, now=now)
                if one.kind == "retired version":
                    self.online.replace(one.what, ())
            for collector, theirs in elsewhere:
                if any(one in removed for one in theirs):
                    collector.remove(now=now)
            size: Counter[str] = Counter()
            for one in removed:
                size[one.kind] += one.size
            self.registry.record("gc", self.config.project, {"bytes": dict(size), "reason": reason}, who=who)
        return GcReport(
            removed=removed,
            kept=tuple(one for one in found if one.kept_by),
            young=tuple(one for one in found if one.young and not one.kept_by),
            dry_run=dry_run,
        )

    def _old_log(self, now: datetime) -> Iterator[Garbage]:
        folder, kept = self.config.path(self.config.serving.log_path), self.config.retention.log
        for service in sorted(one for one in folder.glob("*") if one.is_dir()):
            yield from by_age("leftover", f"log of {service.name}", service.glob(".*"), now)
            if kept is not None:
                yield from garbage("log", service.name, older(service.glob("[!.]*.parquet"), now - kept))
        aside = self.config.retention.quarantine
        for stream in sorted(self.config.path(self.config.streaming.path).glob("quarantine/*/")):
            what = f"messages of {stream.name}"
            yield from by_age("leftover", what, stream.glob(".*"), now)
            if aside is not None:
                yield from garbage("quarantine", what, older(stream.glob("[!.]*.jsonl"), now - aside))
        folder = self.config.path(self.config.serving.feedback_path)
        for model in sorted(one for one in folder.glob("*/*") if one.is_dir()):
            what = f"{model.parent.name} of {model.name}"
            yield from by_age("leftover", what, model.glob(".*"), now)
            if kept is not None:
                yield from garbage("feedback", what, older(segments(model), now - kept))


def _together(reports: Sequence[RestoreReport], notes: Sequence[str]) -> RestoreReport:
    first, *rest = reports
    return replace(first, view=first.view.partition("@")[0], notes=tuple(notes), also=tuple(rest))
