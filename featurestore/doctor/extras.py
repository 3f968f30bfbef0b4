"""Packages that a configuration needs and that are not installed: one table, a line for each extra."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec

from featurestore.config import Config
from featurestore.doctor.finding import Finding, fault, well
from featurestore.doctor.patient import Patient
from featurestore.settings.online import RedisConfig
from featurestore.storage import is_object_url


@dataclass(frozen=True, kw_only=True)
class Need:
    """What an extra is for.

    Attributes:
        extra: its name in ``pyproject.toml``.
        module: of it, which is there exactly when it is installed.
        wanted: whether a configuration needs it.
    """

    extra: str
    module: str
    wanted: Callable[[Config], bool]


def _has_kind(kind: str) -> Callable[[Config], bool]:
    return lambda config: any(one.kind == kind for one in config.channels.values())


NEEDS = (
    Need(
        extra="postgres",
        module="psycopg",
        wanted=lambda config: any(
            # What a file holds is not read here; no other database has a password to hide.
            url.startswith(("postgresql", "file:"))
            for url in (config.registry, config.monitor.database)
        ),
    ),
    Need(extra="redis", module="redis", wanted=lambda config: isinstance(config.online, RedisConfig)),
    Need(extra="s3", module="obstore", wanted=lambda config: is_object_url(config.offline.path)),
    Need(extra="spark", module="pyspark", wanted=lambda config: config.offline.engine == "spark"),
    Need(extra="kafka", module="aiokafka", wanted=lambda config: bool(config.streams) or _has_kind("kafka")(config)),
    Need(extra="apprise", module="apprise", wanted=_has_kind("apprise")),
    Need(extra="adbc", module="adbc_driver_manager", wanted=lambda config: bool(config.connections)),
    Need(extra="tracing", module="opentelemetry", wanted=lambda config: config.serving.tracing),
)


def probe_extras(patient: Patient) -> Iterator[Finding]:
    """Say which extras are needed, and which of them are not there."""
    for need in NEEDS:
        if not need.wanted(patient.config):
            continue
        about = f"extra {need.extra}"
        if find_spec(need.module) is None:
            yield fault(
                about,
                "The configuration needs it, and it is not installed.",
                f"pip install 'featurestore[{need.extra}]'",
            )
        else:
            yield well(about, "it is needed, and installed")
