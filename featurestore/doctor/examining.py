"""An examination from the configuration's file to the last probe; one that fails hides none of the others."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from featurestore import config as configuration
from featurestore.doctor.finding import Finding, fault, well
from featurestore.doctor.patient import Patient, Probe
from featurestore.doctor.probes import all_probes
from featurestore.errors import ConfigError, FeatureStoreError


def examine(
    path: str | os.PathLike[str], *, probes: Mapping[str, Probe] | None = None, now: datetime | None = None
) -> list[Finding]:
    """Return what is to be said of the configuration of a folder, and of all that it names. Nothing is changed.

    Args:
        path: the folder with ``featurestore.toml``.
        probes: what to look at; everything when not given.
        now: the wall clock when not given.
    """
    return list(_examined(path, all_probes() if probes is None else probes, now or datetime.now(UTC)))


def _examined(path: str | os.PathLike[str], probes: Mapping[str, Probe], now: datetime) -> Iterator[Finding]:
    try:
        config = configuration.load(path)
    except ConfigError as error:
        yield fault("configuration", error)
        return
    yield well("configuration", f'{configuration.FILE_NAME} of project "{config.project}" can be read')
    patient = Patient(config=config, now=now)
    try:
        for about, probe in probes.items():
            try:
                yield from probe(patient)
            except FeatureStoreError as error:
                yield fault(about, error)
            except Exception as error:  # noqa: BLE001 - what is unforeseen is said of its own part, and ends no other
                # Not what the error says: it may quote a secret.
                yield fault(about, f"It cannot be looked at: {type(error).__name__}.")
    finally:
        patient.close()
