"""The registry: is it there, of which schema, and who works with it? It is opened only if opening changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from featurestore.doctor.finding import Finding, fault, warning, well
from featurestore.doctor.patient import Patient
from featurestore.registry import live_views, open_registry
from featurestore.registry.migrating import REVISION, found_schema

_ABOUT = "registry"


def probe_registry(patient: Patient) -> Iterator[Finding]:
    """Reach it, compare its schema with this release's, and read it."""
    config = patient.config
    url = config.database_url(config.registry)
    found = found_schema(url)
    name, revision = found.name, found.revision
    if not revision:
        yield warning(_ABOUT, f"There is nothing in {name} yet.", "featurestore apply makes it.")
        return
    if not found.is_readable:
        yield fault(_ABOUT, found.refusal())
        return
    if revision < REVISION:
        how = "Bring it up to date: featurestore upgrade."
        if not found.shared:
            how = "The next command that opens it brings it up to date; featurestore upgrade --check says what else is."
        yield warning(_ABOUT, f"{name} has schema {revision}, of an older release; this one's is {REVISION}.", how)
        return
    patient.registry = open_registry(url, config.project)
    patient.views = live_views(patient.registry)
    services = len(patient.registry.list("feature_service"))
    yield well(_ABOUT, f"{name} has schema {revision}, {len(patient.views):,} live views, {services:,} services")
