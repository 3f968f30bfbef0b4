"""A backup: a store on a disk, with a manifest of what is in it; made while serving goes on, and loaded anywhere.

It is a folder, or the same folder as one tar file::

    backup.json     what it is, as of when, and how much of what; written last, so that one without it is none
    files.json      each file with its size and SHA-256
    registry.db     the registry, with the audit log; and monitor.db, with the outbox
    offline/        tables with their history, quarantine, profiles, datasets
    push/           the log of pushed rows
    log/ feedback/ messages/

Online rows are not in it: they are made from the tables when it is loaded. Nor are secrets: who finds a backup must not
be able to sign heads of the audit log, nor to try whose the erased keys were. Its files are for their owner alone.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from featurestore import __version__
from featurestore.config import Config
from featurestore.erasure.backups import note_beside
from featurestore.errors import ConfigError
from featurestore.moving import archive, online
from featurestore.moving.databases import databases_of
from featurestore.moving.files import sha256
from featurestore.moving.migration import Move, Progress
from featurestore.moving.report import MoveReport, State
from featurestore.offline.places import spill_folder
from featurestore.registry import open_registry
from featurestore.settings.sections import MonitorConfig, OfflineConfig, PushConfig
from featurestore.settings.serving import ServingConfig
from featurestore.settings.streams import StreamingConfig

MANIFEST, FILES = "backup.json", "files.json"
_JOURNAL = "journal.jsonl"
_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What a backup is, and what is wrong with it.

    Attributes:
        place: where it lies.
        project: whose it is.
        point: the instant that it is of, ISO 8601.
        files: how many there are.
        bytes: of them.
        parts: of each part, how many items, by its name.
        problems: what is wrong, a sentence each; empty if nothing is.
    """

    place: str
    project: str
    point: str
    files: int
    bytes: int
    parts: dict[str, int]
    problems: tuple[str, ...]


def store_in(folder: Path, project: str) -> Config:
    """Return the configuration of the store that a backup is."""
    return Config(
        root=folder,
        project=project,
        registry="sqlite:///registry.db",
        online="memory://",
        offline=OfflineConfig(path="offline"),
        push=PushConfig(path="push"),
        serving=ServingConfig(log_path="log", feedback_path="feedback"),
        streaming=StreamingConfig(path="messages"),
        monitor=MonitorConfig(database="sqlite:///monitor.db"),
    )


def create(config: Config, place: Path, *, progress: Progress) -> MoveReport:
    """Make a backup while serving goes on; one that was killed is gone on with.

    Args:
        config: of the store.
        place: a folder that is not there yet, or a file that ends in ``.tar``.
        progress: see :data:`featurestore.moving.migration.Progress`.

    Raises:
        ConfigError: there is something of that name, or there is nothing to back up.
        OfflineStoreError: a file cannot be read or written; the same command goes on.
    """
    place = place.absolute()
    folder = place if place.suffix != archive.SUFFIX else place.with_name(f".{place.name}.partial")
    _check_free(place, folder)
    with open_registry(config.database_url(config.registry), config.project) as registry:
        tables = online.tables_online(config, registry)
    target = store_in(folder, config.project)
    move = Move(
        source=config,
        target=target,
        names=(str(config.root), str(place)),
        keys=False,
        rebuilds=False,
        journal=folder / _JOURNAL,
        progress=progress,
    )
    report = replace(move.run(watch=False), notes=(*_without_replays(move), *_secrets(config)))
    for one in databases_of(target):
        if one.exists:
            _settle(one)
    _write_manifest(folder, config, report, tables)
    with open_registry(target.database_url(target.registry), config.project) as registry:
        before = registry.every_suppression()
    if place.suffix == archive.SUFFIX:
        archive.pack(folder, place)
    # An erasure that ran meanwhile did not find a backup to tell of it; from now on one does.
    with open_registry(config.database_url(config.registry), config.project) as registry:
        for (whose, request), digests in _since(before, registry.every_suppression()).items():
            note_beside(place, config.project, whose, digests, request)
    return report


def verify(place: Path) -> Verified:
    """Read every byte of a backup, and compare it with what the manifest says.

    Raises:
        ConfigError: it is no backup, or cut off, or one of a later release.
    """
    with archive.opened(place) as folder:
        return _verified(folder, place)


def load(config: Config, place: Path, *, progress: Progress) -> MoveReport:
    """Bring a backup back into the empty place that a configuration names; a run that was killed is gone on with.

    Online rows are made from the tables, and whoever was erased is so again: see
    ``featurestore.moving.suppressing.erase_again``, which the caller runs on the store then.

    Args:
        config: of the store.
        place: the backup.
        progress: see :data:`featurestore.moving.migration.Progress`.

    Raises:
        ConfigError: it is no backup, or damaged, or of another project; or the place holds other data.
        OfflineStoreError: a file cannot be read or written; the same command goes on.
        OnlineStoreError: the online store refuses; as that.
    """
    with archive.opened(place) as folder:
        found = _verified(folder, place)
        if found.problems:
            raise ConfigError(
                f"The backup {place} is damaged: {found.problems[0]}", hint="Use another one. Nothing was changed."
            )
        said = json.loads((folder / MANIFEST).read_bytes())
        whose = f"the backup of {found.project} as of {found.point}"
        scratch = spill_folder(config)
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=scratch) as held:
            source = _readable(folder, Path(held), found.project)
            move = Move(
                source=source,
                target=config,
                names=(str(place), str(config.root)),
                keys=False,
                still=True,
                whose=whose,
                online=list(said["online"]),
                progress=progress,
            )
            if move.is_finished():
                notes = ("it was loaded before, and nothing was copied",)
                return MoveReport(source=str(place), destination=str(config.root), point=found.point, notes=notes)
            report = move.run(watch=False)
    return replace(report, point=found.point, held_seconds=0.0)


