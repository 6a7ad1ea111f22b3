"""Raw events on a real S3 server (moto): the same events as from a folder, and each failure as one clear error."""

import json
import socket
import threading
import time

import pandas as pd
import pytest

from divisions.errors import EmptyInputError, ForbiddenInputError, UnreachableInputError
from divisions.pipeline.definition import Features
from divisions.settings import S3Settings
from tests.e2e import s3_server
from trainers.data.ingest import read_events
from trainers.demo_data import SECOND_DAY, write_demo_data

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def endpoint():
    with s3_server.running() as url:
        yield url


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_demo_data(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def bucket(endpoint, demo):
    client = s3_server.client_of(endpoint)
    client.create_bucket(Bucket="raw-events")
    for day, folder in demo.partitions.items():
        body = (folder / "events.parquet").read_bytes()
        client.put_object(Bucket="raw-events", Key=f"partition={day}/events.parquet", Body=body, ACL="public-read")
        client.put_object(Bucket="raw-events", Key=f"partition={day}/_SUCCESS", Body=b"")
    lines = [
        b"customer_id,event_time,minutes,churn",
        *(b"c-%d,2025-02-01,%d,%s" % (i, i, [b"no", b"yes"][i % 2]) for i in range(9)),
        b"broken",
    ]
    client.put_object(Bucket="raw-events", Key="partition=2025-02-01/events.csv", Body=b"\n".join(lines))  # private
    client.put_object(Bucket="raw-events", Key="partition=2025-02-02/_SUCCESS", Body=b"")
    return "raw-events"


def read(uri, s3, allow_buckets=()):
    return read_events(uri, s3=s3, allow_buckets=allow_buckets, features=Features(), label="churn")


@pytest.mark.parametrize("keys", [{}, {"access_key": "any", "secret_key": "any"}], ids=["anonymous", "signed"])
def test_a_partition_reads_as_it_does_from_a_folder(endpoint, bucket, demo, keys):
    remote = read(f"s3://{bucket}/partition={SECOND_DAY}", S3Settings(endpoint_url=endpoint, **keys), ("raw-events",))
    local = read(str(demo.partitions[SECOND_DAY]), S3Settings())
    pd.testing.assert_frame_equal(remote.frame, local.frame)
    assert remote.kinds == local.kinds
    assert (remote.partition, remote.num_read) == ("2025-01-14", 4_000)


def test_a_single_object_with_a_bad_line_is_quarantined_by_its_key(endpoint, bucket):
    s3 = S3Settings(endpoint_url=endpoint, access_key="any", secret_key="any")
    events = read(f"s3://{bucket}/partition=2025-02-01/events.csv", s3)
    assert (len(events.frame), events.reasons) == (9, {"unparsable line": 1})
    assert events.quarantine["source"].item() == "raw-events/partition=2025-02-01/events.csv"


def test_a_private_object_is_read_without_credentials_where_the_server_takes_any(endpoint, bucket):
    events = read(f"s3://{bucket}/partition=2025-02-01", S3Settings(endpoint_url=endpoint))
    assert len(events.frame) == 9


def test_a_server_that_denies_every_key_is_named_with_the_remedy(endpoint, bucket):
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::closed/*"}
        ],
    }
    client = s3_server.client_of(endpoint)
    client.create_bucket(Bucket="closed")
    client.put_object(Bucket="closed", Key="partition=2025-02-01/events.csv", Body=b"customer_id,churn\nc-1,yes\n")
    client.put_bucket_policy(Bucket="closed", Policy=json.dumps(policy))
    with pytest.raises(UnreachableInputError, match=r"refuses us: access denied.*AWS_ACCESS_KEY_ID"):
        read("s3://closed/partition=2025-02-01", S3Settings(endpoint_url=endpoint))


@pytest.mark.parametrize("day", ["2025-01-15", "2025-02-02"])
def test_a_partition_without_data_lists_the_nearest(endpoint, bucket, day):
    with pytest.raises(EmptyInputError, match=rf"partition {day} holds no files.*existing nearby: .*partition=2025-0"):
        read(f"s3://{bucket}/partition={day}", S3Settings(endpoint_url=endpoint))


def test_a_bucket_that_does_not_exist_is_named(endpoint, bucket):
    with pytest.raises(UnreachableInputError, match=r"bucket 'no-such-bucket'.*does not exist"):
        read("s3://no-such-bucket/partition=2025-01-14", S3Settings(endpoint_url=endpoint))


def test_a_bucket_off_the_allow_list_is_never_asked_for(endpoint, bucket):
    with pytest.raises(ForbiddenInputError, match=r"'raw-events'.*not on the allow-list"):
        read(f"s3://{bucket}/partition=2025-01-14", S3Settings(endpoint_url=endpoint), ("other-bucket",))


def test_an_endpoint_that_accepts_and_never_answers_does_not_hang_the_run():
    """This test limits the time on purpose: a server that hangs must not hang the run."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        held = []
        stop = threading.Event()

        def accept():
            silent.settimeout(0.2)
            while not stop.is_set():
                try:
                    held.append(silent.accept()[0])
                except TimeoutError:
                    continue

        thread = threading.Thread(target=accept)
        thread.start()
        started = time.monotonic()
        try:
            with pytest.raises(UnreachableInputError, match="s3://raw-events/x does not answer"):
                read("s3://raw-events/x", S3Settings(endpoint_url=f"http://127.0.0.1:{silent.getsockname()[1]}"))
        finally:
            stop.set()
            thread.join()
            for connection in held:
                connection.close()
    assert held
    assert time.monotonic() - started < 60
