"""What goes wrong with object storage, as sentences: which place, what happened, what to do. No key is ever in one."""

from __future__ import annotations

import re
from collections.abc import Iterable

from featurestore.errors import OfflineStoreError

_AGAIN = "Nothing was published; do it again when it answers."

#: What a store's or a library's message has in it, what that means, and what to do; the first that fits counts.
_KINDS = (
    (
        r"NoSuchBucket|bucket does not exist|BucketNotFound|ContainerNotFound",
        "there is no such bucket",
        "Make the bucket, or mend [offline] path.",
    ),
    (
        r"AccessKeyId|SignatureDoesNotMatch|InvalidToken|ExpiredToken|[Aa]uthenticat",
        "it does not accept the credentials",
        "Check the keys in the environment, or the profile; the clock too, as requests are signed with the time.",
    ),
    (
        r"AccessDenied|PermissionDenied|Forbidden|\b403\b|necessary privileges",
        "it refuses access",
        "The keys need rights to list, read, write and delete below the path of [offline].",
    ),
    (
        r"169\.254\.169\.254|[Ii]nstance [Mm]etadata|metadata\.google\.internal|no.{0,20}credential",
        "there are no credentials for it",
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run where the machine has a role.",
    ),
    (
        r"PreconditionFailed|Precondition|ConditionalRequestConflict",
        "another writer changed it at the same moment",
        "Do it again.",
    ),
    (
        r"SlowDown|TooManyRequests|\b429\b|\b503\b",
        "it asks for fewer requests",
        f"It was asked again for retry_seconds. {_AGAIN}",
    ),
    (
        r"[Cc]onnect|timed? ?out|timeout|dns|resolve|[Rr]etr|error sending request|\b50\d\b|unexpected EOF|closed",
        "it does not answer",
        f"Check [offline.storage] endpoint and the network. It was asked again for retry_seconds. {_AGAIN}",
    ),
)

#: How the library tells of a request, with its whole URL and all its patience; where it went is enough.
_REQUEST = re.compile(
    r"Error performing (\w+ https?://[^/\s]+)\S* in \S+?(?:, after \d+ retries, max_retries: \d+, retry_timeout: \S+)?"
    r"\s+- (?:HTTP error: )?"
)
_BRIEFLY = r"\1: "


def plain(error: BaseException | str, secrets: Iterable[str] = ()) -> str:
    """Return a library's message as one line, without colours, answers as XML, or secrets."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    text = re.sub(
        r"<\?xml.*?<Code>(.*?)</Code>.*?<Message>(.*?)</Message>.*?</Error>", r"\1, \2", text, flags=re.DOTALL
    )
    text = text.partition("\n\nDebug source:")[0]
    # delta-rs draws its chain of causes as a tree.
    text = ": ".join(line.strip(" ↳") for line in text.splitlines() if line.strip(" ↳")).rstrip(".")
    text = re.sub(r"Generic \w+ error: |Error performing list request: ", "", text)
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def what_happened(error: BaseException | str, secrets: Iterable[str] = ()) -> tuple[str, str]:
    """Return what a message of a store or of its library means, with the message, and what to do; "" if not known."""
    said = plain(error, secrets)
    for pattern, meaning, hint in _KINDS:
        if re.search(pattern, said):
            return f"{meaning} ({_short(_REQUEST.sub(_BRIEFLY, said))})", hint
    return said, ""


def is_about_the_bucket(error: BaseException) -> bool:
    """Return whether what is not there is the bucket, not a file in it."""
    return re.search(_KINDS[0][0], str(error)) is not None


def storage_error(place: str, doing: str, error: BaseException, secrets: Iterable[str]) -> OfflineStoreError:
    """Return the error for a place in object storage that cannot be read, written or removed."""
    said, hint = what_happened(error, secrets)
    return OfflineStoreError(f"{place} cannot be {doing} in object storage: {said}.", hint=hint)


def _short(said: str, most: int = 300) -> str:
    return said if len(said) <= most else f"{said[:most]} ..."
