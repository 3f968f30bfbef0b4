"""Mail by SMTP.

A refusal with 5yz of sender, recipients or message is for good, and of that message; everything that goes wrong before
(no connection, no TLS, a password that is not accepted) may be mended, and the message waits.
"""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.utils import getaddresses

import structlog

from featurestore.errors import ConfigError
from featurestore.settings.channels import MailConfig
from monitor.alerts.base import Message, Outcome, Status
from monitor.alerts.channels import addresses, tls
from monitor.alerts.channels.addresses import UnreachableError
from monitor.alerts.channels.letter import compose
from monitor.alerts.wording import Template

_log = structlog.get_logger("monitor.mail")


class Mail:
    """Sends each message to the recipients of one channel.

    Args:
        name: the channel's name in ``featurestore.toml``.
        config: its section.

    Raises:
        ConfigError: the host, the sender or a recipient is missing or is none; a password would go over the network as
            it is; the CA file cannot be used; a template has an unknown name.
    """

    def __init__(self, name: str, config: MailConfig) -> None:
        self.name = name
        self.rehearsals = config.rehearsals
        if not config.host:
            raise ConfigError(f'Channel "{name}" names no mail server.', hint='host = "smtp.example.com"')
        if not config.recipients:
            raise ConfigError(f'Channel "{name}" has no recipients.', hint='recipients = ["oncall@example.com"]')
        if config.user and config.security == "none":
            raise ConfigError(
                f'The password of channel "{name}" would go over the network as it is.',
                hint='Set security to "starttls" or "tls", or leave user out.',
            )
        self._sender = _address(f'The sender of channel "{name}"', config.sender)
        self._recipients = tuple(
            _address(f'Recipient {place} of channel "{name}"', text)
            for place, text in enumerate(config.recipients, start=1)
        )
        self._config = config
        self._context = None if config.security == "none" else tls.context(name, config.ca_file, protocol="smtp")
        self._template = Template(name, config)

    def close(self) -> None:
        """There is nothing to release: each attempt has a connection of its own."""

    def deliver(self, message: Message, *, now: datetime) -> Outcome:  # noqa: ARG002 - the protocol's signature
        """Send the message; see :class:`monitor.alerts.base.Channel`.

        Delivered means that the server took it for at least one recipient; those that it refused are logged by their
        place in the list.
        """
        mail = compose(message, self._sender, self._recipients, self._template)
        try:
            with self._connection() as server:
                refused = server.send_message(mail, self._sender.addr_spec, [one.addr_spec for one in self._recipients])
        except UnreachableError as error:
            return Outcome(Status.RETRY, error.reason, untaken=True)
        except smtplib.SMTPRecipientsRefused as error:
            return _refused(self._where, {code for code, _ in error.recipients.values()}, "every recipient")
        except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
            what = "the sender" if isinstance(error, smtplib.SMTPSenderRefused) else "the message"
            return _refused(self._where, {error.smtp_code}, what)
        except smtplib.SMTPNotSupportedError:
            reason = f"{self._where} takes no address that is not ASCII (it has no SMTPUTF8)"
            return Outcome(Status.RETRY, reason, untaken=True)
        except (smtplib.SMTPException, OSError) as error:
            # Of an attempt that breaks off after the message was sent, nobody knows whether it was taken.
            return Outcome(Status.RETRY, self._broken(error))
        if refused:
            places = [place for place, one in enumerate(self._recipients, start=1) if one.addr_spec in refused]
            codes = sorted({code for code, _ in refused.values()})
            _log.warning("recipients were refused", channel=self.name, key=message.key, recipients=places, codes=codes)
        return Outcome(Status.DELIVERED, reference=str(mail["Message-ID"]))

    def probe(self, *, now: datetime) -> Outcome:
        """Log on, and go; see :class:`monitor.alerts.base.Channel`."""
        try:
            with self._connection() as server:
                server.noop()
                # Without TLS the socket is none of it.
                certificate = server.sock.getpeercert() if isinstance(server.sock, ssl.SSLSocket) else None
        except UnreachableError as error:
            return Outcome(Status.RETRY, error.reason, untaken=True)
        except (smtplib.SMTPException, OSError) as error:
            return Outcome(Status.RETRY, self._broken(error), untaken=True)
        said = tls.remark(certificate or {}, now=now)
        return Outcome(Status.DELIVERED, f"{self._where}: {said}" if said else "")

    @property
    def _where(self) -> str:
        return f"{self._config.host}:{self._config.port}"

    @contextmanager
    def _connection(self) -> Iterator[smtplib.SMTP]:
        """Yield a connection on which a message can be sent, and close it.

        Raises:
            UnreachableError: there is none: nothing was sent.
            TimeoutError: the attempt's time was over while the connection was used.
        """
        config = self._config
        found = addresses.checked(config.host, config.port, allow_private=config.allow_private_addresses)
        server, watch = self._connected(found)
        try:
            try:
                self._greet(server)
            except (smtplib.SMTPException, OSError) as error:
                raise UnreachableError(self._broken(error, late=server.late)) from error
            try:
                yield server
            except (smtplib.SMTPException, OSError) as error:
                if server.late:  # whatever it had begun to say then
                    raise TimeoutError from error
                raise
            # The message is taken: whether the farewell arrives changes nothing.
            with contextlib.suppress(smtplib.SMTPException, OSError):
                server.quit()
        finally:
            watch.cancel()
            server.close()

    def _connected(self, found: tuple[str, ...]) -> tuple[_Direct, threading.Timer]:
        """Return a connection to the first address that answers, and what ends it when the attempt's time is over."""
        config = self._config
        end = time.monotonic() + config.timeout_seconds
        failure: Exception = TimeoutError()
        for address in found:
            left = end - time.monotonic()
            if left <= 0:
                break
            server = _Direct(address, self._context if config.security == "tls" else None, left)
            watch = threading.Timer(left, server.cut)
            watch.daemon = True
            watch.start()
            try:
                server.open(config.host, config.port)
            except (smtplib.SMTPException, OSError) as error:
                watch.cancel()
                server.close()
                failure = TimeoutError() if server.late else error
            else:
                return server, watch
        raise UnreachableError(self._broken(failure)) from failure

    def _greet(self, server: smtplib.SMTP) -> None:
        if self._config.security == "starttls":
            server.starttls(context=self._context)
        server.ehlo_or_helo_if_needed()
        if self._config.user:
            server.login(self._config.user, self._config.password.get_secret_value())

    def _broken(self, error: BaseException, *, late: bool = False) -> str:
        """Return what went wrong; of what the server said only the code, as its text may repeat what it was sent."""
        if late:
            error = TimeoutError()
        fault = tls.fault(error)
        if fault:
            return f"{self._where}: {fault}"
        if isinstance(error, TimeoutError):
            return f"{self._where} did not answer in {self._config.timeout_seconds:g} s"
        if isinstance(error, smtplib.SMTPServerDisconnected):
            return f"{self._where} hung up"
        if isinstance(error, smtplib.SMTPAuthenticationError):
            return f"{self._where} does not accept the user or the password ({error.smtp_code})"
        if isinstance(error, smtplib.SMTPNotSupportedError):
            return f"{self._where} offers no STARTTLS, or no way to log on that is known here"
        if isinstance(error, smtplib.SMTPResponseException):
            return f"{self._where} answered {error.smtp_code}"
        if isinstance(error, smtplib.SMTPException):
            return f"{self._where}: {type(error).__name__}"
        said = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        return f"no connection to {self._where}: {said}"


