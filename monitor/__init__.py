"""The drift monitor: compares what models are served with what they were trained on, and tells people and machines."""
