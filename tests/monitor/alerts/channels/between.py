"""What stands between a client of Kafka and Tansu, reads along, and loses an answer when told to.

It has what the broker lacks: TLS, and a password that is shown by PLAIN.

It also puts Tansu's producer ids within reach of a client that asks for them as Kafka's first brokers were asked: Tansu
0.6 answers versions 0 to 2 of the question with an error, and from 3 on, where it holds the id that the producer had,
with an id (https://kafka.apache.org/protocol, InitProducerId).
"""

from __future__ import annotations

import asyncio
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_PRODUCE, _METADATA, _SASL_HANDSHAKE, _INIT_PRODUCER_ID, _SASL_AUTHENTICATE = 0, 3, 17, 22, 36
_SASL_AUTHENTICATION_FAILED = 58


@dataclass
class Between:
    """The way to a broker.

    Attributes:
        broker: the broker's port.
        port: where the way begins.
        produced: requests to write records.
        lost: how many answers to such requests are still to be lost, with the connection.
        translating: whether questions for producer ids are put as the broker wants them.
        password: what a client has to show, by PLAIN; None for nothing.
        shown: what clients have shown.
    """

    broker: int
    host: str = "127.0.0.1"
    port: int = 0
    produced: list[bytes] = field(default_factory=list)
    lost: int = 0
    translating: bool = True
    password: str | None = None
    shown: list[bytes] = field(default_factory=list)

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        ends = [writer]
        try:
            there, there_writer = await asyncio.open_connection("127.0.0.1", self.broker)
            ends.append(there_writer)
            asked: dict[int, tuple[int, int]] = {}
            ways = [
                asyncio.ensure_future(self._ask(reader, writer, there_writer, asked)),
                asyncio.ensure_future(self._answer(there, writer, asked)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:  # also where the way is at its end
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        finally:
            for end in ends:
                end.close()
            # A loop that ends before they are closed would leave them to whichever test comes later.
            await asyncio.gather(*(end.wait_closed() for end in ends), return_exceptions=True)

    async def _ask(
        self,
        reader: asyncio.StreamReader,
        back: asyncio.StreamWriter,
        writer: asyncio.StreamWriter,
        asked: dict[int, tuple[int, int]],
    ) -> None:
        while True:
            frame = await _read(reader)
            key, version, number = struct.unpack_from(">hhi", frame)
            if key == _INIT_PRODUCER_ID and version == 0 and self.translating:
                frame = _newer(frame, number)
                version = -1
            if key in (_SASL_HANDSHAKE, _SASL_AUTHENTICATE) and self.password is not None:
                await _write(back, struct.pack(">i", number) + self._let_in(key, version, frame))
                continue
            if key == _PRODUCE:
                self.produced.append(frame)
            asked[number] = (key, version)
            await _write(writer, frame)

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: dict[int, tuple[int, int]]
    ) -> None:
        while True:
            frame = await _read(reader)
            key, version = asked.pop(*struct.unpack_from(">i", frame))
            if key == _PRODUCE and self.lost:
                self.lost -= 1
                return
            if key == _INIT_PRODUCER_ID and version == -1:
                frame = frame[:4] + frame[5:-1]  # without the empty lists of tagged fields
            if key == _METADATA and self.host == "127.0.0.1":
                # The broker is where the way begins.
                frame = frame.replace(_at(self.broker), _at(self.port))
            await _write(writer, frame)

    def _let_in(self, key: int, version: int, frame: bytes) -> bytes:
        if key == _SASL_HANDSHAKE:
            return struct.pack(">hih", 0, 1, len("PLAIN")) + b"PLAIN"
        (length,) = struct.unpack_from(">h", frame, 8)
        self.shown.append(frame[10 + max(length, 0) + 4 :])
        good = self.shown[-1].endswith(f"\0monitor\0{self.password}".encode())
        said = struct.pack(">hhi", 0 if good else _SASL_AUTHENTICATION_FAILED, -1, 0)
        return said + (struct.pack(">q", 0) if version else b"")


def _newer(frame: bytes, number: int) -> bytes:
    """Return an InitProducerId request of version 0 as one of version 3, for a producer that had no id."""
    (length,) = struct.unpack_from(">h", frame, 8)
    client, body = frame[8 : 10 + max(length, 0)], frame[10 + max(length, 0) :]
    head = struct.pack(">hhi", _INIT_PRODUCER_ID, 3, number) + client + b"\0"
    return head + b"\0" + body[2:6] + struct.pack(">qh", -1, -1) + b"\0"


def _at(port: int) -> bytes:
    return struct.pack(">h", len("127.0.0.1")) + b"127.0.0.1" + struct.pack(">i", port)


async def _read(reader: asyncio.StreamReader) -> bytes:
    (size,) = struct.unpack(">i", await reader.readexactly(4))
    return await reader.readexactly(size)


async def _write(writer: asyncio.StreamWriter, frame: bytes) -> None:
    writer.write(struct.pack(">i", len(frame)) + frame)
    await writer.drain()


@contextmanager
def between(
    broker: int,
    *,
    host: str = "127.0.0.1",
    translating: bool = True,
    certificate: Path | None = None,
    password: str | None = None,
) -> Iterator[Between]:
    """Stand before a broker.

    Args:
        broker: its port.
        host: the address on which the way begins; that which the broker names is its own where this is another.
        translating: see :class:`Between`.
        certificate: a file that holds a key and a certificate, for TLS.
        password: see :class:`Between`.
    """
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    way, loop = Between(broker, host, translating=translating, password=password), asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(way.pass_on, host, 0, ssl=context))
    way.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def end() -> None:
        server.close()
        await asyncio.sleep(0)  # who has just come is met first
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    try:
        yield way
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
