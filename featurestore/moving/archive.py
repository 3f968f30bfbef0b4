"""A folder as one tar file, which nobody but its owner reads: its rows are people's."""

from __future__ import annotations

import lzma
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from featurestore.errors import ConfigError

SUFFIX = ".tar"

#: For the owner alone.
_FILE, _FOLDER = 0o600, 0o700
_BLOCK = 512


def make_private(folder: Path) -> None:
    """Make a folder, or one that is there and empty, its owner's alone; nobody else comes to what is put into it.

    Raises:
        ConfigError: it is somebody else's.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=_FOLDER)
    try:
        folder.chmod(_FOLDER)  # it was there, or the process' own mask lets more, or less
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be kept from others: {error.strerror}.", hint="Name a folder that is not there yet."
        ) from error


def make_files_private(folder: Path) -> None:
    """Make all files in a folder their owner's alone, so that they stay so wherever they are copied."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(_FILE)


def pack(folder: Path, place: Path) -> None:
    """Put the files of a folder into a file, and remove the folder; the file is there as a whole, or not at all."""
    part = place.with_name(f".{place.name}.packing")
    part.unlink(missing_ok=True)
    with (
        open(part, "xb", opener=_private) as written,
        tarfile.open(fileobj=written, mode="w") as out,
    ):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.name.endswith(".lock"):
                out.add(path, path.relative_to(folder).as_posix())
    part.replace(place)
    shutil.rmtree(folder)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, _FILE)


@contextmanager
def opened(place: Path) -> Iterator[Path]:
    """Yield the folder of a backup; of a tar file a copy, for as long as needed.

    Raises:
        ConfigError: there is nothing of that name, or it is no tar file, or not all of one.
    """
    if place.is_dir():
        yield place
        return
    if not place.exists():
        raise ConfigError(f"There is no backup {place}.", hint="featurestore backup create PLACE makes one.")
    with ExitStack() as held:
        try:
            if not tarfile.is_tarfile(place):
                is_what = "no tar file" if place.stat().st_size else "empty"
                raise ConfigError(
                    f"{place} is no backup: it is {is_what}.",
                    hint=f"Name the folder of one, or the file that ends in {SUFFIX}.",
                )
            folder = tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}.")
            unpacked = Path(held.enter_context(folder))
            _unpack(place, unpacked)
        except OSError as error:
            raise ConfigError(
                f"{place} cannot be unpacked: {error.strerror or error}.",
                hint="It takes as much room again beside it, and its owner to read it. Or unpack it elsewhere, and "
                "name the folder: tar -xf",
            ) from error
        yield unpacked


def _unpack(place: Path, folder: Path) -> None:
    try:
        with tarfile.open(place) as packed:
            packed.extractall(folder, filter="data")
            # One that ends between two files is read without a complaint; a whole one has an empty block there.
            assert packed.fileobj is not None  # noqa: S101 - it is open
            packed.fileobj.seek(packed.offset)
            whole = packed.fileobj.read(_BLOCK) == bytes(_BLOCK)
    except (tarfile.FilterError, zlib.error, lzma.LZMAError) as error:
        raise ConfigError(f"{place} is damaged: {error}.", hint="Use another backup.") from error
    except (tarfile.ReadError, EOFError):
        whole = False
    if not whole:
        raise ConfigError(
            f"{place} is cut off, or damaged: its end is not there.",
            hint="Copy it again from where it was made, or use another one.",
        )
