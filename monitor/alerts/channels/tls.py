"""Certificates: which are trusted, what is wrong with one, and which end soon."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import certifi

from featurestore.errors import ConfigError

#: How long before its end a certificate is remarked on.
SOON = timedelta(days=14)


def context(channel: str, ca_file: str) -> ssl.SSLContext:
    """Return what a channel trusts: the public authorities, or only those of a file.

    Args:
        channel: the channel's name.
        ca_file: a file of certificates in PEM; "" for the public ones: the system's, and those of ``certifi``.

    Raises:
        ConfigError: the file cannot be read, or has no certificate.
    """
    if not ca_file:
        return _public()
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # an ssl.SSLError too
        said = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(
            f'The ca_file of channel "{channel}", {ca_file}, cannot be used: {said}.',
            hint="It is a file of certificates in PEM, which begin with -----BEGIN CERTIFICATE-----.",
        ) from error


@cache
def _public() -> ssl.SSLContext:
    """Return what all channels share: reading some hundred certificates takes a fifth of a second."""
    public = ssl.create_default_context()
    public.load_verify_locations(certifi.where())
    return public


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
