"""A session of Apache Spark, classic or Connect; the one home of pyspark.

Whatever is asked of it is SQL, ``mapInArrow`` and a few methods that both kinds of session have, so nothing else here
knows which kind it is. Both need Spark 4.1.
"""

from __future__ import annotations

import re
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from featurestore.errors import ConfigError, FeatureStoreError, OfflineStoreError
from featurestore.settings.sections import SparkSettings

#: What a session of ours begins with, unless its settings say otherwise.
_CONF = {
    "spark.app.name": "featurestore",
    "spark.ui.showConsoleProgress": "false",  # it would stand amid what a notebook prints
    "spark.ui.enabled": "false",
    # Entity rows go to executors as Arrow's bytes. Up to 48 MB of them would be unpacked here, to many times as much.
    "spark.sql.execution.arrow.localRelationThreshold": "1MB",
}
_LEAST = (4, 1)
#: Where a server of Spark Connect listens unless it is told otherwise; and how long to wait for it, in seconds.
_PORT, _REACHED_IN = 15002, 10.0
_URL = 'Write remote = "sc://HOST:15002".'
_UNREACHED = 'Check "remote" under [offline.spark] in featurestore.toml, and whether the server runs.'
_HINT = "pip install 'featurestore[spark]'"
_lock = threading.Lock()
_sessions: dict[tuple[Any, ...], Any] = {}


def session(settings: SparkSettings) -> Any:
    """Return the session of some settings, one in a process, started when it is first asked for.

    Returns:
        A :class:`pyspark.sql.SparkSession`, or that of ``pyspark.sql.connect``.

    Raises:
        ConfigError: pyspark is not installed, or is too old.
        OfflineStoreError: Spark does not start, or cannot be reached.
    """
    known = (settings.remote, settings.master, *sorted(settings.conf.items()))
    with _lock:
        found = _sessions.get(known)
        if found is None or _stopped(found):
            found = _sessions[known] = _opened(settings)
        return found


def is_local(spark: Any) -> bool:
    """Return whether all executors of a session run on this machine for certain."""
    return not _is_remote(spark) and bool(spark.sparkContext.master.startswith("local"))


def _is_remote(spark: Any) -> bool:
    return ".connect." in type(spark).__module__


@contextmanager
def failing(what: str, hint: str = "", secrets: SparkSettings | None = None) -> Iterator[None]:
    """Raise what goes wrong in Spark as an OfflineStoreError.

    Args:
        what: what is done, for the message.
        hint: what to do, if there is something to say.
        secrets: settings, some of whose values are not to be shown.

    Raises:
        OfflineStoreError: Spark could not do it.
    """
    try:
        yield
    except FeatureStoreError:
        raise
    except Exception as error:  # of py4j, of gRPC, and of pyspark, which have no common root
        if not type(error).__module__.startswith(("pyspark", "py4j", "grpc")):
            raise
        said, do = _said(error)
        for hidden in () if secrets is None else secrets.secrets:
            said = said.replace(hidden, "...")
        raise OfflineStoreError(f"{what} failed: {said.rstrip('.')}.", hint=do or hint) from error


@contextmanager
def kept_on_disk(frame: Any) -> Iterator[Any]:
    """Yield a frame that all executors have computed, side by side, onto their disks: what is then fetched is read."""
    from pyspark import StorageLevel

    kept = frame.persist(StorageLevel.DISK_ONLY)
    try:
        kept.count()
        yield kept
    finally:
        kept.unpersist()


def fetched(kept: Any) -> Iterator[Any]:
    """Yield the rows of a frame in order, partition by partition; the next one is fetched while one is dealt with.

    Args:
        kept: as :func:`kept_on_disk` yields it; of one partition at least.
    """
    if _is_remote(kept.sparkSession):
        yield from kept.toLocalIterator(prefetchPartitions=True)
        return
    # Spark 4.3's toLocalIterator, which does the same, holds on to every partition until the last one was fetched.
    rdd, run = kept.rdd, kept.sparkSession.sparkContext.runJob
    parts = rdd.getNumPartitions()
    with ThreadPoolExecutor(1, thread_name_prefix="spark-fetch") as ahead:
        following = ahead.submit(run, rdd, list, [0])
        for part in range(1, parts + 1):
            rows = following.result()
            if part < parts:
                following = ahead.submit(run, rdd, list, [part])
            yield from rows


