"""The signature of requests, against botocore's own signer."""

from __future__ import annotations

from datetime import UTC, datetime

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from duckvstore.objects.s3.signing import authorization, encoded_path, encoded_query, timestamp

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
KEYS = st.lists(st.one_of(TEXTS, st.sampled_from(["..", ".", "", "a b", "a+b", "%2F", "%", "~", "é"])), max_size=4)
VALUES = st.text(st.sampled_from("abcXYZ 019-_/+=,;:\t\"'"), max_size=20)
HEADERS = st.dictionaries(
    st.sampled_from(["range", "if-none-match", "x-amz-storage-class", "x-amz-checksum-crc32", "x-amz-meta-a"]), VALUES
)
SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)


@given(
    st.sampled_from(["GET", "PUT", "HEAD", "POST", "DELETE"]),
    KEYS,
    st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=5),
    HEADERS,
    st.binary(max_size=50),
    SECRETS,
    st.one_of(st.none(), SECRETS),
    st.sampled_from(["us-east-1", "eu-west-3", "local"]),
)
def test_signatures_equal_botocores(method, key, parameters, headers, body, secret, token, region):
    """Any key, query, header, body, credentials and region, at the moment of the test."""
    path, query = encoded_path("/bucket/" + "/".join(key)), encoded_query(parameters)
    request = AWSRequest(method, f"http://127.0.0.1:8333{path}{'?' + query if query else ''}", dict(headers), body)
    signer = botocore.auth.S3SigV4Auth(Credentials("key", secret, token), "s3", region)
    signer.add_auth(request)
    signed = {**headers, "host": "127.0.0.1:8333", "x-amz-date": request.headers["X-Amz-Date"]}
    signed["x-amz-content-sha256"] = request.headers["X-Amz-Content-SHA256"]
    if token:
        signed["x-amz-security-token"] = token
    mine = authorization(method, path, query, signed, access_key="key", secret_key=secret, region=region, service="s3")
    assert mine == request.headers["Authorization"]


def test_moments_as_requests_have_them():
    """To the second, in UTC."""
    assert timestamp(datetime(2026, 1, 2, 3, 4, 5, 999_999, tzinfo=UTC)) == "20260102T030405Z"


def test_queries_are_in_the_order_of_names():
    """Not of their text: ``=`` sorts after ``-``."""
    assert encoded_query({"a-b": "1", "a": "2", "A": "é +"}) == "A=%C3%A9%20%2B&a=2&a-b=1"
