"""A bucket, opened: by one set of options for delta-rs, which writes tables, and for obstore, which moves files.

Both stand on the same library of Rust's, so that endpoint, keys, retries and deadlines mean the same to both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from featurestore.errors import ConfigError, OfflineStoreError
from featurestore.settings.sections import StorageConfig
from featurestore.storage.credentials import from_environment, hidden, s3_credentials
from featurestore.storage.failures import is_about_the_bucket, storage_error

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_S3 = ("s3", "s3a")
_CONNECT_SECONDS = 5
#: So much of a file is one part of an upload; ten thousand of them are S3's most, 80 GB.
PART_BYTES = 8 << 20


class Bucket:
    """A bucket or container, by the settings of ``[offline.storage]``.

    Args:
        root: its URL, ``s3://features``, without what is in it.
        settings: how to reach it.
        given: the options that another machine found for it; None looks for them here, each time.
    """

    def __init__(self, root: str, settings: StorageConfig, given: Mapping[str, str] | None = None) -> None:
        self.root = root
        self._settings = settings
        self._given = given
        self.scheme = root.partition("://")[0]

    def __repr__(self) -> str:
        return f"Bucket({self.root!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bucket) and (self.root, self._settings) == (other.root, other._settings)

    def __hash__(self) -> int:
        return hash(self.root)

    def with_keys(self) -> Bucket:
        """Return the bucket as another machine is to open it, by the options of this one; see :mod:`.access`."""
        return Bucket(self.root, self._settings, self._access())

    def _access(self) -> dict[str, str]:
        """Return the options by which it is opened, with secrets: they are read anew, as files with keys change."""
        if self._given is not None:
            return dict(self._given)
        settings, options = self._settings, dict(self._settings.options)
        if self.scheme in _S3:
            options |= s3_credentials(settings.profile)
            if settings.region:
                options["aws_region"] = settings.region
            elif not from_environment("AWS_REGION", "AWS_DEFAULT_REGION"):
                options.setdefault("aws_region", "us-east-1")
            endpoint = settings.endpoint or from_environment("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
            if endpoint:
                options["aws_endpoint"] = endpoint
        elif settings.endpoint:
            options["azure_endpoint" if self.scheme != "gs" else "google_base_url"] = settings.endpoint
        return options

    def delta_options(self) -> dict[str, str]:
        """Return delta-rs's storage options; they hold secrets, and are not to be kept or shown."""
        options = self._access()
        if self.scheme in _S3:
            # Two commits of one number: the second is refused by the store itself, so that none is lost.
            options["aws_conditional_put"] = "etag"
        return options | {
            "allow_http": str(self._plain_http(options)).lower(),
            "timeout": f"{self._settings.timeout_seconds}s",
            "connect_timeout": f"{_CONNECT_SECONDS}s",
            "max_retries": str(self._settings.retries),
            "retry_timeout": f"{self._settings.retry_seconds}s",
        }

    def _plain_http(self, options: dict[str, str]) -> bool:
        return any(key.endswith(("endpoint", "url")) and text.startswith("http://") for key, text in options.items())

    @property
    def store(self) -> ObjectStore:
        """Obstore's handle, which is opened again when the keys are others."""
        options = self._access()
        return _opened(
            self.root,
            tuple(sorted(options.items())),
            self._plain_http(options),
            self._settings.timeout_seconds,
            self._settings.retries,
            self._settings.retry_seconds,
        )

    def secrets(self) -> list[str]:
        """Return what messages must not show."""
        with contextlib.suppress(ConfigError):
            return hidden(self._access())
        return hidden({})

    @contextmanager
    def errors(self, place: str, doing: str) -> Iterator[None]:
        """Let errors of obstore say what happened to which place.

        Raises:
            FileNotFoundError: there is nothing of that name.
            FileExistsError: there is, and there was to be none.
            OfflineStoreError: anything else; the message says which.
        """
        from obstore import exceptions

        try:
            yield
        except (FileNotFoundError, exceptions.NotFoundError) as error:
            if is_about_the_bucket(error):
                raise self.error(place, doing, error) from None
            raise FileNotFoundError(place) from None
        except (FileExistsError, exceptions.AlreadyExistsError, exceptions.PreconditionError):
            raise FileExistsError(place) from None
        except (exceptions.BaseError, OSError, ValueError) as error:
            raise self.error(place, doing, error) from None  # its cause may quote a request, which is signed

    def error(self, place: str, doing: str, error: BaseException) -> OfflineStoreError:
        """Return the error for a place that cannot be read, written or removed."""
        return storage_error(place, doing, error, self.secrets())


def missing_packages(place: str) -> ConfigError:
    """Return the error for a place in object storage where the packages for it are not installed."""
    return ConfigError(
        f"The offline store lies in {place}, and the packages for object storage are not installed.",
        hint="pip install 'featurestore[s3]'",
    )


@lru_cache(maxsize=64)
def _opened(
    root: str, options: tuple[tuple[str, str], ...], plain: bool, timeout: float, retries: int, seconds: float
) -> ObjectStore:
    from obstore import exceptions
    from obstore.store import from_url

    client: dict[str, Any] = {
        "timeout": timedelta(seconds=timeout),
        "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
        "allow_http": plain,
    }
    retry: Any = {"max_retries": retries, "retry_timeout": timedelta(seconds=seconds)}
    try:
        return from_url(root, config=cast("Any", dict(options)), client_options=cast("Any", client), retry_config=retry)
    except (exceptions.BaseError, OSError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{root} cannot be opened as object storage ({type(error).__name__}).",
            hint="Check [offline] path and [offline.storage]: the options are those of delta-rs.",
        ) from None
