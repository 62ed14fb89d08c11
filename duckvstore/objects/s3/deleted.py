"""What a bucket with versioning keeps of deleted objects.

Only delete markers are ever removed here, and only those that are the newest version of their key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duckvstore.errors import NoSuchKey, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MARKERS_MAX = 100


class DeletedObjects:
    """Deleted objects of a bucket. ``call(operation, action, **parameters)`` carries out an operation of S3."""

    def __init__(self, call: Callable[..., Any]) -> None:
        """Remember how to reach the bucket."""
        self._call = call

    def is_versioned(self) -> bool:
        """Return whether the bucket keeps what is deleted from now on."""
        return bool(self._call("get_bucket_versioning", "ask for the versioning").get("Status") == "Enabled")

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the full keys whose newest version is a delete marker."""
        for page in self._pages(prefix):
            for marker in page.get("DeleteMarkers", ()):
                if marker["IsLatest"]:
                    yield marker["Key"]

    def read(self, full_key: str) -> bytes:
        """Return what was stored last before the deletion. Raises NoSuchKey."""
        versions = [
            version
            for page in self._pages(full_key)
            for version in page.get("Versions", ())
            if version["Key"] == full_key
        ]
        if not versions:
            raise NoSuchKey(f"nothing is kept of {full_key!r}")
        newest = max(versions, key=lambda version: version["LastModified"])
        answer = self._call("get_object", f"read {full_key!r}", Key=full_key, VersionId=newest["VersionId"])
        return bytes(answer["Body"])

    def bring_back(self, full_key: str) -> None:
        """Remove delete markers for as long as one is the newest version."""
        for _ in range(MARKERS_MAX):
            newest = [
                marker
                for page in self._pages(full_key)
                for marker in page.get("DeleteMarkers", ())
                if marker["Key"] == full_key and marker["IsLatest"]
            ]
            if not newest:
                return
            version = newest[0]["VersionId"]
            self._call("delete_object", f"bring back {full_key!r}", Key=full_key, VersionId=version)
        raise StorageUnavailable(f"{full_key!r} is still deleted after {MARKERS_MAX} delete markers were removed")

    def _pages(self, prefix: str) -> Iterator[Any]:
        parameters: dict[str, Any] = {"Prefix": prefix}
        while True:
            page = self._call("list_object_versions", f"list the versions of {prefix!r}", **parameters)
            yield page
            if not page.get("IsTruncated"):
                return
            parameters["KeyMarker"] = page["NextKeyMarker"]
            if page.get("NextVersionIdMarker"):
                parameters["VersionIdMarker"] = page["NextVersionIdMarker"]
