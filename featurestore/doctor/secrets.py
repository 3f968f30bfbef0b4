"""Secrets and certificates: is each there that the configuration names? What they are is never said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from featurestore.doctor.finding import Finding, fault, well
from featurestore.doctor.patient import Patient
from featurestore.errors import FeatureStoreError
from featurestore.serving.certificates import Certificates


def probe_secrets(patient: Patient) -> Iterator[Finding]:
    """Read every secret once."""
    config = patient.config
    wanted: dict[str, Callable[[], object]] = {
        "key of the audit log": config.signing_key,
        "secret of erasures": config.erasure_secret,
        "URL of the registry": partial(config.database_url, config.registry),
        "URL of the monitor's database": partial(config.database_url, config.monitor.database),
    }
    if config.identity.name:
        wanted[f"identity {config.identity.name}"] = config.identity_key
    wanted |= {f"secrets of channel {name}": partial(config.channel, name) for name in config.channels}
    wanted |= {f"secrets of connection {name}": partial(config.connection, name) for name in config.connections}
    wanted |= {f"secrets of stream {name}": partial(config.stream, name) for name in config.streams}
    if not isinstance(config.online, str):
        wanted["secrets of the online store"] = config.online_store
    if config.offline.engine == "spark":
        wanted["secrets of Spark"] = config.spark
    if config.serving.tls.enabled:
        wanted["certificate of the server"] = partial(Certificates, config)
    missing = 0
    for about, read in wanted.items():
        try:
            read()
        except FeatureStoreError as error:
            missing += 1
            yield fault(about, error)
    if not missing:
        yield well("secrets", "all that the configuration names are there")
