"""What ``featurestore doctor`` looks at of the monitor: its database, channels and policies, and whether it lives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

from featurestore.doctor import Finding, Patient, fault, warning, well
from featurestore.doctor.patient import Probe
from monitor.alerts import outbox
from monitor.alerts.checking import check
from monitor.history import History
from monitor.signalling.checking import faults as faults_of_signals
from monitor.status import status

#: A daemon says that it lives at every poll; so many are let pass.
_BEATS = 3
_SQLITE = "sqlite:///"


def probes() -> Mapping[str, Probe]:
    """Return the monitor's probes, for the entry point ``featurestore.probes``."""
    return {"monitor": probe_monitor}


def probe_monitor(patient: Patient) -> Iterator[Finding]:
    """Look at the database, and then, as ``featurestore monitor check`` does, at whom a message would reach."""
    config, registry = patient.config, patient.registry
    listed = [] if registry is None else registry.list("monitor_policy")
    policies = [] if registry is None else [registry.policy(one.name) for one in listed]
    disabled: Mapping[str, str] = {}
    url = config.database_url(config.monitor.database)
    if url.startswith(_SQLITE) and not Path(url.removeprefix(_SQLITE)).exists():  # opening would make it
        if policies:
            hint = "featurestore monitor start; or run-once, from a job."
            yield warning("monitor", "There are policies, and no monitor has ever run.", hint)
    elif policies:
        with History(url) as history:
            with history.read() as connection:
                disabled = outbox.disabled(connection)
            daemon = status(history, policies, watermark=None, replay=config.replay)["daemon"]
        late = timedelta(seconds=_BEATS * config.monitor.poll_seconds)
        if daemon is None or patient.now - datetime.fromisoformat(daemon["beat_at"]) > late:
            since = "never" if daemon is None else f"last at {daemon['beat_at']}"
            hint = "featurestore monitor start. If jobs call run-once instead, all is well."
            yield warning("monitor", f"No daemon works: it was {since} heard of.", hint)
        else:
            yield well("monitor", f"it works at {daemon['host']}, process {daemon['pid']}")
    definitions = [one.definition for one in policies]
    found = check(config, definitions, disabled=disabled, now=patient.now)
    for name, said in found.channels.items():
        yield well(f"channel {name}", f"it {said}")
    for remark in found.remarks:
        about, _, what = remark.partition(": ")
        yield warning(about, f"{what[0].upper()}{what[1:]}.", "")
    for one in (*found.faults, *faults_of_signals(config, definitions)):
        yield fault(one.about, f"{one.what[0].upper()}{one.what[1:].rstrip('.')}.", one.hint)
