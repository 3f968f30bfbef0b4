"""The point-in-time join, from what users ask to what they get."""
