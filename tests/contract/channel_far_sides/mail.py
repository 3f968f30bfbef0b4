"""A mail server on loopback, with STARTTLS and a password."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from featurestore.settings.channels import MailConfig
from monitor.alerts.channels.mail import Mail
from tests.contract.channel_far_sides.base import SETTINGS, FarSide
from tests.contract.channel_far_sides.receiving import certificate_file

PASSWORD = "the password of the tests"


@dataclass
class MailServer:
    """A mail server.

    Attributes:
        port: where it listens, on 127.0.0.1.
        mails: what it has taken.
        recipients: of each of them.
        logins: users that have logged on.
        replies: its answers to commands, ``{"DATA": "451 later"}``; in place of taking them.
    """

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    replies: dict[str, str] = field(default_factory=dict)
    stop: Callable[[], None] = lambda: None

    def text(self) -> str:
        """Return all that it has taken: headers, and every part that is text."""
        parts = [
            str(part.get_content())
            for one in self.mails
            for part in one.walk()
            if part.get_content_maintype() == "text"
        ]
        return "\n".join([str(header) for one in self.mails for header in one.values()] + parts)

    async def handle_MAIL(self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: Any) -> str:  # noqa: N802
        envelope.mail_from = address
        return self.replies.get("MAIL", "250 OK")

    async def handle_RCPT(self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: Any) -> str:  # noqa: N802
        said = self.replies.get(f"RCPT {address}", self.replies.get("RCPT", "250 OK"))
        if said.startswith("250"):
            envelope.rcpt_tos.append(address)
        return said

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:  # noqa: N802
        said = self.replies.get("DATA", "250 OK")
        if said.startswith("250"):
            assert isinstance(envelope.content, bytes)
            mail = message_from_bytes(envelope.content, policy=default)
            assert isinstance(mail, EmailMessage)
            self.mails.append(mail)
            self.recipients.append(list(envelope.rcpt_tos))
        return said

    def authenticate(self, _: SMTP, __: Session, ___: Envelope, ____: str, data: Any) -> AuthResult:
        good = isinstance(data, LoginPassword) and data.password == PASSWORD.encode()
        if good:
            self.logins.append(data.login.decode())
        return AuthResult(success=good, handled=False)


@contextmanager
def mail_server(certificate: Path | None, *, tls: bool = False) -> Iterator[MailServer]:
    """Serve SMTP.

    Args:
        certificate: a file that holds a key and a certificate; with it, STARTTLS and a password are required.
        tls: whether it speaks TLS from the first byte on instead; a password is checked then, and not required.
    """
    server, loop = MailServer(), asyncio.new_event_loop()
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    starttls = context is not None and not tls

    def protocol() -> SMTP:
        return SMTP(
            server,
            hostname="mail.tests",
            tls_context=context if starttls else None,
            require_starttls=starttls,
            authenticator=server.authenticate,
            auth_required=starttls,
            auth_require_tls=starttls,
            enable_SMTPUTF8=True,
            loop=loop,
        )

    listening = loop.run_until_complete(loop.create_server(protocol, "127.0.0.1", 0, ssl=context if tls else None))
    server.port = listening.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def end() -> None:
        listening.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def stop() -> None:
        if thread.is_alive():
            asyncio.run_coroutine_threadsafe(end(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    server.stop = stop
    try:
        yield server
    finally:
        stop()


def section(server: MailServer, certificate: Path | None, **settings: Any) -> MailConfig:
    """Return the section of a channel to a server."""
    values = {
        "kind": "mail",
        "host": "127.0.0.1",
        "port": server.port,
        "sender": "Monitor <monitor@example.com>",
        "recipients": ["oncall@example.com", "Second <second@example.com>"],
        "allow_private_addresses": True,
    }
    if certificate is None:
        values["security"] = "none"
    else:
        values |= {"ca_file": str(certificate), "user": "monitor", "password": PASSWORD}
    return MailConfig.model_validate(values | SETTINGS | settings)


@contextmanager
def far_side(folder: Path) -> Iterator[FarSide]:
    certificate = certificate_file(folder)
    with mail_server(certificate) as server:
        yield FarSide(
            channel=Mail("c", section(server, certificate)),
            arrived=lambda: len(server.mails),
            received=server.text,
            stop=server.stop,
            secrets=(PASSWORD,),
        )
