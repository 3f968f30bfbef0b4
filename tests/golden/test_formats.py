"""No stored format changes without anybody having decided so."""

from __future__ import annotations

import json

import pytest

from featurestore.registry import migrating
from monitor import schema as monitor_schema
from tests.golden.opened import FOLDER, FORMATS, fingerprints, names

_KNOWN = json.loads(FORMATS.read_text())
_WHAT_TO_DO = (
    "The stored format of {} is not what tests/golden/formats.json says. If a release before can still read it, see "
    "that it does: docs/upgrading.md, 'When a format changes'. If not, give it another number. Then make the golden "
    "store: python tests/golden/make.py tests/golden/NAME, and write the new line: {}"
)


@pytest.mark.parametrize("store", fingerprints())
def test_what_is_written_is_what_was_released(store: str) -> None:
    found = fingerprints()[store]
    assert found == _KNOWN["formats"].get(store), _WHAT_TO_DO.format(store, json.dumps({store: found}))


def test_every_store_that_was_released_is_still_looked_at() -> None:
    assert set(_KNOWN["formats"]) == set(fingerprints())


def test_there_is_a_golden_store_of_the_formats_of_this_release() -> None:
    assert _KNOWN["golden"] in names()
    expected = json.loads((FOLDER / _KNOWN["golden"] / "expected.json").read_text())
    assert expected["formats"] == {"registry": migrating.REVISION, "monitor": str(monitor_schema.VERSION)}


def test_a_registry_that_this_release_makes_is_readable_by_itself() -> None:
    assert migrating.READABLE_FROM <= migrating.REVISION
    assert monitor_schema.READABLE_FROM <= monitor_schema.VERSION
