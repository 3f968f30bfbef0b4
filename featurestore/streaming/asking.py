"""A look at a stream's topic that joins no group and reads nothing."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from featurestore.errors import ConfigError
from featurestore.settings.streams import StreamConfig
from featurestore.streaming.access import access
from featurestore.streaming.kafka import library, reason_of


def ask(name: str, config: StreamConfig) -> int:
    """Return how many partitions a stream's topic has.

    Args:
        name: the stream's.
        config: its section, with its secrets read.

    Raises:
        ConfigError: the section cannot work, no broker answers, or it has no such topic, or none for this user.
    """
    aiokafka, options = library(), access(name, config)
    try:
        partitions = asyncio.run(_asked(aiokafka, options, config))
    except (aiokafka.errors.KafkaError, OSError, TimeoutError) as error:
        raise ConfigError(
            f'Stream "{name}" cannot be read: {reason_of(aiokafka, error, config)}.',
            hint=f"Check servers, security and user under [streams.{name}].",
        ) from None
    if not partitions:
        raise ConfigError(
            f'There is no topic "{config.topic}" at {",".join(config.servers)}.',
            hint="Make it, or let this user read it.",
        )
    return partitions


async def _asked(aiokafka: Any, options: dict[str, Any], config: StreamConfig) -> int:
    from aiokafka.admin import AIOKafkaAdminClient

    client = AIOKafkaAdminClient(**options)
    try:
        async with asyncio.timeout(config.timeout_seconds):
            await client.start()
            # First whether it is there: a broker may make a topic that somebody asks for by its name.
            if config.topic not in await client.list_topics():
                return 0
            (found,) = await client.describe_topics([config.topic])
            return len(found["partitions"])
    finally:
        with suppress(TimeoutError, aiokafka.errors.KafkaError, OSError):
            await asyncio.wait_for(client.close(), 1.0)
