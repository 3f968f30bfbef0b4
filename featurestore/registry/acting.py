"""Who acts in a store: an identity that is configured and proved, or the operating system's user."""

from __future__ import annotations

from featurestore.config import Config
from featurestore.registry.identity import current_user
from featurestore.registry.registry import Registry
from featurestore.registry.signing import PrivateKey


def acting_user(config: Config, registry: Registry) -> str:
    """Return who acts: the identity that is configured, once it is proved; else the system's user, as unverified.

    Raises:
        ConfigError: the identity's key cannot be read, or is none.
        RegistryError: the key is another's, or the identity is unknown or revoked.
    """
    name = config.identity.name
    if not name:
        return current_user()
    return registry.identify(name, PrivateKey(config.identity_key(), f'The key of "{name}"'))
