"""Certificates: which are trusted, what is wrong with one, and which end soon."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import certifi

from featurestore.errors import ConfigError

#: How long before its end a certificate is remarked on.
SOON = timedelta(days=14)


@functools.cache
def _public(protocol: str) -> ssl.SSLContext:  # noqa: ARG001 - one for each
    found = ssl.create_default_context()
    found.load_verify_locations(certifi.where())
    return found


def context(channel: str, ca_file: str, *, protocol: str) -> ssl.SSLContext:
    """Return what a channel trusts: the public authorities, or only those of a file.

    The public ones are read once: there are hundreds, which takes longer than a message does. Channels share them as
    long as they speak one protocol, for that is negotiated by what is set on them.

    Args:
        channel: the channel's name.
        ca_file: a file of certificates in PEM; "" for the public ones: the system's, and those of ``certifi``.
        protocol: what is spoken over it: "http".

    Raises:
        ConfigError: the file cannot be read, or has no certificate.
    """
    if not ca_file:
        return _public(protocol)
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # an ssl.SSLError too
        said = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(
            f'The ca_file of channel "{channel}", {ca_file}, cannot be used: {said}.',
            hint="It is a file of certificates in PEM, which begin with -----BEGIN CERTIFICATE-----.",
        ) from error


def fault(error: BaseException | None) -> str:
    """Return what was wrong with a handshake, as the end of a sentence about the far side; "" if it was none of TLS.

    Args:
        error: what ended it.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message.rstrip('.')}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS with it: {(error.reason or 'unknown error').replace('_', ' ').lower()}"
    return ""


def remark(certificate: Mapping[str, Any], *, now: datetime) -> str:
    """Return a warning of a certificate that ends within :data:`SOON`; "" of one that does not.

    Args:
        certificate: what :meth:`ssl.SSLSocket.getpeercert` gives.
        now: the wall clock.
    """
    if "notAfter" not in certificate:
        return ""
    end = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
    return f"its certificate ends on {end:%Y-%m-%d}" if end - now < SOON else ""
