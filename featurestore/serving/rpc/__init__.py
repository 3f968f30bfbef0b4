"""The gRPC side of serving: calls are let in, handed on as bytes, and refused as statuses; grpc's home."""
