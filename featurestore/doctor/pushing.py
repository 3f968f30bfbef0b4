"""What comes in by itself: the log of pushed rows, and streams."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from featurestore.doctor.finding import Finding, fault, warning, well
from featurestore.doctor.patient import Patient
from featurestore.errors import FeatureStoreError
from featurestore.pushing import PushLog
from featurestore.streaming import quarantine_of
from featurestore.streaming.asking import ask

#: A row that waits for so many times the interval of flushes is forgotten.
_FLUSHES = 10


def probe_push_log(patient: Patient) -> Iterator[Finding]:
    """Read what waits in the log, and say so if nobody flushes it."""
    section = patient.config.push
    folder = patient.config.path(section.path)
    if not folder.exists():
        yield well("push log", "nothing was ever pushed")
        return
    if not os.access(folder, os.W_OK):
        yield fault("push log", f"{folder} cannot be written.", "Let this user write to it.")
        return
    found = PushLog(folder).backlog()
    since = patient.now if found.oldest is None else datetime.fromtimestamp(found.oldest / 1e6, UTC)
    if patient.now - since > _FLUSHES * timedelta(seconds=section.flush_seconds):
        yield warning(
            "push log",
            f"{found.rows:,} rows wait for the offline store since {since:%Y-%m-%d %H:%M} UTC.",
            "Whoever pushes brings them in; else: featurestore push --flush",
        )
    else:
        yield well("push log", f"{found.rows:,} rows wait for the offline store")


def probe_streams(patient: Patient) -> Iterator[Finding]:
    """Reach the brokers of each stream, look for its view, and count what it has set aside."""
    quarantine = quarantine_of(patient.config)
    for name, section in patient.config.streams.items():
        about = f"stream {name}"
        if patient.registry is not None and section.view.partition("@")[0] not in {one.name for one in patient.views}:
            yield fault(about, f'There is no feature view "{section.view}".', "featurestore apply")
        try:
            partitions = ask(name, patient.config.stream(name))
        except FeatureStoreError as error:
            yield fault(about, error)
        else:
            yield well(about, f'topic "{section.topic}" has {partitions:,} partitions')
    for name in quarantine.streams():
        if waiting := quarantine.count(name):
            yield warning(
                f"stream {name}",
                f"{waiting:,} messages are in quarantine.",
                f"featurestore stream quarantine {name} says why; with --retry they are pushed again.",
            )
