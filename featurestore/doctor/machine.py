"""The machine: room on its disks, its clock, and the ports that programs are to listen on."""

from __future__ import annotations

import errno
import os
import socket
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from featurestore.client import FeatureClient
from featurestore.config import Config
from featurestore.definitions import FeatureView, storage_id
from featurestore.doctor.finding import Finding, fault, warning, well
from featurestore.doctor.patient import Patient
from featurestore.errors import FeatureStoreError, OfflineStoreError
from featurestore.offline.places import local_folder
from featurestore.offline.store import OfflineStore
from featurestore.offline.tables.disk import low_disk
from featurestore.registry.records import Load

#: Clocks that disagree by more make rows "from the future".
_SKEW = timedelta(seconds=5)
#: When this was written: a clock before it is wrong.
_WRITTEN = datetime(2026, 11, 30, tzinfo=UTC)


def probe_disks(patient: Patient) -> Iterator[Finding]:
    """See that every folder can be written, and has room."""
    config, poor = patient.config, 0
    for about, folder in _folders(config).items():
        there = next((one for one in (folder, *folder.parents) if one.exists()), folder)
        if not os.access(there, os.W_OK):
            poor += 1
            yield fault(about, f"{there} cannot be written.", "Let this user write to it.")
        elif (said := low_disk(folder, config.offline.low_disk_mb)) is not None:
            poor += 1
            yield warning(about, f"{said[0].upper()}{said[1:]}.", "Make room; featurestore gc removes what is old.")
    if not poor:
        yield well("disks", "every folder can be written, and has room")


def _folders(config: Config) -> dict[str, Path]:
    named = {
        "offline tables": str(local_folder(config)),
        "push log": config.push.path,
        "serving log": config.serving.log_path,
        "predictions and outcomes": config.serving.feedback_path,
        "messages in quarantine": config.streaming.path,
    }
    return {about: config.path(path) for about, path in named.items()}


def probe_clock(patient: Patient) -> Iterator[Finding]:
    """Hold the clock against the database's, and against the newest load."""
    if patient.now < _WRITTEN:
        yield fault("clock", f"It says {patient.now:%Y-%m-%d %H:%M} UTC, before this program was written.", "Set it.")
        return
    if patient.registry is not None and (theirs := patient.registry.server_time()) is not None:
        apart = abs(theirs - datetime.now(UTC))
        if apart > _SKEW:
            yield fault(
                "clock",
                f"It and the database server's are {apart.total_seconds():.0f} s apart.",
                "Let NTP set both: rows of the one are from the future for the other.",
            )
            return
    offline = patient.offline
    published = [
        load.published_at
        for one in patient.views
        if offline is not None and storage_id(one.definition) not in patient.unread
        for load in _loads(offline, one.definition)
    ]
    if published and max(published) > patient.now + _SKEW:
        yield fault(
            "clock",
            f"A load was published at {max(published):%Y-%m-%d %H:%M:%S} UTC, which is still to come.",
            "It was set back, or another host's is ahead: let NTP set it.",
        )
    else:
        yield well("clock", f"{patient.now:%Y-%m-%d %H:%M:%S} UTC")


def _loads(offline: OfflineStore, view: FeatureView) -> list[Load]:
    try:
        return offline.loads(view)
    except OfflineStoreError:  # which says nothing of the clock: the probe of the tables tells of it
        return []


def probe_ports(patient: Patient) -> Iterator[Finding]:
    """See that no two programs want one port, and that each is free, or a feature server's."""
    wanted: dict[tuple[str, int], list[str]] = defaultdict(list)
    config = patient.config
    for setting, host, port in (
        ("serving.port", config.serving.host, config.serving.port),
        ("serving.metrics_port", config.serving.metrics_host, config.serving.metrics_port),
        ("monitor.metrics_port", config.monitor.metrics_host, config.monitor.metrics_port),
        ("signals.port", config.signals.host, config.signals.port),
        ("streaming.metrics_port", config.streaming.metrics_host, config.streaming.metrics_port),
    ):
        if port:
            wanted[host, port].append(setting)
    for (host, port), settings in wanted.items():
        about = f"port {port}"
        if len(settings) > 1:
            yield fault(about, f"{' and '.join(settings)} are the same.", "Give each its own.")
            continue
        yield _port(about, settings[0], host, port)


def _port(about: str, setting: str, host: str, port: int) -> Finding:
    try:
        family, kind, *_, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(where)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            return fault(about, f"{host}:{port} cannot be bound: {error.strerror}.", f"Change {setting}.")
        if setting == "serving.port" and _serves(host, port):
            return well(about, f"a feature server serves at {host}:{port}")
        hint = f"If that is not this store's own, stop it, or change {setting}."
        return warning(about, f"A process listens on it, which {setting} names.", hint)
    return well(about, f"it is free for {setting}")


def _serves(host: str, port: int) -> bool:
    here = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
    try:
        with FeatureClient(f"[{here}]:{port}" if ":" in here else f"{here}:{port}", timeout=2.0) as client:
            return client.is_serving()
    except FeatureStoreError:
        return False
