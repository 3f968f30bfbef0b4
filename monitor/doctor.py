"""What ``featurestore doctor`` looks at of the monitor: its database, channels and policies, and whether it lives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from featurestore.definitions import MonitorPolicy
from featurestore.doctor import Finding, Patient, fault, warning, well
from featurestore.doctor.patient import Probe
from featurestore.errors import FeatureStoreError
from featurestore.registry import Registered
from featurestore.upgrading import State as Format
from monitor.alerts import outbox
from monitor.alerts.checking import check
from monitor.history import History
from monitor.signalling.checking import faults as faults_of_signals
from monitor.status import status
from monitor.upgrading import MONITOR

#: A daemon says that it lives at every poll; so many are let pass.
_BEATS = 3
_ABOUT = "monitor"


def probes() -> Mapping[str, Probe]:
    """Return the monitor's probes, for the entry point ``featurestore.probes``."""
    return {"monitor": probe_monitor}


def probe_monitor(patient: Patient) -> Iterator[Finding]:
    """Look at the database, and then, as ``featurestore monitor check`` does, at whom a message would reach."""
    config, registry = patient.config, patient.registry
    listed = [] if registry is None else registry.list("monitor_policy")
    policies = [] if registry is None else [registry.policy(one.name) for one in listed]
    disabled: Mapping[str, str] = {}
    try:
        stored = MONITOR.look(config)  # it changes nothing, and makes no file
        if stored.state in (Format.current, Format.newer):
            with History(config.database_url(config.monitor.database)) as history:
                with history.read() as connection:
                    disabled = outbox.disabled(connection)
                yield _daemon(history, policies, patient) if policies else well(_ABOUT, "there is no policy yet")
        elif stored.state is Format.behind:
            what = f"Its database has format {stored.found}, of an older release; this one's is {stored.format}."
            yield warning(_ABOUT, what, "featurestore upgrade brings it up to date; with --check it says how.")
        elif policies:
            hint = "featurestore monitor start; or run-once, from a job."
            yield warning(_ABOUT, "There are policies, and no monitor has ever run.", hint)
    except FeatureStoreError as error:  # whom a message would reach is looked at all the same
        yield fault(_ABOUT, error)
    definitions = [one.definition for one in policies]
    found = check(config, definitions, disabled=disabled, now=patient.now)
    for name, said in found.channels.items():
        yield well(f"channel {name}", f"it {said}")
    for remark in found.remarks:
        about, _, what = remark.partition(": ")
        yield warning(about, f"{what[0].upper()}{what[1:]}.", "")
    for one in (*found.faults, *faults_of_signals(config, definitions)):
        yield fault(one.about, f"{one.what[0].upper()}{one.what[1:].rstrip('.')}.", one.hint)


def _daemon(history: History, policies: Sequence[Registered[MonitorPolicy]], patient: Patient) -> Finding:
    """Say whether a daemon works."""
    config = patient.config
    daemon = status(history, policies, watermark=None, replay=config.replay)["daemon"]
    late = timedelta(seconds=_BEATS * config.monitor.poll_seconds)
    if daemon is None or patient.now - datetime.fromisoformat(daemon["beat_at"]) > late:
        since = "never" if daemon is None else f"last at {daemon['beat_at']}"
        hint = "featurestore monitor start. If jobs call run-once instead, all is well."
        return warning(_ABOUT, f"No daemon works: it was {since} heard of.", hint)
    return well(_ABOUT, f"it works at {daemon['host']}, process {daemon['pid']}")