def _since(
    before: Collection[tuple[str, str, str]], now: Collection[tuple[str, str, str]]
) -> dict[tuple[str, str], list[str]]:
    """Return the digests of keys that were erased since, by whose they are and the request."""
    found: dict[tuple[str, str], list[str]] = {}
    for whose, digest, request in sorted(set(now) - set(before)):
        found.setdefault((whose, request), []).append(digest)
    return found


def _readable(folder: Path, held: Path, project: str) -> Config:
    """Return the configuration of a backup as a source: what opening it would change is a copy of it."""
    for name in ("registry.db", "monitor.db"):
        if (folder / name).exists():
            shutil.copyfile(folder / name, held / name)
    if (folder / "push").exists():
        shutil.copytree(folder / "push", held / "push")
    store = store_in(folder, project)
    return store.model_copy(
        update={
            "registry": f"sqlite:///{held / 'registry.db'}",
            "monitor": MonitorConfig(database=f"sqlite:///{held / 'monitor.db'}"),
            "push": PushConfig(path=str(held / "push")),
        }
    )


def _check_free(place: Path, folder: Path) -> None:
    unfinished = (folder / _JOURNAL).exists()
    taken = place.is_file() or any(one.is_dir() and any(one.iterdir()) for one in (place, folder))
    if taken and not unfinished:
        raise ConfigError(f"There is something at {place} already.", hint="Give the backup a name of its own.")
    archive.make_private(folder)


def _without_replays(move: Move) -> Iterator[str]:
    replays = move.source.path("data/replays")
    if replays.is_dir() and any(replays.iterdir()):
        yield "rehearsals (data/replays) are not in it"


def _secrets(config: Config) -> Iterator[str]:
    names = [str(one) for one in (config.root / "data/keys").glob("*")]
    if names:
        yield f"secrets are not in it: keep {', '.join(sorted(names))} elsewhere"
    yield f"featurestore.toml and {', '.join(config.definitions)} are not in it: they belong into version control"


def _settle(database: Any) -> None:
    """Bring all of a database into its one file."""
    opened = database.open(database.url)
    try:
        opened.forget()
    finally:
        opened.close()


def _write_manifest(folder: Path, config: Config, report: MoveReport, tables: list[str]) -> None:
    files = {name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for name, path in _files(folder).items()}
    (folder / FILES).write_text(json.dumps(files, indent=1, sort_keys=True), encoding="utf-8")
    said = {
        "format": _FORMAT,
        "project": config.project,
        "point": report.point,
        "finished_at": datetime.now(UTC).isoformat(),
        "release": __version__,
        "held_seconds": report.held_seconds,
        "files": sha256(folder / FILES),
        "online": tables,
        "parts": {
            one.part: {"items": one.there.items, "bytes": one.there.bytes, "digest": one.there.digest}
            for one in report.parts
            if one.state is not State.nothing
        },
    }
    part = folder / f".{MANIFEST}"
    part.write_text(json.dumps(said, indent=1), encoding="utf-8")
    archive.make_files_private(folder)
    part.replace(folder / MANIFEST)
    (folder / _JOURNAL).unlink(missing_ok=True)


def _files(folder: Path) -> dict[str, Path]:
    """Return what a backup consists of, beside its own account, by name."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    own = {MANIFEST, FILES, _JOURNAL}
    return {
        name: path
        for name, path in found.items()
        if name not in own and not name.endswith(".lock") and not path.name.startswith(".")
    }


def _verified(folder: Path, place: Path) -> Verified:
    said = _manifest(folder, place)
    problems = []
    files: dict[str, dict[str, Any]] = {}
    try:
        if sha256(folder / FILES) != said["files"]:
            problems.append(f"{FILES} is not the one that was written.")
        files = json.loads((folder / FILES).read_bytes())
    except (OSError, ValueError):
        problems.append(f"{FILES} cannot be read.")
    there = _files(folder)
    for name, one in files.items():
        if name not in there:
            problems.append(f"{name} is gone.")
        elif sha256(there[name]) != one["sha256"]:
            problems.append(f"{name} is not as it was written.")
    problems += [f"{name} does not belong to it." for name in there if files and name not in files]
    return Verified(
        place=str(place),
        project=said["project"],
        point=said["point"],
        files=len(files),
        bytes=sum(one["bytes"] for one in files.values()),
        parts={name: one["items"] for name, one in said["parts"].items()},
        problems=tuple(problems),
    )


def _manifest(folder: Path, place: Path) -> dict[str, Any]:
    try:
        said: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        unfinished = (folder / _JOURNAL).exists()
        hint = f"It was not finished: featurestore backup create {place}" if unfinished else "Name a backup's place."
        raise ConfigError(f"{place} is no backup: it has no {MANIFEST} that can be read.", hint=hint) from None
    if said["format"] > _FORMAT:
        raise ConfigError(
            f"The backup {place} has format {said['format']}; this release reads up to {_FORMAT}.",
            hint="Upgrade featurestore.",
        )
    return said
