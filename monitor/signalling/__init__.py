"""Retraining signals on their way to who retrains, and back: the gRPC service, the command hook, and the closed loop."""
