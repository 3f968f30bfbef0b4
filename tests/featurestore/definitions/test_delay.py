"""A view's delay: how long after its event time a row can be known."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from featurestore.definitions import Entity, FeatureView, Field, content_hash, storage_id
from featurestore.errors import DefinitionError
from featurestore.types import Float64


def view(**options: Any) -> FeatureView:
    return FeatureView(
        name="weather", entities=[Entity(name="airport")], schema=[Field(name="temp", dtype=Float64)], **options
    )


def test_a_delay_is_a_new_version_over_the_same_rows() -> None:
    plain, delayed = view(), view(delay=timedelta(minutes=20))
    assert "delay_us" not in plain.spec()
    assert content_hash(plain) != content_hash(delayed) != content_hash(view(delay=timedelta(0)))
    assert storage_id(plain) == storage_id(delayed)


@pytest.mark.parametrize("delay", [None, timedelta(0), timedelta(microseconds=1), timedelta(days=400)])
def test_a_delay_comes_back_from_the_registry_as_it_was(delay: timedelta | None) -> None:
    made = view(delay=delay)
    assert FeatureView.from_spec(made.spec(), made.notes()) == made


@pytest.mark.parametrize("delay", [timedelta(microseconds=-1), 5, timedelta(days=365 * 101)])
def test_a_delay_that_cannot_be_is_refused(delay: Any) -> None:
    with pytest.raises(DefinitionError, match=r'Feature view "weather" has delay=.*'):
        view(delay=delay)
