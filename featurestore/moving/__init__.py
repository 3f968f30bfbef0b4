"""A store on the move: to other backends, into a backup, and back from one."""

from featurestore.moving.databases import MovedDatabase
from featurestore.moving.migration import Move
from featurestore.moving.report import Measure, MoveReport, PartReport, State

__all__ = ["Measure", "Move", "MoveReport", "MovedDatabase", "PartReport", "State"]
