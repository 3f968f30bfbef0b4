"""Apache Spark, where it joins and reads: can its session start? None is started here, as that takes many seconds."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from featurestore.doctor.finding import Finding, fault, well
from featurestore.doctor.patient import Patient
from featurestore.offline.spark.session import check_installed, check_reachable

_ABOUT = "spark"
#: The oldest that Spark 4 starts with.
_JAVA = 17
_JAVA_SECONDS = 20.0
_HINT = f"Install Java {_JAVA} (Debian: openjdk-{_JAVA}-jre-headless), or name a server: remote under [offline.spark]."


def probe_spark(patient: Patient) -> Iterator[Finding]:
    """See that the server of Spark Connect listens, or else that Java is here for a session of this process.

    Nothing is said where Spark is not asked for, or pyspark lacks, which the probe of the extras tells of.
    """
    if patient.config.offline.engine != "spark" or find_spec("pyspark") is None:
        return
    check_installed()
    settings = patient.config.spark()
    if settings.remote:
        host, port = check_reachable(settings.remote)
        yield well(_ABOUT, f"a server listens at {host}:{port}; no session was started")
        return
    yield _java()


def _java() -> Finding:
    """Look at the Java that Spark takes: that of ``JAVA_HOME``, else the first on the path."""
    home = os.environ.get("JAVA_HOME", "")
    program = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if program is None:
        return fault(_ABOUT, "A session in this process needs Java, and there is none on the path.", _HINT)
    where = f"{program}, of JAVA_HOME," if home else program
    try:
        said = subprocess.run(  # noqa: S603 - the program that Spark would run
            [program, "-version"], capture_output=True, text=True, timeout=_JAVA_SECONDS, check=True
        )
    except FileNotFoundError:
        return fault(_ABOUT, f"{where} is not there.", "Set JAVA_HOME to the folder of a Java, or unset it.")
    except (OSError, subprocess.SubprocessError) as error:
        return fault(_ABOUT, f"{where} does not run: {type(error).__name__}.", _HINT)
    found = re.search(r'version "(?:1\.)?(\d+)', said.stderr + said.stdout)
    if found is None:
        return fault(_ABOUT, f"{where} does not say which version it is.", _HINT)
    if int(found[1]) < _JAVA:
        return fault(_ABOUT, f"{where} is Java {found[1]}; Spark needs {_JAVA} or later.", _HINT)
    return well(_ABOUT, f"pyspark and Java {found[1]} are there; no session was started")
