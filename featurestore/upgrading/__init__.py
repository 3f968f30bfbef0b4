"""Upgrading: which format every store of a configuration has, what this release makes of it, and making it so."""

from featurestore.upgrading.running import look, upgrade
from featurestore.upgrading.stored import GROUP, State, Step, Stored, all_steps

__all__ = ["GROUP", "State", "Step", "Stored", "all_steps", "look", "upgrade"]
