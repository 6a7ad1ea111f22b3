"""Secrets do not survive, and the rest of a file does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.house.redaction import redacted

SECRET = "hunter2hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"input: s3://key:{SECRET}@bucket/x",
        f"input: 'https://u:{SECRET}@host/x'",
        f"  password: {SECRET}",
        f'  "API_KEY": "{SECRET}"',
        f"- aws_secret_access_key: {SECRET} # mine",
        f"x: https://host/?X-Amz-Signature={SECRET}&y=1",
        f"x: https://host/?a=1&sig={SECRET}",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----",
        f"-----BEGIN EC PRIVATE KEY-----\n{SECRET}",
        f"webhook_token : {SECRET}",
        f"secret: |\n  {SECRET}\n\n  {SECRET}",
        f"- credentials:\n    user: x\n    word: {SECRET}",
    ],
)
def test_what_may_be_a_secret_is_left_out(text):
    found = redacted(f"pipeline: churn\n{text}\nafter: 1\n")
    assert SECRET not in found
    assert "after" in found or "BEGIN EC" in text, "what follows stays; of a key without an end nothing does"


def test_a_pipeline_file_without_secrets_is_as_it_was():
    text = 'pipeline: "customer-churn-v3"\n# tokens\nstages:\n  data_prep:\n    input: "s3://raw/partition=${today}"\n'
    assert redacted(text) == text


@given(st.text(max_size=300))
def test_any_text_is_taken_and_taking_it_twice_changes_nothing(text):
    once = redacted(text)
    assert redacted(once) == once
