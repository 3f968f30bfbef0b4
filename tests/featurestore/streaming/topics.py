"""Topics at a real broker: made, written to, and asked for what a group has committed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic


def make(port: int, topic: str, partitions: int = 3) -> None:
    async def run() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=f"127.0.0.1:{port}")
        await admin.start()
        try:
            await admin.create_topics([NewTopic(topic, partitions, 1)])
        finally:
            await admin.close()

    asyncio.run(run())


def write(port: int, topic: str, values: Sequence[tuple[int, Any]]) -> None:
    """Write values, each to its partition; what is no bytes as JSON."""

    async def run() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=f"127.0.0.1:{port}", acks="all")
        await producer.start()
        try:
            for partition, value in values:
                data = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
                await producer.send(topic, data, partition=partition, key=b"k")
        finally:
            await producer.stop()

    asyncio.run(run())


def committed(port: int, topic: str, group: str, partitions: int = 3) -> list[int | None]:
    """Return what a group has committed, by partition."""

    async def run() -> list[int | None]:
        consumer = AIOKafkaConsumer(bootstrap_servers=f"127.0.0.1:{port}", group_id=group, enable_auto_commit=False)
        await consumer.start()
        try:
            return [await consumer.committed(TopicPartition(topic, one)) for one in range(partitions)]
        finally:
            await consumer.stop()

    return asyncio.run(run())


def set_back(port: int, topic: str, group: str, offset: int) -> None:
    """Let a group that has no members begin somewhere else in the first partition."""

    async def run() -> None:
        consumer = AIOKafkaConsumer(bootstrap_servers=f"127.0.0.1:{port}", group_id=group, enable_auto_commit=False)
        consumer.assign([TopicPartition(topic, 0)])
        await consumer.start()
        try:
            await consumer.commit({TopicPartition(topic, 0): offset})
        finally:
            await consumer.stop()

    asyncio.run(run())
