"""Everything else, through Apprise (extra ``apprise``): one address names the service, and what proves who writes.

Apprise tells whether a service took a message, and neither updates nor closes what it wrote before; where a kind of our
own exists (Slack, PagerDuty, mail ...), it does more. What Apprise logs is not passed on, as some of its services put
parts of the address into it.
"""

from __future__ import annotations

import logging
import re
import socket
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from featurestore.errors import ConfigError
from featurestore.settings.channels import AppriseConfig
from monitor.alerts import plot
from monitor.alerts.base import Message, Outcome, Status
from monitor.alerts.channels.addresses import is_public
from monitor.alerts.wording import Limits, Template, Tone, words

_HINT = "Write it as that service's page of Apprise's documentation says: discord://ID/TOKEN, ntfys://TOPIC, tgram://TOKEN/CHAT."
#: Apprise's names of what a message is like.
_TYPES: dict[Tone, str] = {"bad": "failure", "warning": "warning", "good": "success", "neutral": "info"}
_LARGEST_TEXT = 4_000


class Apprise:
    """Sends each message to one service.

    Args:
        name: the channel's name in ``featurestore.toml``.
        config: its section.

    Raises:
        ConfigError: the address is missing, or none that Apprise knows; a template has an unknown name; the extra
            ``apprise`` is not installed.
    """

    def __init__(self, name: str, config: AppriseConfig) -> None:
        self.name = name
        self.rehearsals = config.rehearsals
        self._library = _library()
        self._timeout = config.timeout_seconds
        self._allow_private = config.allow_private_addresses
        self._template = Template(name, config)
        url = config.service_url.get_secret_value()
        if not url:
            raise ConfigError(f'Channel "{name}" has no service_url.', hint=_HINT)
        asset = self._library.AppriseAsset(app_id="featurestore", async_mode=False, http_redirects=False)
        self._service = self._library.Apprise.instantiate(url, asset=asset)
        if self._service is None:
            raise ConfigError(f'The service_url of channel "{name}" is none that Apprise knows.', hint=_HINT)
        self._service.socket_connect_timeout = self._service.socket_read_timeout = config.timeout_seconds
        if self._service.overflow_mode == "upstream":
            self._service.overflow_mode = "truncate"
        if not config.allow_private_addresses:
            _GUARD.install()

    def close(self) -> None:
        """There is nothing to release."""

    def deliver(self, message: Message, *, now: datetime) -> Outcome:  # noqa: ARG002 - the protocol's signature
        """Send the message; see :class:`monitor.alerts.base.Channel`."""
        most, titled = self._service.body_maxlen, self._service.title_maxlen > 0
        said = words(
            message,
            Limits(
                subject=min(Limits.subject, self._service.title_maxlen) if titled else Limits.subject,
                first=min(Limits.first, most),
                text=min(_LARGEST_TEXT, most - (self._service.title_maxlen if titled else 0)),
            ),
            self._template,
        )
        picture = plot.png(message.payload) if self._service.attachment_support else None
        attach = None
        if picture:
            from apprise.attachment.memory import AttachMemory

            attach = AttachMemory(content=picture, name="plot.png", mimetype="image/png")  # type: ignore[no-untyped-call]

        def send() -> bool:
            return bool(
                self._service.notify(
                    title=said.subject if titled else "",
                    body=said.text(),
                    notify_type=_TYPES[said.tone],
                    body_format="text",
                    attach=attach,
                )
            )

        return self._attempted(send)

    def probe(self, *, now: datetime) -> Outcome:  # noqa: ARG002
        """Connect, where the address names a host and a port; see :class:`monitor.alerts.base.Channel`.

        Whether a service takes a message, only a message tells.
        """
        port = self._service.port
        if not port:
            said = f"{self._where} cannot be tried without a message: featurestore monitor check --send"
            return Outcome(Status.DELIVERED, said)

        def connect() -> bool:
            socket.create_connection((self._service.host, port), self._timeout).close()
            return True

        return self._attempted(connect)

    @property
    def _where(self) -> str:
        return f"{self._service.service_name} (through Apprise)"

    def _attempted(self, act: Callable[[], bool]) -> Outcome:
        """Act in a thread of its own, as services keep to the time of a step and not to that of an attempt."""
        attempt = _Attempt(act, allow_private=self._allow_private)
        attempt.start()
        attempt.join(self._timeout)
        if attempt.is_alive():
            return Outcome(Status.RETRY, f"{self._where} did not answer in {self._timeout:g} s")
        if attempt.done:
            return Outcome(Status.DELIVERED)
        if attempt.forbidden:
            said = f"it is at {attempt.forbidden}, not a public address; allow_private_addresses = true would allow it"
            return Outcome(Status.RETRY, f"{self._where}: {said}", untaken=True)
        said = f"answered {attempt.code}" if attempt.code else "cannot be reached, or did not take the message"
        return Outcome(Status.RETRY, f"{self._where} {said}", untaken=bool(attempt.code))


class _Attempt(threading.Thread):
    """One attempt.

    Attributes:
        done: whether the service took the message.
        code: the HTTP status of its answer, if Apprise logged one.
        forbidden: the address that it was kept from; "" for none.
    """

    def __init__(self, act: Callable[[], bool], *, allow_private: bool) -> None:
        super().__init__(daemon=True, name="apprise")
        self._act = act
        self.allow_private = allow_private
        self.done = False
        self.code = ""
        self.forbidden = ""

    def run(self) -> None:
        try:
            self.done = self._act()
        except Exception:  # noqa: BLE001 - a hundred services of others: whatever one raises, the message was not sent
            self.done = False


class _Guard:
    """Keeps attempts from connecting to addresses that are not public.

    Services resolve names, follow what they are told, and connect by libraries of their own. What all of them come
    through is the interpreter, which reports each connection before it is made (PEP 578).
    """

    def __init__(self) -> None:
        self._installed = False

    def install(self) -> None:
        """Begin, once; there is no end."""
        if not self._installed:
            self._installed = True
            sys.addaudithook(self._hook)

    @staticmethod
    def _hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "socket.connect":
            return
        attempt = threading.current_thread()
        if not isinstance(attempt, _Attempt) or attempt.allow_private:
            return
        where = arguments[1]
        if not isinstance(where, tuple):
            return  # a socket of this machine's, with a name in a folder
        for *_, found in socket.getaddrinfo(where[0], where[1], type=socket.SOCK_STREAM):
            address = str(found[0])
            if not is_public(address):
                attempt.forbidden = address
                raise ConnectionRefusedError("not a public address")


_GUARD = _Guard()


class _Codes(logging.Handler):
    """Takes what Apprise logs, and keeps of it the status of an answer."""

    def emit(self, record: logging.LogRecord) -> None:
        found = re.search(r"\berror=(\d{3})\b", record.getMessage())
        attempt = threading.current_thread()
        if found and isinstance(attempt, _Attempt):
            attempt.code = found[1]


def _library() -> Any:
    try:
        import apprise
    except ImportError:
        raise ConfigError("Apprise needs the extra apprise.", hint="pip install 'featurestore[apprise]'") from None
    logger = logging.getLogger("apprise")
    if not any(isinstance(handler, _Codes) for handler in logger.handlers):
        logger.addHandler(_Codes())
        logger.propagate = False
    return apprise
