"""On-demand features, computed by the same code wherever they are needed, so that training and serving agree."""

from featurestore.transforms.transform import Transform

__all__ = ["Transform"]
