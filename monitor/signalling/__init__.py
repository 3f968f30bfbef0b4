"""Retraining signals on their way to who retrains, and back: gRPC service, command hook, and the closed loop."""
