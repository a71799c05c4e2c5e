"""What a store says of an object."""

import dataclasses
import datetime
import hashlib
from typing import Any

# Names of what a store says about the content of an object: S3, GCS, Azure.
_CONTENT_KEYS = ("ETag", "md5Hash", "etag", "content_md5")
_TIME_KEYS = ("LastModified", "mtime", "updated", "last_modified", "created")


@dataclasses.dataclass(frozen=True)
class Stat:
    """What a store says of an object.

    Attributes:
      st_size: number of bytes.
      st_mtime_ns: changes when the object is replaced. It is a number made from the
        hash that the store keeps, or a time where it keeps none.
    """

    st_size: int
    st_mtime_ns: int


def of(info: dict[str, Any]) -> Stat:
    """Returns size and state of an object from what fsspec says of it."""
    for key in _CONTENT_KEYS:
        if info.get(key):
            digest = hashlib.sha256(str(info[key]).encode()).digest()
            return Stat(info["size"], int.from_bytes(digest[:7], "big"))
    found = next((info[key] for key in _TIME_KEYS if info.get(key)), 0)
    if hasattr(found, "timestamp"):
        return Stat(info["size"], int(found.timestamp() * 1e9))
    if isinstance(found, str):
        digest = hashlib.sha256(found.encode()).digest()
        return Stat(info["size"], int.from_bytes(digest[:7], "big"))
    return Stat(info["size"] or 0, int(found * 1e9))


def modified(info: dict[str, Any]) -> float | None:
    """Returns when a store has got an object, in seconds since 1970, if it says so."""
    found = next((info[key] for key in _TIME_KEYS if info.get(key)), None)
    if isinstance(found, str):
        found = datetime.datetime.fromisoformat(found.replace("Z", "+00:00"))
    if isinstance(found, datetime.datetime):
        found = found.timestamp()
    return found
