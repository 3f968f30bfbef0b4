"""Executors open files by the keys of whoever asks them to, and show none."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import pytest

from featurestore.errors import ConfigError, OfflineStoreError
from featurestore.settings.sections import StorageConfig
from featurestore.storage import StoragePath
from featurestore.storage.access import Access
from featurestore.storage.places import located

SECRET = "tests-secret-2f81"


class ObjectStorage(Protocol):
    """What the fixture of that name gives."""

    endpoint: str
    url: str


def elsewhere(places: Iterable[StoragePath]) -> Access:
    """Return the way to places as another process has it."""
    access: Access = pickle.loads(pickle.dumps(Access.to(places)))
    return access


def test_a_file_on_a_disk_is_a_path(tmp_path: Path) -> None:
    assert elsewhere([tmp_path / "a", tmp_path / "b"]).place(str(tmp_path / "a")) == tmp_path / "a"


def test_an_object_is_opened_by_keys_that_came_along_and_are_not_shown(
    object_storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = StorageConfig(endpoint=object_storage.endpoint, retries=0, retry_seconds=0)
    place = located(f"{object_storage.url}/grün.txt", settings)
    place.write_bytes(b"here")
    access = elsewhere([place])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    with pytest.raises(OfflineStoreError):
        place.read_bytes()
    again = access.place(str(place))
    assert again == place
    assert again.read_bytes() == b"here"
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(FileNotFoundError) as caught:
        access.place(f"{object_storage.url}/gone").read_bytes()
    assert not any(SECRET in text for text in (repr(access), repr(again), repr(access.bucket), str(caught.value)))


def test_a_place_without_the_packages_for_it_names_the_extra(
    object_storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = elsewhere([located(object_storage.url, StorageConfig(endpoint=object_storage.endpoint))])
    monkeypatch.setattr("featurestore.storage.places.find_spec", lambda _: None)
    with pytest.raises(ConfigError) as caught:
        access.place(object_storage.url)
    assert "featurestore[s3]" in caught.value.hint
