"""Where a client calls, and as whom: addresses, TLS, and the token that goes with each call."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import grpc

from featurestore.errors import ConfigError

#: What gives the token of a call: the token, a file that has it, or a function that returns it.
TokenSource = str | Path | Callable[[], str]

#: Metadata of a call, as gRPC takes it.
Metadata = tuple[tuple[str, str], ...]

_OPTIONS: tuple[tuple[str, Any], ...] = (
    # The server bounds what it sends; grpc's own 4 MB would refuse large batches here.
    ("grpc.max_receive_message_length", -1),
    # Channels to one address would share one connection otherwise.
    ("grpc.use_local_subchannel_pool", 1),
    # A server that is back must not be waited for; grpc's own first pause is a second, and its longest two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)
#: A name may stand for several hosts.
_SPREAD = ("grpc.lb_policy_name", "round_robin")

_PORT = re.compile(r".*:\d+")
_LOOPBACK = re.compile(r"(localhost|127(\.\d+){3}|\[::1\]):\d+|unix:.*|unix-abstract:.*")
_TOKEN = re.compile(r"[!-~]+")


class Target:
    """Servers that are one to their clients.

    Args:
        addresses: ``host:port`` of one, or several; ``dns:///host:port`` is all hosts that the name stands for.
        connections: to each of them.
        tls: whether calls are encrypted; None means: if ``ca`` or ``certificate`` is given.
        ca: a PEM file of who may have signed the server's certificate; those that grpc knows when not given.
        certificate: a PEM file of the client's own certificate, for servers that ask for one.
        key: a PEM file of its private key.
        token: goes with each call.

    Raises:
        ConfigError: an address is none, a file cannot be read, or a token would cross the network unencrypted.

    Attributes:
        addresses: all of them.
        connections: to each.
        secured: whether calls are encrypted.
    """

    def __init__(
        self,
        addresses: str | Iterable[str],
        *,
        connections: int,
        tls: bool | None,
        ca: str | Path | None,
        certificate: str | Path | None,
        key: str | Path | None,
        token: TokenSource | None,
    ) -> None:
        self.addresses = (addresses,) if isinstance(addresses, str) else tuple(addresses)
        self.connections = connections
        if not self.addresses:
            raise ConfigError("A client needs the address of a server.", hint='For example "127.0.0.1:6566".')
        if connections < 1:
            raise ConfigError(f"{connections} connections are none.", hint="One is the least.")
        for address in self.addresses:
            if not isinstance(address, str) or not (address.startswith("unix") or _PORT.fullmatch(address)):
                raise ConfigError(
                    f"{address!r} is no address of a server.", hint='Write "host:port" or "dns:///host:port".'
                )
        if (certificate is None) != (key is None):
            raise ConfigError("A certificate and its key go together.", hint="Pass certificate= and key=, or neither.")
        secured = ca is not None or certificate is not None
        if tls is False and secured:
            raise ConfigError("Certificates were given and tls=False.", hint="Leave tls out.")
        self._credentials: grpc.ChannelCredentials | None = None
        if tls or secured:
            self._credentials = grpc.ssl_channel_credentials(_content(ca), _content(key), _content(certificate))
        elif token is not None and tls is None:
            far = [address for address in self.addresses if not _LOOPBACK.fullmatch(address)]
            if far:
                raise ConfigError(
                    f"The token would cross the network to {far[0]} for everybody to read.",
                    hint="Pass tls=True, or ca=; tls=False if the way is encrypted by other means.",
                )
        self.secured = self._credentials is not None
        self._token = token
        self._read: tuple[tuple[int, int], str] = ((0, 0), "")

    def __str__(self) -> str:
        return ", ".join(self.addresses)

    def open(self, api: Any) -> list[tuple[str, Any]]:
        """Return channels with their addresses; each has a connection of its own, made when it is first used.

        Args:
            api: the module :mod:`grpc`, or :mod:`grpc.aio`.
        """
        channels = []
        for address in self.addresses:
            options = (*_OPTIONS, _SPREAD) if address.startswith("dns:") else _OPTIONS
            for _ in range(self.connections):
                if self._credentials is None:
                    channels.append((address, api.insecure_channel(address, options=options)))
                else:
                    channels.append((address, api.secure_channel(address, self._credentials, options=options)))
        return channels

    def metadata(self) -> Metadata | None:
        """Return what goes with the next call.

        Raises:
            ConfigError: the file of the token cannot be read, or what there is is no token.
        """
        source = self._token
        if source is None:
            return None
        token = self._from_file(source) if isinstance(source, Path) else source if isinstance(source, str) else source()
        if not _TOKEN.fullmatch(token):
            # The token is not shown: it may be one with a line end too many.
            raise ConfigError(
                "The token has characters that no token has, or is empty.", hint="Check where it comes from."
            )
        return (("authorization", f"Bearer {token}"),)

    def _from_file(self, path: Path) -> str:
        """Return the token of a file, read again when the file has changed."""
        try:
            found = path.stat()
            stamp = (found.st_mtime_ns, found.st_ino)
            if stamp != self._read[0]:
                self._read = (stamp, path.read_text(encoding="utf-8").strip())
        except (OSError, ValueError) as error:
            raise ConfigError(f"The token's file {path} cannot be read: {error}.", hint="Check token=.") from None
        return self._read[1]


def _content(path: str | Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", hint="It should be a PEM file.") from None
