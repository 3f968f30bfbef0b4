"""A topic of Kafka: each message is a CloudEvent in binary mode, with the incident as its key (extra ``kafka``).

Records of one key go to one partition, so a consumer reads the messages of an incident in their order. A record is
written when all in-sync replicas have it. The producer is idempotent where the broker lets it be: a record that the
client sends again, as it saw no answer, is there once. Of an attempt that is made again later the record may be there
twice; its ``ce_id`` tells.

CloudEvents' binding: https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/kafka-protocol-binding.md
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias

from featurestore.errors import ConfigError
from featurestore.settings.channels import KafkaConfig
from monitor.alerts.base import Message, Outcome, Status
from monitor.alerts.channels import addresses, tls
from monitor.alerts.channels.addresses import UnreachableError
from monitor.alerts.channels.http import encoded
from monitor.alerts.channels.webhook import cloud_event
from monitor.alerts.fitting import fitted

#: Bytes of a payload: brokers take 1 MiB unless they are told otherwise, headers and all.
_LARGEST = 900_000
_LARGEST_REQUEST = 1_048_576
#: Seconds that a producer has to stop.
_FAREWELL = 1.0

_Act: TypeAlias = "Callable[[Any, _Attempt], Coroutine[Any, Any, None]]"


class Kafka:
    """Writes each message to one topic.

    A connection is made for each attempt: alerts are rare, and brokers end connections that are idle.

    Args:
        name: the channel's name in ``featurestore.toml``.
        config: its section.

    Raises:
        ConfigError: servers or topic are missing or are none; a password would go over the network as it is; the CA
            file cannot be used; the extra ``kafka`` is not installed.
    """

    def __init__(self, name: str, config: KafkaConfig) -> None:
        self.name = name
        self.rehearsals = config.rehearsals
        if not config.servers:
            raise ConfigError(f'Channel "{name}" names no broker.', hint='servers = ["kafka.example.com:9093"]')
        for server in config.servers:
            host, _, port = server.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
                raise ConfigError(
                    f'A server of channel "{name}" is not HOST:PORT.', hint=f"It is written as {server!r}."
                )
        if not config.topic:
            raise ConfigError(f'Channel "{name}" names no topic.', hint='topic = "alerts"')
        if config.user and config.security == "none":
            raise ConfigError(
                f'The password of channel "{name}" would go over the network as it is.',
                hint='Set security to "tls", or leave user out.',
            )
        self._aiokafka = _library()
        self._topic = config.topic
        self._timeout = config.timeout_seconds
        self._allow_private = config.allow_private_addresses
        self._servers = config.servers
        self._where = ",".join(config.servers)
        trusted = tls.context(name, config.ca_file, protocol="kafka") if config.security == "tls" else None
        self._access = _access(config, trusted)

    def close(self) -> None:
        """There is nothing to release."""

    def deliver(self, message: Message, *, now: datetime) -> Outcome:  # noqa: ARG002 - the protocol's signature
        """Write the message; see :class:`monitor.alerts.base.Channel`."""
        event = cloud_event(message)
        key = (message.incident or message.key).encode()
        value = encoded(fitted(message.payload, _LARGEST))
        headers = [("content-type", str(event.pop("datacontenttype")).encode()), ("ce_partitionkey", key)]
        headers += [(f"ce_{name}", str(text).encode()) for name, text in event.items() if name != "data" and text]

        async def write(producer: Any, attempt: _Attempt) -> None:
            await producer.partitions_for(self._topic)
            attempt.untaken = False  # from here on, an answer may get lost
            await producer.send_and_wait(self._topic, value, key=key, headers=headers)

        return self._attempted(write)

    def probe(self, *, now: datetime) -> Outcome:  # noqa: ARG002
        """Log on, and ask for the topic; see :class:`monitor.alerts.base.Channel`."""

        async def ask(producer: Any, attempt: _Attempt) -> None:
            await producer.partitions_for(self._topic)
            if not attempt.idempotent:
                attempt.remark = (
                    f"{self._where} gives out no producer ids: a record that is sent again within an attempt may be "
                    "there twice, under one ce_id"
                )

        return self._attempted(ask)

    def _attempted(self, act: _Act) -> Outcome:
        errors, attempt = self._aiokafka.errors, _Attempt()
        loop = _CheckingLoop(allow_private=self._allow_private)
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                try:
                    runner.run(self._in_time(act, attempt))
                finally:
                    runner.run(loop.hang_up())
        except (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError, errors.RecordTooLargeError) as error:
            return Outcome(Status.REFUSED, self._broken(error), untaken=True)
        except (errors.KafkaError, OSError, TimeoutError) as error:
            # What hindered a connection explains more than that time was up.
            return Outcome(Status.RETRY, loop.hindrance or self._broken(error), untaken=attempt.untaken)
        return Outcome(Status.DELIVERED, attempt.remark)

    async def _in_time(self, act: _Act, attempt: _Attempt) -> None:
        async with asyncio.timeout(self._timeout):
            await self._reach()
            producer = await self._started(attempt)
            try:
                await act(producer, attempt)
            finally:
                await _stopped(producer)

    async def _reach(self) -> None:
        """Connect and log on to any of the servers: the producer itself would not say what hindered it."""
        from aiokafka.conn import create_conn

        failure: Exception = TimeoutError()
        for server in self._servers:
            host, _, port = server.rpartition(":")
            try:
                connection = await create_conn(host.strip("[]"), int(port), **self._access)
            except (self._aiokafka.errors.KafkaError, OSError, TimeoutError) as error:
                failure = error
            except (KeyError, ValueError) as error:
                # At the end of SCRAM a broker says an error in place of its signature (RFC 5802, 7), or a wrong one.
                failure = self._aiokafka.errors.AuthenticationFailedError(type(error).__name__)
            else:
                connection.close()
                return
        raise failure

    async def _started(self, attempt: _Attempt) -> Any:
        """Return a producer; one that is not idempotent where no broker gives out producer ids, or not to us."""
        errors = self._aiokafka.errors
        try:
            return await self._producer(idempotent=True)
        except (
            errors.ClusterAuthorizationFailedError,  # before Kafka 3.0 it took a permission of its own
            errors.IncompatibleBrokerVersion,
            errors.UnknownError,
            errors.UnsupportedVersionError,
        ):
            attempt.idempotent = False
            return await self._producer(idempotent=False)

    async def _producer(self, *, idempotent: bool) -> Any:
        producer = self._aiokafka.AIOKafkaProducer(
            bootstrap_servers=list(self._servers),
            acks="all",
            enable_idempotence=idempotent,
            max_request_size=_LARGEST_REQUEST,
            **self._access,
        )
        try:
            await producer.start()
        except BaseException:
            await _stopped(producer)
            raise
        return producer

    def _broken(self, error: BaseException) -> str:
        """Return what went wrong; of what a broker said only the name of its error."""
        errors = self._aiokafka.errors
        fault = tls.fault(error)
        if fault:
            return f"{self._where}: {fault}"
        if isinstance(error, (errors.AuthenticationFailedError, errors.SaslAuthenticationFailed)):
            return f"{self._where} does not accept the user or the password"
        if isinstance(error, errors.UnsupportedSaslMechanismError):
            return f"{self._where} does not know the mechanism by which the password is shown"
        if isinstance(error, errors.BrokerResponseError):
            return f'{self._where}, topic "{self._topic}": {error.message.replace("_", " ").lower()}'
        if isinstance(error, TimeoutError):
            return f"{self._where} did not answer in {self._timeout:g} s"
        if isinstance(error, OSError):
            return f"no connection to {self._where}: {error.strerror or type(error).__name__}"
        return f"{self._where}: {type(error).__name__}"


@dataclass
class _Attempt:
    """What is known of an attempt: whether the message surely is not there, and what is worth a remark."""

    untaken: bool = True
    idempotent: bool = True
    remark: str = ""


class _CheckingLoop(asyncio.SelectorEventLoop):
    """Connects only to addresses that were checked, also to those of brokers that another broker names.

    Attributes:
        hindrance: the latest address that was not allowed, or not found; "" for none.
    """

    def __init__(self, *, allow_private: bool) -> None:
        super().__init__()
        self._allow_private = allow_private
        self._made: list[asyncio.Transport] = []
        self.hindrance = ""

    async def hang_up(self) -> None:
        """Close what is left of connections: one that was given up while it was made is closed by nobody else."""
        for one in self._made:
            one.abort()
        await asyncio.sleep(0)

    async def create_connection(  # type: ignore[override] # of all its ways to connect, the one that is used here
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str,
        port: int,
        *,
        ssl: ssl.SSLContext | None = None,
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        resolve = partial(addresses.checked, host, port, allow_private=self._allow_private)
        try:
            found = await self.run_in_executor(None, resolve)
        except UnreachableError as error:
            self.hindrance = error.reason
            raise OSError(errno.EHOSTUNREACH, error.reason) from error
        failure = OSError(errno.EHOSTUNREACH, f"{host} has no address")
        name = host if ssl else None
        for address in found:
            try:
                made = await super().create_connection(protocol_factory, address, port, ssl=ssl, server_hostname=name)
            except OSError as error:  # the next address may do
                failure = error
            else:
                self._made.append(made[0])
                return made
        raise failure


async def _stopped(producer: Any) -> None:
    """Stop a producer without waiting for what it could not send."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_FAREWELL):
            await producer.stop()
    await producer.client.close()


def _access(config: KafkaConfig, context: ssl.SSLContext | None) -> dict[str, Any]:
    """Return what each connection is made with."""
    protocol = ("SASL_" if config.user else "") + ("SSL" if context else "PLAINTEXT")
    access: dict[str, Any] = {
        "security_protocol": protocol,
        "ssl_context": context,
        "client_id": "featurestore-monitor",
        "request_timeout_ms": max(int(config.timeout_seconds * 1_000), 1),
    }
    if config.user:
        access["sasl_mechanism"] = config.mechanism.upper()
        access["sasl_plain_username"] = config.user
        access["sasl_plain_password"] = config.password.get_secret_value()
    return access


def _library() -> Any:
    try:
        import aiokafka
    except ImportError:
        raise ConfigError("Kafka needs the extra kafka.", hint="pip install 'featurestore[kafka]'") from None
    return aiokafka
