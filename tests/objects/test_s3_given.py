"""A client made without botocore's sessions is what botocore would have made, and is made only where that is known."""

from __future__ import annotations

import subprocess
import sys

import pytest

from duckvstore.objects.s3.boto import BotoClient
from duckvstore.objects.s3.given import given
from duckvstore.objects.s3.options import S3Options
from duckvstore.objects.s3.server import Server

KEYS = {"access_key_id": "key", "secret_access_key": "secret"}
ENDPOINT = "http://host:9000"


def made(bucket="bucket", **options):
    """Return both clients for the same options, the quick one None where there is none."""
    chosen = S3Options(**({"endpoint_url": ENDPOINT} | options))
    return given(bucket, chosen, Server(None)), BotoClient(bucket, chosen, Server(None))


def check_equal(quick, slow):
    """Both send to the same place, sign alike, and connect alike."""
    assert quick.address() == slow.address()
    assert quick.signs_bodies == slow.signs_bodies
    found, expected = quick.credentials(), slow.credentials()
    assert (found is None) == (expected is None)
    if found is not None:
        names = ("access_key", "secret_key", "token")
        assert [getattr(found, name) for name in names] == [getattr(expected, name) for name in names]
    sessions = quick.http_session, slow.http_session
    for name in ("_verify", "_cert_file", "_key_file", "_max_pool_connections", "_socket_options"):
        assert getattr(sessions[0], name) == getattr(sessions[1], name), name
    assert repr(sessions[0]._timeout) == repr(sessions[1]._timeout)
    urls = [session._proxy_config.proxy_url_for(slow.endpoint_url) for session in sessions]
    assert urls[0] == urls[1]


@pytest.mark.parametrize("bucket", ["bucket", "b.1", "a-b.c9", "x" * 63, "10.0.0.1", "xn-abc", "b-s3alias", "sthree-x"])
@pytest.mark.parametrize(
    "endpoint", ["http://h", "http://h:80", "https://h:443", "http://127.0.0.1:1", "https://s3.eu-west-1.amazonaws.com"]
)
def test_the_same_address(bucket, endpoint):
    for region in (None, "us-east-1", "eu-west-1", "us-gov-west-1", "cn-north-1", "auto"):
        check_equal(*made(bucket, endpoint_url=endpoint, region=region, **KEYS))


def test_the_same_credentials_connections_and_certificates(monkeypatch):
    check_equal(*made(**KEYS, session_token="token", addressing_style="path", connections_max=7))
    check_equal(*made(anonymous=True, read_timeout_seconds=3))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of the environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret 2")
    check_equal(*made())
    check_equal(*made(**KEYS))
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token 2")
    check_equal(*made())
    check_equal(*made(**KEYS))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    check_equal(*made(region="eu-west-1"))
    monkeypatch.setenv("HTTP_PROXY", "http://me:pass@proxy:81")
    check_equal(*made(region="eu-west-1"))
    monkeypatch.setenv("NO_PROXY", "host")
    check_equal(*made(region="eu-west-1"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/a/bundle")
    check_equal(*made(region="eu-west-1"))
    monkeypatch.setenv("AWS_CA_BUNDLE", "/another/bundle")
    check_equal(*made(region="eu-west-1"))


@pytest.mark.parametrize(
    ("bucket", "options"),
    [
        ("bucket", {"endpoint_url": None}),
        ("bucket", {"endpoint_url": "http://host/"}),
        ("bucket", {"addressing_style": "virtual"}),
        ("bucket", {"profile": "lab"}),
        ("bucket", {"region": "aws-global"}),
        ("bucket--use1-az1--x-s3", {}),
        ("arn:aws:s3:eu-west-1:123456789012:accesspoint:x", {}),
        ("Bucket", {}),
        ("bucket", dict.fromkeys(KEYS)),
    ],
)
def test_everything_else_is_botocores(bucket, options):
    assert given(bucket, S3Options(**({"endpoint_url": ENDPOINT} | KEYS | options)), Server(None)) is None


@pytest.mark.parametrize(
    "variable",
    [
        "AWS_PROFILE",
        "AWS_USE_FIPS_ENDPOINT",
        "AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS",
        "AWS_DEFAULT_REGION",
        "BOTO_X",
    ],
)
def test_a_variable_that_may_mean_something_else(monkeypatch, variable):
    monkeypatch.setenv(variable, "x")
    assert given("bucket", S3Options(endpoint_url=ENDPOINT, **KEYS), Server(None)) is None


def test_a_file_of_configuration_may_say_more(monkeypatch, tmp_path):
    file = tmp_path / "config"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    assert given("bucket", S3Options(endpoint_url=ENDPOINT, **KEYS), Server(None)) is not None
    file.write_text("[default]\ns3 =\n    payload_signing_enabled = true\n")
    assert given("bucket", S3Options(endpoint_url=ENDPOINT, **KEYS), Server(None)) is None
    monkeypatch.setenv("AWS_CONFIG_FILE", "$FOLDER/config")
    monkeypatch.setenv("FOLDER", str(tmp_path))
    assert given("bucket", S3Options(endpoint_url=ENDPOINT, **KEYS), Server(None)) is None


def test_a_new_process_reads_without_boto3():
    """Also where the server refuses the connection; botocore's errors and connections are all that is loaded."""
    code = (
        "import sys\n"
        "from duckvstore.errors import StorageUnavailable\n"
        "from duckvstore.objects import open_objects\n"
        f"objects = open_objects('s3://bucket/p', {{'endpoint_url': 'http://127.0.0.1:9', **{KEYS!r}}})\n"
        "try:\n"
        "    objects.read('a')\n"
        "except StorageUnavailable:\n"
        "    print([name for name in ('boto3', 'botocore.session', 'botocore.client') if name in sys.modules])\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
