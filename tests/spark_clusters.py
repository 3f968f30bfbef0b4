"""Apache Spark for the tests: a real cluster of two executors on this machine, and a server of Spark Connect."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from featurestore.offline.spark import session as sessions
from featurestore.settings.sections import SparkSettings

#: Three machines of Java that live for a minute: what they would gain by compiling well, they would not live to see.
JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def spark_cluster(lacking: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSettings]:
    """Start two executors, each a process of its own, and a server of Spark Connect; yield their settings."""
    if importlib.util.find_spec("pyspark") is None:
        lacking("needs pyspark: pip install 'featurestore[spark]'")
    if shutil.which("java") is None:
        lacking("needs the program java (Debian's package openjdk-17-jre-headless)")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    folder = str(tmp_path_factory.mktemp("spark"))
    settings = SparkSettings(
        master="local-cluster[2,1,1024]",
        conf={
            "spark.plugins": "org.apache.spark.sql.connect.SparkConnectPlugin",
            "spark.connect.grpc.binding.address": "127.0.0.1",
            "spark.connect.grpc.binding.port": str(port),
            "spark.executorEnv.PYTHONPATH": str(ROOT),
            "spark.local.dir": folder,
            "spark.sql.warehouse.dir": folder,
            "spark.sql.shuffle.partitions": "2",
            "spark.driver.memory": "1g",
            "spark.driver.extraJavaOptions": JAVA,
            "spark.executor.extraJavaOptions": JAVA,
            "spark.log.level": "ERROR",
            "spark.sql.execution.arrow.localRelationThreshold": "1KB",  # entity rows take the way of many
            "spark.eventLog.enabled": "true",  # all that Spark tells of plans, for the test that looks for keys in it
            "spark.eventLog.dir": folder,
            "spark.eventLog.compress": "false",
        },
    )
    handler = signal.getsignal(signal.SIGINT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_LOCAL_HOSTNAME", "localhost")
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setenv("PYSPARK_PYTHON", sys.executable)  # of the executors that serve Connect
        for name in [one for one in os.environ if one.startswith("AWS_")]:
            patch.delenv(name)  # executors have no keys of their own
        spark = sessions.session(settings)
        signal.signal(signal.SIGINT, handler)  # Spark's would cancel jobs in every test that presses Ctrl-C
        yield settings
        _end(spark)


def _end(spark: Any) -> None:
    from pyspark import SparkContext

    gateway, said = SparkContext._gateway, said_by_executors(spark)
    spark.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()  # it ends when nobody can speak to it any more
    gateway.proc.wait()
    SparkContext._gateway = SparkContext._jvm = None
    shutil.rmtree(said, ignore_errors=True)


def said_by_executors(spark: Any) -> Path:
    """Return the folder of what a local cluster's executors say: in pyspark's own, wherever it is told to put it."""
    import pyspark

    return Path(pyspark.__file__).parent / "work" / str(spark.sparkContext.applicationId)