class _Direct(smtplib.SMTP):
    """Connects to an address that was checked, under the name that its certificate must have.

    Args:
        address: the IP address.
        context: of the TLS that it begins with, if it does.
        timeout: seconds of each step.

    Attributes:
        late: whether the time of the attempt as a whole was over.
    """

    def __init__(self, address: str, context: ssl.SSLContext | None, timeout: float) -> None:
        super().__init__(timeout=timeout)
        self._address = address
        self._tls = context
        self._line: socket.socket | None = None
        self.late = False

    def open(self, host: str, port: int) -> None:
        """Connect.

        Raises:
            OSError: there is no connection.
            smtplib.SMTPConnectError: the server does not want one.
        """
        self._host = host  # what STARTTLS compares the certificate with
        code, said = self.connect(host, port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, said)

    def cut(self) -> None:
        """End the connection from another thread: a far side that says a letter now and then is in time with each."""
        self.late = True
        if self._line is not None:
            with contextlib.suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        super().close()
        if self._line is not None:
            self._line.close()

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        made = socket.create_connection((self._address, port), timeout)
        # TLS takes the socket's place, from its first step on: the line is what both have.
        self._line = made.dup()
        if self._tls is None:
            return made
        try:
            return self._tls.wrap_socket(made, server_hostname=host)
        except BaseException:
            made.close()
            raise


def _refused(where: str, codes: set[int], what: str) -> Outcome:
    """Return what it means that the server refused, by its codes (RFC 5321, 4.2.1): only 5yz is for good."""
    shown = ", ".join(map(str, sorted(codes)))
    status = Status.REFUSED if all(500 <= code < 600 for code in codes) else Status.RETRY
    return Outcome(status, f"{where} refused {what}: {shown}", untaken=all(400 <= code < 600 for code in codes))


def _address(what: str, text: str) -> Address:
    """Return an address, ``ops@example.com`` or ``Ops <ops@example.com>``; the error does not repeat it."""
    addresses_in_it = getaddresses([text])
    name, address = addresses_in_it[0] if len(addresses_in_it) == 1 else ("", "")
    user, _, domain = address.rpartition("@")
    try:
        # The domain as the mail's identifiers and servers without SMTPUTF8 need it.
        found = Address(display_name=name, addr_spec=f"{user}@{domain.encode('idna').decode()}")
    except (MessageError, ValueError, IndexError):  # what the standard library makes of one that is none
        found = Address()
    if not found.username or not found.domain or not text.isprintable():
        raise ConfigError(
            f"{what} is not a mail address.", hint="Write it as ops@example.com or Ops <ops@example.com>."
        )
    return found
