"""Every probe, in the order in which they run: whoever adds a backend adds its probe here.

A package adds its own through the entry point group ``featurestore.probes``: a function that returns some, by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points

from featurestore.doctor.extras import probe_extras
from featurestore.doctor.formats import probe_folders
from featurestore.doctor.machine import probe_clock, probe_disks, probe_ports
from featurestore.doctor.offline import probe_materialization, probe_tables
from featurestore.doctor.online import probe_online_store
from featurestore.doctor.patient import Probe
from featurestore.doctor.pushing import probe_push_log, probe_streams
from featurestore.doctor.registry import probe_registry
from featurestore.doctor.secrets import probe_secrets
from featurestore.doctor.servers import probe_online_servers
from featurestore.doctor.spark import probe_spark

#: Where packages name theirs.
GROUP = "featurestore.probes"

#: By what each is about.
PROBES: Mapping[str, Probe] = {
    "extras": probe_extras,
    "secrets": probe_secrets,
    "registry": probe_registry,
    "online store": probe_online_store,
    "online servers": probe_online_servers,
    "offline tables": probe_tables,
    "materialization": probe_materialization,
    "spark": probe_spark,
    "push log": probe_push_log,
    "streams": probe_streams,
    "formats": probe_folders,
    "disks": probe_disks,
    "clock": probe_clock,
    "ports": probe_ports,
}


def all_probes() -> dict[str, Probe]:
    """Return ours, and those of packages that are installed."""
    found = dict(PROBES)
    for entry in sorted(entry_points(group=GROUP), key=lambda one: one.name):
        found |= entry.load()()
    return found
