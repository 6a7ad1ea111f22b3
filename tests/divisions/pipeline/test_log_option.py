import pytest

from divisions.errors import PipelineError
from divisions.pipeline.file import parse_pipeline
from divisions.prediction_log import LogPolicy
from tests.divisions.pipeline.test_file import MINIMAL


def policy_of(text: str) -> LogPolicy | None:
    return parse_pipeline(f"{MINIMAL}serving:\n  log: {text}\n").serving.log


def test_without_the_section_nothing_is_logged():
    assert parse_pipeline(MINIMAL).serving.log is None
    assert parse_pipeline(f"{MINIMAL}serving:\n  replicas: 1\n").serving.log is None


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("{sample: 5%}", LogPolicy()),
        ("{sample: 0.01%}", LogPolicy(sample_bp=1)),
        ("{sample: 100%, to: /var/log/predictions/}", LogPolicy(10_000, "/var/log/predictions")),
        ("{to: 's3://bucket/a/b', roll: 30s}", LogPolicy(to="s3://bucket/a/b", roll_s=30.0)),
        ("{sample: 5%, keep: 30d}", LogPolicy(keep_s=30 * 86_400.0)),
        ("{keep: 48h}", LogPolicy(keep_s=2 * 86_400.0)),
        (
            "{hash: [customer_id], leave_out: [age, income]}",
            LogPolicy(hash=("customer_id",), leave_out=("age", "income")),
        ),
    ],
)
def test_a_policy_is_read(text, policy):
    assert policy_of(text) == policy


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{sample: 0%}", "0% is not above 0%"),
        ("{sample: 101%}", "101% is not above 0%"),
        ("{sample: 0.001%}", "finer than 0.01%"),
        ("{to: logs/here}", "absolute path of a folder or s3://bucket/prefix"),
        ("{to: /}", "absolute path of a folder"),
        ("{to: /a/../b}", "absolute path of a folder"),
        ("{to: 's3://'}", "absolute path of a folder"),
        ("{to: 'gs://bucket'}", "absolute path of a folder"),
        ("{roll: 0s}", "must be from 1s to 1d"),
        ("{roll: 2d}", "must be from 1s to 1d"),
        ("{keep: 0d}", "must be a whole number of days"),
        ("{keep: 36h}", "must be a whole number of days"),
        ("{keep: 36501d}", "must be a whole number of days"),
        ("{keep: long}", "is not a duration"),
        ("{hash: [age], leave_out: [age]}", "'age' is both hashed and left out"),
        ("{smaple: 5%}", "unknown key 'smaple'"),
        ("5%", "must be a section with keys"),
    ],
)
def test_a_wrong_policy_is_told(text, problem):
    with pytest.raises(PipelineError) as refused:
        policy_of(text)
    assert problem in str(refused.value)
