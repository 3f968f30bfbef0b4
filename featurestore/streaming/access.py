"""How a stream reaches its brokers: addresses, TLS, and the user that SASL shows."""

from __future__ import annotations

import ssl
from typing import Any

import certifi

from featurestore.errors import ConfigError
from featurestore.settings.streams import StreamConfig

_LAST_PORT = 65_535


def check(name: str, config: StreamConfig) -> None:
    """Check what can be seen to be wrong without a broker.

    Raises:
        ConfigError: a server or the topic is none, or a password would go over the network as it is.
    """
    if not config.servers:
        raise ConfigError(f'Stream "{name}" names no broker.', hint='servers = ["kafka.example.com:9093"]')
    for server in config.servers:
        host, _, port = server.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) <= _LAST_PORT:
            raise ConfigError(f'A server of stream "{name}" is not HOST:PORT.', hint=f"It is written as {server!r}.")
    if not config.topic:
        raise ConfigError(f'Stream "{name}" names no topic.', hint='topic = "clicks"')
    if config.user and config.security == "none":
        raise ConfigError(
            f'The password of stream "{name}" would go over the network as it is.',
            hint='Set security to "tls", or leave user out.',
        )
    if bool(config.certificate) != bool(config.key):
        raise ConfigError(f'Stream "{name}" names a certificate or its key, and not the other.', hint="Name both.")


def access(name: str, config: StreamConfig) -> dict[str, Any]:
    """Return what each connection is made with.

    Args:
        name: the stream's.
        config: its section, with its secrets read.

    Raises:
        ConfigError: a file of certificates cannot be used; or as :func:`check`.
    """
    check(name, config)
    tls = config.security == "tls"
    found: dict[str, Any] = {
        "bootstrap_servers": list(config.servers),
        "security_protocol": ("SASL_" if config.user else "") + ("SSL" if tls else "PLAINTEXT"),
        "ssl_context": _context(name, config) if tls else None,
        "client_id": "featurestore-stream",
    }
    if config.user:
        found["sasl_mechanism"] = config.mechanism.upper()
        found["sasl_plain_username"] = config.user
        found["sasl_plain_password"] = config.password.get_secret_value()
    return found


def _context(name: str, config: StreamConfig) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=config.ca_file or None)
        if not config.ca_file:
            context.load_verify_locations(certifi.where())
        if config.certificate:
            context.load_cert_chain(config.certificate, config.key)
    except OSError as error:  # an ssl.SSLError too
        raise ConfigError(
            f'A certificate of stream "{name}" cannot be used: {error.strerror or type(error).__name__}.',
            hint="ca_file, certificate and key are files in PEM; the key has no password.",
        ) from error
    return context
