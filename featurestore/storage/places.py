"""A place of the offline store, by what the settings or a manifest say of it; and what Path has no name for."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from featurestore.errors import ConfigError
from featurestore.settings.sections import StorageConfig
from featurestore.storage.bucket import Bucket, missing_packages
from featurestore.storage.object_path import ObjectPath

#: A file or a folder of the offline store.
StoragePath = Path | ObjectPath

#: What URLs of object storage begin with.
SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_object_url(text: str) -> bool:
    """Return whether a path of the settings, or of a manifest, is in object storage."""
    return _URL.match(text) is not None


def located(text: str, settings: StorageConfig) -> ObjectPath:
    """Return the place in object storage that a URL names.

    Raises:
        ConfigError: it is none that a table can lie in, or the packages for object storage are not installed.
    """
    parts = urlsplit(text)
    if parts.scheme not in SCHEMES:
        raise ConfigError(
            f'The offline store cannot lie in "{parts.scheme}://": {_shown(text)}.',
            hint=f"Use a folder, or one of {', '.join(f'{one}://' for one in SCHEMES[:4])} with a bucket and a path.",
        )
    if not parts.hostname or parts.query or parts.fragment or (parts.password is not None):
        raise ConfigError(
            f"{_shown(text)} does not name a place in object storage.",
            hint="Write s3://BUCKET/PATH; keys are taken from the environment or from a profile, never from here.",
        )
    check_packages(_shown(text))
    return ObjectPath(Bucket(f"{parts.scheme}://{parts.netloc}", settings), parts.path)


def check_packages(place: str) -> None:
    """Check that a place in object storage can be opened here.

    Raises:
        ConfigError: the packages for object storage are not installed.
    """
    try:
        installed = all(find_spec(name) is not None for name in ("fsspec", "obstore"))
    except ValueError:  # one is there in name only
        installed = False
    if not installed:
        raise missing_packages(place)


def _shown(text: str) -> str:
    return re.sub(r"//[^/@]*:[^/@]*@", "//***@", text.partition("?")[0])


def storage_options(path: StoragePath) -> dict[str, str] | None:
    """Return delta-rs's options for a table; None for one on a disk. They hold secrets, and are not to be kept."""
    return None if isinstance(path, Path) else path.bucket.delta_options()


def make_young(path: StoragePath) -> None:
    """Make a file as if it had been written now.

    Raises:
        FileNotFoundError: there is none.
    """
    if isinstance(path, Path):
        os.utime(path)
    else:
        path.touch()


def copy_file(path: StoragePath, target: StoragePath) -> None:
    """Copy a file, on a disk with its age."""
    if isinstance(path, Path):
        if isinstance(target, Path):
            shutil.copy2(path, target)
        else:
            target.upload(path)
    elif isinstance(target, Path):
        with path.open() as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
    else:
        path.copy_to(target)


@contextmanager
def local_file(path: StoragePath, folder: Path) -> Iterator[Path]:
    """Yield a file of this machine with the same bytes: the file itself, or a copy in a folder, for as long as needed.

    Raises:
        FileNotFoundError: there is no such object.
        OfflineStoreError: object storage refuses.
    """
    if isinstance(path, Path):
        yield path
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        copy = Path(scratch) / path.name
        copy_file(path, copy)
        yield copy


def move_file(path: StoragePath, target: StoragePath) -> None:
    """Give a file another name, over what is there."""
    if isinstance(path, Path):
        if isinstance(target, Path):
            path.replace(target)
            return
    elif isinstance(target, ObjectPath):
        path.replace(target)
        return
    copy_file(path, target)
    path.unlink(missing_ok=True)


def append_text(path: StoragePath, text: str) -> None:
    """Add text to a small file that this process alone writes."""
    if isinstance(path, Path):
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    else:
        try:
            before = path.read_text()
        except FileNotFoundError:
            before = ""
        path.write_text(before + text)


def remove_tree(path: StoragePath) -> None:
    """Remove a file or a folder, as far as that goes."""
    if isinstance(path, Path):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    else:
        for one in (path, *path.rglob("*")):
            one.unlink(missing_ok=True)


def listed(folder: StoragePath, pattern: str) -> list[StoragePath]:
    """Return what lies below a folder and fits a pattern of :meth:`pathlib.Path.glob`, by name."""
    return sorted(folder.glob(pattern), key=str)


def write_whole(path: StoragePath, text: str, partial: str) -> None:
    """Write a small file, which readers see as it was or as it is then.

    Args:
        path: the file.
        text: its content.
        partial: the name beside it that it has while it is written on a disk.
    """
    if isinstance(path, Path):
        part = path.with_name(partial)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    else:
        path.write_text(text)
