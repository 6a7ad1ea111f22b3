from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.errors import OverCommitError
from serving.compile.gpu_memory import Claim, GpuLedger, admit, memory_share, process_start

T4_BYTES = 15_843_721_216


def test_a_share_is_of_the_smaller_of_the_files_and_the_drivers_memory():
    assert memory_share(T4_BYTES, 16.0, 0.5).share_bytes == T4_BYTES // 2
    assert memory_share(80_000_000_000, 16.0, 0.5).share_bytes == 8_000_000_000
    assert memory_share(T4_BYTES, None, 1.0).share_bytes == T4_BYTES
    assert memory_share(T4_BYTES, None, 2.0).share_bytes == T4_BYTES
    share = memory_share(T4_BYTES, 16.0, 0.25)
    assert share.engine_bytes == share.share_bytes - 450_000_000
    assert share.workspace_bytes == 512 * 1024**2


@given(st.sampled_from([T4_BYTES, 24_000_000_000, 141_000_000_000]), st.floats(0.1, 1.0))
def test_the_workspace_is_a_power_of_two_of_at_most_a_quarter(total, share):
    found = memory_share(total, None, share)
    assert found.workspace_bytes.bit_count() == 1
    assert found.workspace_bytes <= min(found.engine_bytes // 4, 512 * 1024**2)
    assert found.workspace_bytes > found.engine_bytes // 8 or found.workspace_bytes == 512 * 1024**2


def test_half_a_t4_and_a_whole_one_build_the_same_plan():
    """Else `divisions compile` would warm the cache for one share, and the canary build its own."""
    workspaces = {memory_share(T4_BYTES, 16.0, share).workspace_bytes for share in (0.25, 0.5, 1.0)}
    assert len(workspaces) == 1


def test_a_share_too_small_for_any_engine_is_refused():
    with pytest.raises(OverCommitError, match=r"0\.03 of a GPU with 15\.8 GB are 475 MB.*raise serving\.num_gpus"):
        memory_share(T4_BYTES, None, 0.03)


def test_over_commitment_is_refused_with_the_sum():
    claims = (Claim(1, 1, "churn-v3.1", 8_000_000_000), Claim(2, 1, "churn-v3.1", 4_000_000_000))
    with pytest.raises(OverCommitError) as caught:
        admit(claims, Claim(3, 1, "churn-v3.2", 8_000_000_000), T4_BYTES, "Tesla T4")
    assert str(caught.value).startswith(
        "Tesla T4 has 15.84 GB, asked for are 8.00 (churn-v3.1) + 4.00 (churn-v3.1) + 8.00 (churn-v3.2) = 20.00 GB"
    )
    assert len(admit(claims, Claim(3, 1, "churn-v3.2", 3_000_000_000), T4_BYTES, "Tesla T4")) == 3


def test_a_process_that_claims_again_replaces_its_claim():
    claims = (Claim(1, 1, "a", 10),)
    assert admit(claims, Claim(1, 1, "a", 15), 20, "T4") == (Claim(1, 1, "a", 15),)


def test_claims_of_dead_processes_are_removed_even_if_the_pid_is_reused(tmp_path):
    alive = {os.getpid(): 5, 77: 6}
    ledger = GpuLedger(tmp_path, alive.get)
    ledger.claim("u", "Tesla T4", "mine", 10, 20)
    book = tmp_path / "gpu-u.json"
    book.write_bytes(b'[{"pid":77,"started":6,"name":"other","num_bytes":10}]')
    with pytest.raises(OverCommitError):
        ledger.claim("u", "Tesla T4", "mine", 11, 20)
    assert list(ledger.claims("u")) == ["other (77)"]
    alive[77] = 9
    ledger.claim("u", "Tesla T4", "mine", 11, 20)
    assert list(ledger.claims("u").values()) == [11]


def test_a_damaged_ledger_starts_empty(tmp_path):
    ledger = GpuLedger(tmp_path)
    (tmp_path / "gpu-u.json").write_bytes(b"[{")
    ledger.claim("u", "Tesla T4", "mine", 10, 20)
    assert list(ledger.claims("u").values()) == [10]


def test_a_process_is_identified_by_its_start():
    assert process_start(os.getpid()) == process_start(os.getpid())
    assert (process_start(1) or 0) <= (process_start(os.getpid()) or 0)
    assert process_start(2**22 + 1) is None
