"""Predictions and outcomes of erased persons: those whose lookups stand in the serving log with an erased key.

A prediction has no key; its request id and row lead to the lookup that the features came from, and its own id leads to
its outcomes. So these places come before the serving logs, and outcomes go before their predictions: killed between any
two steps, an erasure still finds what is left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from featurestore.config import Config
from featurestore.erasure.log_files import LoggedFile, logged_files, workers_behind
from featurestore.erasure.offline_places import remove_partial
from featurestore.erasure.online_places import replays
from featurestore.erasure.place import Erased, Task
from featurestore.offline.erasure.erased_keys import Matches
from featurestore.offline.tables.rewriting import count_matches, erase_in_place
from featurestore.serving.feedback import OUTCOMES, PREDICTIONS
from featurestore.serving.feedback.segments import segments
from featurestore.serving.folder_lock import rewriting

#: A lookup's entity row: the request's id, and its place in it.
_Lookup = tuple[str, int]


class Feedback:
    """What was predicted for erased persons, and what came of it."""

    name = "predictions and outcomes"

    def erase(self, task: Task) -> Erased:
        """See :class:`~featurestore.erasure.place.Place`."""
        return _erased(task.config, task)


class ReplayedFeedback:
    """The same of rehearsals."""

    name = "predictions and outcomes of replays"

    def erase(self, task: Task) -> Erased:
        """See :class:`~featurestore.erasure.place.Place`."""
        total = Erased()
        for config in replays(task.config):
            total += _erased(config, task)
        return total


def _erased(config: Config, task: Task) -> Erased:
    folder = config.path(config.serving.feedback_path)
    total = remove_partial(folder.glob("*/*/.*.parquet*"), task)
    if not _models(folder):
        return total
    # Lookups that no file has yet lead to nothing.
    late = 0 if task.dry_run else workers_behind(config.path(config.serving.log_path))
    with logged_files(config, task) as logged:
        return total + Erased(waiting=late) + erase_feedback(config, task, logged)


def erase_feedback(config: Config, task: Task, logged: Sequence[LoggedFile]) -> Erased:
    """Erase the predictions, and their outcomes, of the lookups that stand in files of the serving log.

    Args:
        config: the live store's, or a rehearsal's.
        task: whose keys they are.
        logged: the files, each with the columns that hold the keys.
    """
    folder = config.path(config.serving.feedback_path)
    models = _models(folder)
    lookups = _lookups(task, logged) if models else set()
    total = Erased()
    for model in models if lookups else ():
        total += _erased_of_model(folder, model, lookups, task)
    return total


def _models(folder: Path) -> list[str]:
    return sorted({one.name for one in folder.glob("*/*") if one.is_dir()})


def _lookups(task: Task, logged: Sequence[LoggedFile]) -> set[_Lookup]:
    """Return the lookups of the keys that are in the serving log."""
    found: set[_Lookup] = set()
    for file, places, _ in logged:
        matches = task.scope.matches(places)
        columns = dict.fromkeys([*(name for one in places for name in one), "request_id", "row"])
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(columns=list(columns)):
                theirs = batch.filter(matches(batch))
                ids, rows = (theirs.column(name).to_pylist() for name in ("request_id", "row"))
                found.update(zip(ids, rows, strict=True))
    return found


def _erased_of_model(folder: Path, model: str, lookups: set[_Lookup], task: Task) -> Erased:
    ours = _of_lookups(lookups)
    ids: set[str] = set()
    with _held([folder / kind.name / model for kind in (OUTCOMES, PREDICTIONS)], task):
        made = segments(folder / PREDICTIONS.name / model)
        for file in made:
            with pq.ParquetFile(file) as opened:
                for batch in opened.iter_batches(columns=["prediction_id", "request_id", "row"]):
                    ids.update(batch.filter(ours(batch)).column("prediction_id").to_pylist())
        theirs = _of_predictions(ids)
        total = Erased()
        for file in segments(folder / OUTCOMES.name / model):
            total += _erased_from(file, ["prediction_id"], theirs, task)
        for file in made:
            total += _erased_from(file, ["request_id", "row"], ours, task)
        return total


@contextlib.contextmanager
def _held(folders: list[Path], task: Task) -> Iterator[None]:
    with contextlib.ExitStack() as held:
        for one in folders:
            if one.is_dir() and not task.dry_run:
                held.enter_context(rewriting(one, wait=True))
        yield


def _erased_from(file: Path, columns: list[str], matches: Matches, task: Task) -> Erased:
    rows = count_matches(file, columns, matches)
    if rows and not task.dry_run:
        erase_in_place(file, matches)
    return Erased(rows=rows, files=int(rows > 0))


def _of_lookups(lookups: set[_Lookup]) -> Matches:
    ids = pa.array(sorted({request for request, _ in lookups}), pa.string())

    def mask(batch: pa.RecordBatch) -> pa.BooleanArray:
        found = pc.is_in(batch.column("request_id"), value_set=ids)
        if not pc.any(found).as_py():
            return found
        # Of the requests that have an erased key, the rows of others stay.
        pairs = zip(batch.column("request_id").to_pylist(), batch.column("row").to_pylist(), strict=True)
        return pa.array([pair in lookups for pair in pairs], pa.bool_())

    return mask


def _of_predictions(ids: set[str]) -> Matches:
    wanted = pa.array(sorted(ids), pa.string())
    return lambda batch: pc.is_in(batch.column("prediction_id"), value_set=wanted)
