"""A person's right: the rows of a key out of every place that stores rows, and kept out."""

from featurestore.erasure.place import Erased, Place, Task
from featurestore.erasure.report import ErasureReport, PlaceReport

__all__ = ["Erased", "ErasureReport", "Place", "PlaceReport", "Task"]
