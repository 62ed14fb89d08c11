"""Legal keys, and byte order out of a walk of folders."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duckvstore.errors import InvalidInput
from duckvstore.format.stored import layout
from duckvstore.objects.base import Listed
from duckvstore.objects.keys import check_key, check_prefix
from duckvstore.objects.s3 import S3Objects, S3Options
from duckvstore.testing.conformance import expected_listing

_names = st.text("ab-.0", min_size=1, max_size=3).filter(lambda name: name.strip("."))
_keys = st.lists(_names, min_size=1, max_size=3).map("/".join)


class WalkingServer(S3Objects):
    """The S3 client over a server that walks folders, as SeaweedFS does, in place of HTTP."""

    def __init__(self, keys, page_size):
        super().__init__("bucket", "", S3Options(listing_order="folders"))
        self.keys = sorted(keys, key=lambda key: key.split("/"))
        self.page_size = page_size

    def _call(self, operation, action, *, Prefix, MaxKeys, StartAfter="", ContinuationToken="", Delimiter=None):
        """Answer list_objects_v2; in that order ``start_after`` also skips the folder that it names."""
        page, last = {}, ContinuationToken or StartAfter
        for key in self.keys:
            slash = key.find("/", len(Prefix)) if Delimiter else -1
            entry = key if slash < 0 else key[: slash + 1]
            walked = entry.rstrip("/").split("/")
            folder = last.rstrip("/") + "/"
            # "a" skips the folder of that name too, and so does "a/" where folders are entries.
            is_inside = key.startswith(folder) and (Delimiter or last != folder)
            skipped = last and (walked <= last.rstrip("/").split("/") or is_inside)
            if key.startswith(Prefix) and not skipped and entry not in page:
                if len(page) == min(MaxKeys, self.page_size):
                    break
                page[entry] = None if entry.endswith("/") else 1
        else:
            key = None
        contents = [{"Key": entry, "Size": size} for entry, size in page.items() if size]
        folders = [{"Prefix": entry} for entry, size in page.items() if not size]
        token = list(page)[-1] if page else ""
        return {
            "Contents": contents,
            "CommonPrefixes": folders,
            "IsTruncated": bool(key),
            "NextContinuationToken": token,
        }


def _without_folders_that_are_keys(keys):
    return {key for key in keys if not any(other.startswith(key + "/") for other in keys)}


@given(
    keys=st.sets(_keys, max_size=12).map(_without_folders_that_are_keys),
    prefix=st.one_of(st.just(""), _keys, _keys.map(lambda key: key + "/")),
    after=st.one_of(st.none(), _keys, _keys.map(lambda key: key + "/")),
    limit=st.one_of(st.none(), st.integers(0, 4)),
    folders=st.booleans(),
    page_size=st.integers(1, 5),
)
def test_a_walk_of_folders_becomes_byte_order(keys, prefix, after, limit, folders, page_size):
    """Whatever the keys, prefix, start, limit and page size: the listing is the one of a server in byte order."""
    listed = list(WalkingServer(keys, page_size).list(prefix, after, limit, folders=folders))
    assert [entry.key for entry in listed] == expected_listing(tuple(keys), prefix, after, limit, folders=folders)
    assert all(isinstance(entry, Listed) and (entry.size_bytes is None) == entry.key.endswith("/") for entry in listed)


@given(st.text(min_size=1, max_size=20))
def test_every_name_of_the_layout_is_a_legal_key(name):
    """What the format builds of any name an object store accepts."""
    try:
        escaped = layout.escape(name)
    except InvalidInput:
        return
    check_key(f"versions/{escaped}/1.json")
    check_prefix(f"versions/{escaped}")


@pytest.mark.parametrize("key", ["a\n", "a/b\n", "a/../b", "a/..", "\u0661", "a//b", "\uff41"])
def test_lookalikes_are_no_keys(key):
    """A trailing newline, dots, and letters or digits of other scripts are refused."""
    with pytest.raises(InvalidInput):
        check_key(key)
