"""The public contract, generated from ``proto/featurestore/v1`` by ``make proto``."""
