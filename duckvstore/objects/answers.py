"""Whether an HTTP answer of an S3 server came whole: its head, its body, and what S3 promises to say in it.

HTTP clients take the end of a connection for the end of the head, and a body of unknown length for what arrived, and
S3's own parsers take an empty text for an empty listing. So an answer that broke off, or that a gateway gave in the
server's place, would say that there is nothing.

Pure functions over the method, status, headers and body (and one reader of lines). What passes is what the
server said, to its last byte.
"""

from __future__ import annotations

import io
import re
from http import HTTPStatus
from http.client import HTTPResponse, RemoteDisconnected, parse_headers
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, unquote_plus
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Mapping

_STATUSES_WITHOUT_BODY = {204, 304}


class NotWhole(Exception):
    """An answer that broke off, or is not the server's: the request may be repeated, the answer tells nothing."""


class _WholeLines(io.BufferedReader):
    """A connection on which a line that ends without its newline is not a line."""

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        if not line.endswith(b"\n") and len(line) != size:
            raise RemoteDisconnected("the connection ended within the head or between the chunks of an answer")
        return line


class WholeHeadResponse(HTTPResponse):
    """An answer whose head came to its empty line, and each size of a chunk to its newline, or an error.

    ``http.client`` itself takes a head that broke off for a whole one, and half a number for the size of a chunk.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Take what ``HTTPResponse`` takes."""
        super().__init__(*arguments, **options)
        self.fp = _WholeLines(self.fp.detach())
        self._known: tuple[str, int, str] | None = None

    def asks_for_body(self) -> bool:
        """Return whether the server wants the body of a request (100), after the head; else it has answered already."""
        version, status, reason = self._read_status()
        if status == HTTPStatus.CONTINUE:
            parse_headers(self.fp)
            return True
        self._known = (version, status, reason)
        return False

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = self._known or super()._read_status()  # type: ignore[misc]  # typeshed lacks it
        self._known = None
        # Of the interim answers (103 Early Hints) http.client itself passes over this one alone.
        return version, HTTPStatus.CONTINUE if 100 < status < 200 else status, reason


def check_body(method: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise NotWhole unless the body is as long as was announced (chunks are checked as they are read).

    Args:
        method: of the request.
        status: of the answer.
        headers: by names in any case that the mapping itself understands (``content-length``).
        body: all bytes that came.
    """
    if method == "HEAD" or status in _STATUSES_WITHOUT_BODY:
        return
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return
    length = headers.get("content-length")
    if length is None:
        raise NotWhole("it announces neither its length nor chunks")
    if length.strip() != str(len(body)):
        raise NotWhole(f"{len(body)} bytes came of {length.strip() or 'an unknown number'}")


def check_object(method: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise NotWhole unless an answer about one object is S3's own.

    Success has an ETag, which the empty ``200`` of a gateway lacks. That an object is missing has to be said by S3, not
    by whoever found no server; only the answer to HEAD cannot say so.
    """
    if status in {200, 206} and not headers.get("etag"):
        raise NotWhole("it has no ETag, as every answer of S3 about an object has")
    if status == 206 and not headers.get("content-range"):
        raise NotWhole("it says 206, but not which part of the object it has")
    if status == 404 and method != "HEAD" and not text(check_document(body, "Error"), "Code"):
        raise NotWhole("it says 404, but not in the words of S3")


def is_part(told: str, start: int, length: int | None, size: int) -> bool:
    """Return whether ``size`` bytes of the ``Content-Range`` that is told are the range that was asked for.

    That is what there is of it: the object may end earlier (RFC 9110, 14.4).
    """
    found = re.fullmatch(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)", told.strip())
    if not found or int(found[1]) != start or int(found[2]) - start + 1 != size:
        return False
    return size == length or found[3] in {"*", str(int(found[2]) + 1)}


def check_document(body: bytes, name: str | None) -> ET.Element:
    """Return the XML document in ``body``. Raises NotWhole unless it is a whole one of this name (None: of any)."""
    try:
        root = ET.fromstring(body)  # noqa: S314 - as botocore parses it; expat itself bounds what entities grow to
    except ET.ParseError as error:
        raise NotWhole(f"it is no XML ({error})" if body else "it is empty") from error
    if name is not None and root.tag.rpartition("}")[2] != name:
        raise NotWhole(f"it is no {name}")
    return root


def check_listing(body: bytes, name: str, bucket: str, prefix: str) -> ET.Element:
    """Return the XML document of a listing.

    Raises NotWhole unless it is a whole listing of this bucket and prefix that says whether more follows.

    Args:
        body: of the answer.
        name: of the XML document, ``ListBucketResult``.
        bucket: whose objects were asked for.
        prefix: of all keys.
    """
    root = check_document(body, name)
    listed = text(root, "Name")
    if not listed or not (listed == bucket or _may_have_other_names(bucket)):
        raise NotWhole(f"it lists bucket {listed!r}, not {bucket!r}")
    of = text(root, "Prefix")
    if prefix not in {of, unquote(of), unquote_plus(of)}:
        raise NotWhole(f"it lists prefix {of!r}, not {prefix!r}")
    if text(root, "IsTruncated").lower() not in {"true", "false"}:
        raise NotWhole("it does not say whether the listing goes on")
    return root


def _may_have_other_names(bucket: str) -> bool:
    """Return whether this is the name of an access point, or of a tenant's bucket: the server knows it by another."""
    return ":" in bucket or bucket.endswith("-s3alias")


def text(root: ET.Element, name: str) -> str:
    """Return the text of the first child of this name (without its namespace), or an empty one."""
    return next((child.text or "" for child in root if child.tag.rpartition("}")[2] == name), "")
