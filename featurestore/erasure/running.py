"""An erasure from its first step to its receipt.

Whom it is about is entered in the list of suppressed keys first, so that nothing comes back meanwhile. Then every place
is gone through, and the receipt is written last. Killed at any point, the same call does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import entry_points

from featurestore.config import Config
from featurestore.erasure.backups import is_ours, listed_backups, note_erased
from featurestore.erasure.feedback_places import Feedback, ReplayedFeedback
from featurestore.erasure.logged_places import ReplayedLogs, ServingLogs
from featurestore.erasure.offline_places import Datasets, Leftovers, OfflineTables, Quarantine
from featurestore.erasure.online_places import CopiedRows, OnlineRows, ReplayedRows
from featurestore.erasure.place import Erased, Place, Task
from featurestore.erasure.pushed_places import PushedRows
from featurestore.erasure.report import ErasureReport, PlaceReport
from featurestore.erasure.stream_places import StreamedMessages
from featurestore.offline.erasure.suppression import members, suppressed, suppression_secret
from featurestore.offline.sources.reading import location_of
from featurestore.online import OnlineStore
from featurestore.online.local_copy import local_copy_of
from featurestore.settings.online import RedisConfig

#: Where packages name the places in which they store rows.
GROUP = "featurestore.erasers"

Progress = Callable[[str], None]


def places_of(config: Config, online: OnlineStore) -> list[Place]:
    """Return every place that stores rows, in the order in which they are gone through.

    The online store comes twice: long keys of several parts can be found there only while the tables have them, and a
    materialization that had read the tables before may bring rows once more. The log of pushed rows comes before the
    tables, into which its rows are brought.
    """
    places: list[Place] = [OnlineRows(online, forgets=False), StreamedMessages(), PushedRows(), OfflineTables()]
    places += [Quarantine(), Datasets()]
    # Predictions are found through the log, so they go before it.
    places += [Feedback(), ServingLogs(), ReplayedFeedback(), ReplayedRows(), ReplayedLogs(), Leftovers()]
    for entry in sorted(entry_points(group=GROUP), key=lambda one: one.name):
        places += entry.load()(config)
    copy = local_copy_of(config.online_store())
    # After the store: a copy that begins then has none of the rows.
    return [*places, OnlineRows(online, forgets=True), *(() if copy is None else (CopiedRows(copy),))]


def run_erasure(task: Task, places: Sequence[Place], progress: Progress | None = None) -> ErasureReport:
    """Erase the rows of some keys from every place, and keep them out.

    Args:
        task: whose, and whether really.
        places: see :func:`places_of`.
        progress: called with the name of each place as it is begun.

    Raises:
        ConfigError: the secret of the suppressed keys is gone, or another one than before.
        OfflineStoreError: a file cannot be read or written; what was erased before stays erased.
        OnlineStoreError: as that, for the online store.
    """
    new = 0
    if not task.dry_run:
        new = suppress(task)
    done: dict[str, Erased] = {}
    for place in places:
        if progress is not None:
            progress(place.name)
        # In a dry run a place that comes twice would count its rows twice.
        if not (task.dry_run and place.name in done):
            done[place.name] = done.get(place.name, Erased()) + place.erase(task)
    report = ErasureReport(
        request=task.request,
        entity=task.keys.entity,
        keys=len(task.keys.rows),
        suppressed=new,
        dry_run=task.dry_run,
        places=tuple(
            PlaceReport(place=name, rows=one.rows, files=one.files, waiting=one.waiting) for name, one in done.items()
        ),
        notes=task.scope.notes,
        not_reached=tuple(_not_reached(task)),
    )
    if not task.dry_run:
        task.registry.record_erasure(members(task.scope.entity), report.receipt(), who=task.who)
    return report


def suppress(task: Task) -> int:
    """Keep the rows of the keys out of every load from now on; return how many keys are new."""
    for view in task.scope.views.values():
        suppressed(view, task.registry, task.config)  # which refuses where the secret is another one by now
    whose, secret = members(task.scope.entity), suppression_secret(task.config)
    digests = {secret.digest(whose, key) for key in task.keys.rows}
    note_erased(task.config, whose, digests, task.request)
    return task.registry.suppress(whose, digests, request=task.request, who=task.who)


def lift(task: Task) -> int:
    """Let loads bring the rows of the keys again; return how many of the keys were suppressed."""
    whose, secret = members(task.scope.entity), suppression_secret(task.config)
    digests = {secret.digest(whose, key) for key in task.keys.rows}
    note_erased(task.config, whose, digests, task.request, lifted=True)
    return task.registry.lift(whose, digests, request=task.request, who=task.who)


def _not_reached(task: Task) -> Iterator[str]:
    read = {(view.name, location_of(view, task.config)) for view in task.scope.views.values()}
    for name, location in sorted(one for one in read if one[1]):
        yield f'The source of view "{name}" may have the rows ({location}); the next loads drop them.'
    yield "Files that --out and .write() made may have the rows: nobody knows where they are now."
    for view in sorted(task.scope.foreign.values(), key=lambda one: one.name):
        yield f'Project "{view.project}" owns view "{view.name}": its rows are erased in the folder of that project.'
    mine = {view.name for view in task.scope.views.values()}
    consumers = {
        one.consumer for one in task.registry.consents() if one.owner == task.config.project and one.view in mine
    }
    for consumer in sorted(consumers):
        yield f'Project "{consumer}" uses our views: its datasets, logs and replays are erased in its folder.'
    online = task.config.online
    if isinstance(online, RedisConfig) and online.fallback:
        yield (
            "Servers on other machines have copies of the online store (fallback). They are made anew without the rows "
            f"every {online.fallback_seconds:g} s; where no server runs, remove the folder."
        )
    yield from _backups(task.config)
    trained = [one.id for one in task.registry.models()]
    if trained:
        yield f"Models keep what they learned: {', '.join(trained)}. Profiles and baselines hold counts, and no keys."
    yield "Requests that still ask for a key are logged again, with nothing found."


def _backups(config: Config) -> Iterator[str]:
    found = [one for one in listed_backups(config) if not one.name.endswith(".erased.jsonl")]
    for path in found:
        if is_ours(path):
            yield f"The backup {path} has the rows still: delete it; featurestore backup load erases them again."
        else:
            yield f"The backup {path} has the rows still: delete it, or erase again after it was brought back."
    if not found:
        yield "Backups have the rows still, wherever they are: delete them, or erase again after one was brought back."
