"""What comes back from inference: predictions and their outcomes, on disk when they are acknowledged."""

from featurestore.serving.feedback.reading import known_predictions, outcomes, predictions
from featurestore.serving.feedback.rows import OUTCOMES, PREDICTIONS, Kind
from featurestore.serving.feedback.segments import FeedbackLog

__all__ = ["OUTCOMES", "PREDICTIONS", "FeedbackLog", "Kind", "known_predictions", "outcomes", "predictions"]
