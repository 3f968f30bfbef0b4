"""Streaming in: topics whose messages are pushed into views, each once, or kept aside with the reason."""

from featurestore.streaming.feeding import Fed
from featurestore.streaming.quarantine import Kept, MessageQuarantine
from featurestore.streaming.running import feed_of, quarantine_of, run_streams

__all__ = ["Fed", "Kept", "MessageQuarantine", "feed_of", "quarantine_of", "run_streams"]
