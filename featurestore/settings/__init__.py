"""The sections of ``featurestore.toml``, checked; :mod:`featurestore.config` reads them."""
