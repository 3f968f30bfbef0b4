"""Lookups at inference: a service compiled to a plan, and the gRPC server around it."""
