"""Every object store of this package passes the shipped conformance suite."""

from __future__ import annotations

from functools import partial

import pytest

from duckvstore.errors import NoSuchKey
from duckvstore.objects import open_objects
from duckvstore.objects.memory import MemoryObjects
from duckvstore.testing.conformance import Backdoor, ObjectStoreConformance
from duckvstore.testing.faulty import FaultyObjects
from tests.counting import CountingObjects


def _open_below(url, options, prefix):
    return open_objects(f"{url}/{prefix}", options)


class TestMemory(ObjectStoreConformance):
    @pytest.fixture
    def objects(self):
        return MemoryObjects()

    @pytest.fixture
    def backdoor(self, objects):
        held = objects._objects
        return Backdoor(held.__setitem__, held.get)

    @pytest.fixture
    def reopen(self):
        return None


class WrappedMemory(TestMemory):
    @pytest.fixture
    def backdoor(self, objects):
        held = objects.inner._objects
        return Backdoor(held.__setitem__, held.get)


class TestCounting(WrappedMemory):
    @pytest.fixture
    def objects(self):
        return CountingObjects(MemoryObjects())


class TestFaultless(WrappedMemory):
    @pytest.fixture
    def objects(self):
        return FaultyObjects(MemoryObjects())


class TestLocal(ObjectStoreConformance):
    @pytest.fixture
    def folder(self, tmp_path):
        return tmp_path / "a folder"

    @pytest.fixture
    def objects(self, folder):
        return open_objects(folder)

    @pytest.fixture
    def backdoor(self, folder):
        def write(key, data):
            (folder / key).parent.mkdir(parents=True, exist_ok=True)
            (folder / key).write_bytes(data)

        return Backdoor(write, lambda key: (folder / key).read_bytes() if (folder / key).is_file() else None)

    @pytest.fixture
    def reopen(self, folder):
        return partial(_open_below, str(folder), None)


class S3Conformance(ObjectStoreConformance):
    client = "lean"

    @pytest.fixture
    def objects(self, bucket):
        return open_objects(f"{bucket.url}/", bucket.storage_options | {"client": self.client})

    @pytest.fixture
    def backdoor(self, bucket):
        client = bucket.server.client()

        def read(key):
            try:
                return client.get_object(Bucket=bucket.name, Key=key)["Body"].read()
            except client.exceptions.NoSuchKey:
                return None

        yield Backdoor(lambda key, data: client.put_object(Bucket=bucket.name, Key=key, Body=data), read)
        client.close()

    @pytest.fixture
    def reopen(self, bucket):
        return partial(_open_below, bucket.url, bucket.storage_options | {"client": self.client})


class TestMoto(S3Conformance):
    race_round_count = 4
    many_key_count = 100  # 10 ms each; beyond a page the SeaweedFS test goes

    @pytest.fixture
    def bucket(self, moto_bucket):
        return moto_bucket


class TestSeaweed(S3Conformance):
    folders_vanish_at_once = False
    race_round_count = 3  # a contended create takes about a second

    @pytest.fixture
    def bucket(self, s3_bucket):
        return s3_bucket


class TestMotoByBoto3(TestMoto):
    client = "boto3"


class TestSeaweedByBoto3(TestSeaweed):
    client = "boto3"


def test_the_suite_notices_a_wrong_store():
    """A store that forgets to look before it creates fails the suite (the suite itself is tested)."""

    class Forgetful(MemoryObjects):
        def create(self, key, data):
            self.put(key, data)

    objects = Forgetful()
    backdoor = Backdoor(objects._objects.__setitem__, objects._objects.get)
    with pytest.raises(pytest.fail.Exception):
        ObjectStoreConformance().test_create_never_replaces(objects, backdoor)
    with pytest.raises(AssertionError):
        ObjectStoreConformance().test_racing_threads_have_one_winner(objects, backdoor)
    with pytest.raises(NoSuchKey):
        objects.read("missing")
