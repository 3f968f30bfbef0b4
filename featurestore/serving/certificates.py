"""The certificate and key of a server as they stand in files, read anew when they change.

What is wrong with them is said in our words and before anything listens; from a TLS library one hears no more than that
a handshake failed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from featurestore.config import Config
from featurestore.errors import ConfigError

#: A certificate is near its end when less than this is left, or than a third of its life: some live for hours.
_NEAR = timedelta(days=14)
_REMIND = timedelta(days=1)
_SEE = "The file docs/serving.md of the repository shows how to make one."

_logger = structlog.get_logger(__name__)


class Pem(NamedTuple):
    """What a server shows and whom it believes, as files in PEM.

    Attributes:
        key: the private key.
        chain: the server's certificate first, then those that lead to a root.
        client_ca: whose certificates callers must show; None if they need none.
    """

    key: bytes
    chain: bytes
    client_ca: bytes | None

    def __repr__(self) -> str:
        return "Pem(...)"


class Certificates:
    """The certificate of a server.

    Args:
        config: names the files.
        section: under which of its sections: ``[serving.tls]``, or ``[signals.tls]`` of the monitor's port.
        now: the clock.

    Attributes:
        pem: what new connections get.

    Raises:
        ConfigError: a file cannot be read or holds something else, the key is not the certificate's, or the certificate
            is not valid now.
    """

    def __init__(
        self,
        config: Config,
        *,
        section: Literal["serving", "signals"] = "serving",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        tls = config.serving.tls if section == "serving" else config.signals.tls
        self._section = f"{section}.tls"
        self._certificate_file, self._key_file = config.path(tls.certificate), config.path(tls.key)
        self._client_ca_file = config.path(tls.client_ca) if tls.client_ca else None
        self._now = now
        self._suspected = self._told = ""
        self._remind_at = now() + _REMIND
        self.pem = self._read()
        self._certificate = self._checked(self.pem)

    def tell(self) -> None:
        """Enter in the log which certificate is in use, and a warning if it is near its end."""
        self._say("certificate in use")

    def refresh(self) -> None:
        """Read the files again. What is wrong with them is logged, and what is in use stays in use."""
        try:
            found = self._read()
            if found != self.pem:
                self._certificate, self.pem = self._checked(found), found
                self._say("certificate changed")
            self._suspected = self._told = ""
        except ConfigError as error:
            # A certificate and its key are replaced one after the other: what is wrong now may be right in a moment.
            if error.message == self._suspected != self._told:
                _logger.error("certificate not changed", error=error.message, hint=error.hint, in_use=self._serial())
                self._told = error.message
            self._suspected = error.message
        self._remind()

    def _read(self) -> Pem:
        client_ca = None if self._client_ca_file is None else self._content(self._client_ca_file, "client_ca")
        return Pem(
            self._content(self._key_file, "key"), self._content(self._certificate_file, "certificate"), client_ca
        )

    def _content(self, file: Path, setting: str) -> bytes:
        try:
            return file.read_bytes()
        except OSError as error:
            raise ConfigError(
                f'Setting "{self._section}.{setting}": {file} cannot be read: {error.strerror}.',
                hint="Check the path, and that the server's user may read the file.",
            ) from None

    def _certificates(self, text: bytes, file: Path, setting: str) -> list[x509.Certificate]:
        try:
            return x509.load_pem_x509_certificates(text)
        except ValueError:
            raise ConfigError(
                f'Setting "{self._section}.{setting}": {file} holds no certificate in PEM.', hint=_SEE
            ) from None

    def _checked(self, pem: Pem) -> x509.Certificate:
        certificate = self._certificates(pem.chain, self._certificate_file, "certificate")[0]
        try:
            key = load_pem_private_key(pem.key, password=None)
        except TypeError:
            raise ConfigError(
                f'Setting "{self._section}.key": {self._key_file} is guarded by a password.',
                hint="Name a key without one, which only the server's user can read.",
            ) from None
        except (ValueError, UnsupportedAlgorithm):
            # Nothing of the text may come out: it may be a key that has only lost a line.
            raise ConfigError(
                f'Setting "{self._section}.key": {self._key_file} holds no private key in PEM.', hint=_SEE
            ) from None
        ours, its = (
            one.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            for one in (key.public_key(), certificate.public_key())
        )
        if ours != its:
            raise ConfigError(
                f"The key {self._key_file} is not that of the certificate {self._certificate_file}.",
                hint="Name the two that were made together; the server's own certificate stands first in its file.",
            )
        if pem.client_ca is not None:
            assert self._client_ca_file is not None  # noqa: S101 - it was read from there
            self._certificates(pem.client_ca, self._client_ca_file, "client_ca")
        self._check_time(certificate)
        return certificate

    def _check_time(self, certificate: x509.Certificate) -> None:
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        now = self._now()
        if now > ends:
            what = f"has expired, on {ends:%Y-%m-%d %H:%M} UTC"
        elif now < begins:
            what = f"is not valid before {begins:%Y-%m-%d %H:%M} UTC"
        else:
            return
        raise ConfigError(
            f"The certificate {self._certificate_file} {what}.", hint="Renew it, or set the clock of this machine."
        )

    def _say(self, event: str) -> None:
        ends = self._certificate.not_valid_after_utc
        _logger.info(event, file=str(self._certificate_file), serial=self._serial(), expires=ends.isoformat())
        self._remind_at = self._now()
        self._remind()

    def _remind(self) -> None:
        """Warn of a certificate that is near its end, once a day."""
        now = self._now()
        begins, ends = self._certificate.not_valid_before_utc, self._certificate.not_valid_after_utc
        if now < self._remind_at or ends - now > min(_NEAR, (ends - begins) / 3):
            return
        self._remind_at = now + _REMIND
        about = {"file": str(self._certificate_file), "serial": self._serial(), "expires": ends.isoformat()}
        if now > ends:
            _logger.error("certificate has expired: clients refuse this server", **about)
        else:
            _logger.warning("certificate expires soon", **about)

    def _serial(self) -> str:
        return f"{self._certificate.serial_number:x}"
