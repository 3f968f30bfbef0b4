"""What is made from what: from the columns of sources, through views and services, to datasets, models and monitors."""

from featurestore.lineage.graph import Edge, Node
from featurestore.lineage.result import Lineage, catalog_of, lineage

__all__ = ["Edge", "Lineage", "Node", "catalog_of", "lineage"]
