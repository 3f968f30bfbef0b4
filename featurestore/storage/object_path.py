"""A place in object storage that answers to the names of :class:`pathlib.Path`, as far as the offline store asks.

What differs is in the nature of object storage: there are no folders, only names that begin alike, so ``mkdir`` does
nothing and ``is_dir`` asks whether anything lies below; a file is there whole or not at all; and renaming is copying
within the store, then removing.
"""

from __future__ import annotations

import fnmatch
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from featurestore.storage.bucket import Bucket
from featurestore.storage.object_files import ObjectReader


@dataclass(frozen=True)
class ObjectStat:
    """What a listing says of an object: its bytes, and when it was written, in seconds since 1970."""

    st_size: int
    st_mtime: float


class ObjectPath:
    """A name in a bucket.

    Args:
        bucket: the bucket.
        key: the name, without a slash at either end; "" is the bucket itself.
        known: what a listing has just said of it.
    """

    __slots__ = ("_known", "bucket", "key")

    def __init__(self, bucket: Bucket, key: str, known: ObjectStat | None = None) -> None:
        self.bucket = bucket
        self.key = key.strip("/")
        self._known = known

    def __str__(self) -> str:
        return f"{self.bucket.root}/{self.key}" if self.key else self.bucket.root

    def __repr__(self) -> str:
        return f"ObjectPath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectPath) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __lt__(self, other: ObjectPath) -> bool:
        return self.key.split("/") < other.key.split("/")

    def __truediv__(self, name: str) -> ObjectPath:
        return ObjectPath(self.bucket, f"{self.key}/{name}")

    @property
    def name(self) -> str:
        """The last part."""
        return self.key.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The end of the name from its last point on."""
        stem, point, end = self.name.rpartition(".")
        return f"{point}{end}" if stem else ""

    @property
    def parent(self) -> ObjectPath:
        """All but the last part."""
        return ObjectPath(self.bucket, self.key.rpartition("/")[0])

    def with_name(self, name: str) -> ObjectPath:
        """Return the place beside it of another name."""
        return self.parent / name

    def relative_to(self, other: object) -> str:
        """Return the rest of its name below another place."""
        above = f"{other}/"
        if not str(self).startswith(above):
            raise ValueError(f"{self} is not below {other}")
        return str(self).removeprefix(above)

    def is_relative_to(self, other: object) -> bool:
        """Return whether it lies below another place."""
        return str(self).startswith(f"{other}/")

    def exists(self) -> bool:
        """Return whether there is an object of that name, or one below it."""
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        """Return whether there is an object of that name."""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        """Return whether there are objects below it."""
        if self._known is not None:
            return False
        return any(True for _ in self._listed())

    def stat(self) -> ObjectStat:
        """Return its size and age: those that the listing said which has found it, or the present ones.

        Raises:
            FileNotFoundError: there is no such object.
        """
        if self._known is not None:
            return self._known
        import obstore

        with self.bucket.errors(str(self), "read"):
            found = obstore.head(self.bucket.store, self.key)
        return ObjectStat(found["size"], found["last_modified"].timestamp())

    def anew(self) -> ObjectPath:
        """Return the same place, without what a listing said of it."""
        return ObjectPath(self.bucket, self.key)

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: there are no folders."""

    def rmdir(self) -> None:
        """Do nothing: there are no folders."""

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object.

        Raises:
            FileNotFoundError: there is none, and that is not ok.
        """
        import obstore

        if not missing_ok:
            self.anew().stat()  # S3 does not say
        try:
            with self.bucket.errors(str(self), "removed"):
                obstore.delete(self.bucket.store, self.key)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def replace(self, target: ObjectPath) -> ObjectPath:
        """Copy the object to another name, over what is there, and remove it here."""
        import obstore

        with self.bucket.errors(str(self), "copied"):
            obstore.copy(self.bucket.store, self.key, target.key)
        self.unlink(missing_ok=True)
        return target

    rename = replace

    def touch(self) -> None:
        """Make an object as if it had been written now; its bytes do not leave the store.

        Raises:
            FileNotFoundError: there is no such object.
        """
        # Stores refuse to copy an object onto itself.
        aside = self.with_name(f".{self.name}.touched")
        self.copy_to(aside)
        aside.replace(self)

    def copy_to(self, target: ObjectPath) -> None:
        """Copy the object to another name, over what is there."""
        import obstore

        with self.bucket.errors(str(self), "copied"):
            obstore.copy(self.bucket.store, self.key, target.key)

    def open(self, mode: Literal["rb"] = "rb") -> IO[bytes]:  # noqa: ARG002 - pathlib's
        """Open the object to read it from any place.

        Raises:
            FileNotFoundError: there is no such object.
        """
        return io.BufferedReader(self.reader(), 1 << 20)

    def upload(self, file: Path) -> None:
        """Write the object with the bytes of a file of this machine, in parts; it appears when all are there."""
        import obstore

        with self.bucket.errors(str(self), "written"):
            obstore.put(self.bucket.store, self.key, file)

    def reader(self) -> ObjectReader:
        """Return the object to read ranges of.

        Raises:
            FileNotFoundError: there is no such object.
        """
        return ObjectReader(self.bucket, self.key, self.stat().st_size)

    def read_bytes(self) -> bytes:
        """Return the whole object.

        Raises:
            FileNotFoundError: there is no such object.
        """
        import obstore

        with self.bucket.errors(str(self), "read"):
            return bytes(obstore.get(self.bucket.store, self.key).bytes())

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the whole object as text.

        Raises:
            FileNotFoundError: there is no such object.
        """
        return self.read_bytes().decode(encoding)

    def write_bytes(self, data: bytes, *, new: bool = False) -> int:
        """Write the object.

        Args:
            data: its bytes.
            new: whether there must be none of that name; the store itself sees to that, whoever else writes.

        Raises:
            FileExistsError: there is one.
        """
        import obstore

        with self.bucket.errors(str(self), "written"):
            obstore.put(self.bucket.store, self.key, data, mode="create" if new else "overwrite")
        return len(data)

    def write_text(self, text: str, encoding: str = "utf-8") -> int:
        """Write the object as text."""
        return self.write_bytes(text.encode(encoding))

    def iterdir(self) -> Iterator[ObjectPath]:
        """Yield what lies below it, by the next part of the name."""
        yield from self.glob("*")

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """Yield what lies below it and fits a pattern, part by part; objects, and parts that lead to some."""
        parts = pattern.split("/")
        if "**" in parts:
            raise NotImplementedError("use rglob")
        fixed = 0
        while fixed < len(parts) - 1 and not set("*?[") & set(parts[fixed]):
            fixed += 1
        base = ObjectPath(self.bucket, "/".join([self.key, *parts[:fixed]]))
        wanted = parts[fixed:]
        led: set[str] = set()
        for one in base._listed():
            names = one.key.removeprefix(f"{base.key}/" if base.key else "").split("/")
            if len(names) < len(wanted) or not all(
                fnmatch.fnmatchcase(name, part) for name, part in zip(names, wanted, strict=False)
            ):
                continue
            if len(names) == len(wanted):
                yield one
                continue
            folder = "/".join(names[: len(wanted)])
            if folder not in led:
                led.add(folder)
                yield base / folder

    def rglob(self, pattern: str) -> Iterator[ObjectPath]:
        """Yield every object below it whose name fits a pattern."""
        for one in self._listed():
            if fnmatch.fnmatchcase(one.name, pattern):
                yield one

    def _listed(self) -> Iterator[ObjectPath]:
        import obstore

        with self.bucket.errors(str(self), "listed"):
            for found in obstore.list(self.bucket.store, self.key or None, chunk_size=1000):
                for one in found:
                    yield ObjectPath(self.bucket, one["path"], _stat(one))


def _stat(found: Any) -> ObjectStat:
    return ObjectStat(found["size"], found["last_modified"].timestamp())
