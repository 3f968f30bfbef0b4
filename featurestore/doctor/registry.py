"""The registry: is it there, of which schema, and who works with it? It is opened only if opening changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from featurestore.doctor.finding import Finding, fault, warning, well
from featurestore.doctor.patient import Patient
from featurestore.registry import live_views, open_registry
from featurestore.registry.migrating import REVISION, found_revision

_ABOUT = "registry"


def probe_registry(patient: Patient) -> Iterator[Finding]:
    """Reach it, compare its schema with this release's, and read it."""
    config = patient.config
    url = config.database_url(config.registry)
    name, revision = found_revision(url)
    if not revision:
        yield warning(_ABOUT, f"There is nothing in {name} yet.", "featurestore apply makes it.")
        return
    if revision > REVISION:
        yield fault(
            _ABOUT,
            f"{name} has schema {revision}, of a newer release; this one knows up to {REVISION}.",
            "Upgrade the featurestore package here.",
        )
        return
    if revision < REVISION:
        yield warning(
            _ABOUT,
            f"{name} has schema {revision}, of an older release; this one's is {REVISION}.",
            "The next command that opens it migrates it: let servers of the older release end first.",
        )
        return
    patient.registry = open_registry(url, config.project)
    patient.views = live_views(patient.registry)
    services = len(patient.registry.list("feature_service"))
    yield well(_ABOUT, f"{name} has schema {revision}, {len(patient.views):,} live views, {services:,} services")