def _opened(settings: SparkSettings) -> Any:
    # Whatever it says of pandas' frames, it sees none of ours.
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    check_installed()
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise ConfigError(f"Apache Spark needs a package that is missing: {error}.", hint=_HINT) from error
    if settings.remote:
        return _connected(settings)
    builder = SparkSession.builder
    for name, value in {**_CONF, **settings.conf}.items():
        builder = builder.config(name, value)
    if settings.master:
        builder = builder.master(settings.master)
    hint = "A session in this process needs Java 17: install it, or name a server: remote under [offline.spark]."
    with failing("Starting Apache Spark", hint, settings):
        made = builder.getOrCreate()
    if made.sparkContext.master.startswith("local"):
        # Executors on this machine run this very Python, and not whichever is first on the path.
        made.sparkContext.pythonExec = sys.executable
    return made


def _connected(settings: SparkSettings) -> Any:
    try:
        # Not by way of pyspark.sql.SparkSession, which would turn the whole process over to Connect.
        from pyspark.sql.connect.session import SparkSession
    except ImportError as error:
        raise ConfigError(f"Spark Connect needs a package that is missing: {error}.", hint=_HINT) from error
    check_reachable(settings.remote)
    with failing("Connecting to Apache Spark", _UNREACHED, settings):
        builder = SparkSession.builder.remote(settings.remote)
        for name, value in settings.conf.items():
            builder = builder.config(name, value)
        made = builder.create()
        _ = made.version  # the first call that goes out
        return made


def check_installed() -> None:
    """Check that pyspark is here, and new enough; no session is started.

    Raises:
        ConfigError: it is not installed, or too old.
    """
    try:
        import pyspark
    except ImportError as error:
        said = f'Setting "offline.engine": "spark" needs a package that is not installed: {error}.'
        raise ConfigError(said, hint=_HINT) from error
    if _version(pyspark.__version__) < _LEAST:
        raise ConfigError(f"pyspark {pyspark.__version__} is too old: 4.1 is the oldest that will do.", hint=_HINT)


def check_reachable(remote: str) -> tuple[str, int]:
    """Check that something listens where a server is to be: the client would try for ten minutes.

    Args:
        remote: ``sc://HOST:PORT``, with whatever parameters; no port is that of Spark Connect.

    Returns:
        Host and port.

    Raises:
        ConfigError: it is no URL of a server.
        OfflineStoreError: nothing does.
    """
    url = urlsplit(remote)
    try:
        host, port = url.hostname, url.port or _PORT
    except ValueError:
        host, port = None, 0
    if url.scheme != "sc" or host is None:
        raise ConfigError('Setting "offline.spark.remote" is no URL of a server of Spark Connect.', hint=_URL)
    try:
        socket.create_connection((host, port), _REACHED_IN).close()
    except OSError as error:
        raise OfflineStoreError(
            f"No Spark Connect server can be reached at {host}:{port}: {error}.", hint=_UNREACHED
        ) from error
    return host, port


def _stopped(spark: Any) -> bool:
    if _is_remote(spark):
        return bool(spark.is_stopped)
    context = spark.sparkContext
    return context._jsc is None or bool(context._jsc.sc().isStopped())


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)[:2]))


def _said(error: Exception) -> tuple[str, str]:
    """Return the line of a message that says what happened, and what to do about it if that stands there too."""
    lines = [line.strip() for line in str(error).splitlines()]
    # What an executor met stands behind the words of the scheduler; and what we say there is said for the reader.
    ours = [place for place, line in enumerate(lines) if re.match(r"featurestore\.errors\.\w+: ", line)]
    if ours:
        said, after = lines[ours[-1]], lines[ours[-1] + 1] if ours[-1] + 1 < len(lines) else ""
        return said.partition(": ")[2], after.removeprefix("Hint: ") if after.startswith("Hint: ") else ""
    causes = [line for line in lines if re.match(r"(Caused by: )?[\w.$]+(Exception|Error)\b", line)]
    said = next(iter(reversed(causes)), next(filter(None, lines), type(error).__name__))
    return said.removeprefix("Caused by: "), ""
