"""Folders of files: can this release read what lies in them?"""

from __future__ import annotations

from collections.abc import Iterator

from featurestore.doctor.finding import Finding, fault, well
from featurestore.doctor.patient import Patient
from featurestore.errors import FeatureStoreError
from featurestore.folders import FOLDERS, check_folder


def probe_folders(patient: Patient) -> Iterator[Finding]:
    """Look at the format of each; every other store is opened by the probe of its own."""
    newer = 0
    for name in FOLDERS:
        try:
            check_folder(patient.config, name)
        except FeatureStoreError as error:
            newer += 1
            yield fault(name, error)
    if not newer:
        yield well("formats", "this release can read the files of every folder")
