"""One line out of Ray's messages: ours if there is one, and never a traceback, a process or a colour."""

from hypothesis import given
from hypothesis import strategies as st

from divisions.cause import MAX_CHARACTERS, cause_in, ours_in

RAY = (
    "\x1b[36mray::ServeReplica:churn:version.initialize()\x1b[39m (pid=4711, ip=10.0.0.7, actor_id=ab12, repr=<x>)\n"
    '  File "/srv/router/x.py", line 3, in __init__\n'
    "divisions.errors.BundleError: bundle /b cannot be read: No such file. train again\n"
    "\n"
    "The above exception was the direct cause\n"
)


def test_our_own_error_comes_first_wherever_it_stands():
    assert cause_in(["Failed to update", RAY, ""]) == "bundle /b cannot be read: No such file. train again"
    assert ours_in([RAY]) == cause_in([RAY])


def test_without_one_the_last_line_is_told_without_processes_and_colours():
    text = "Traceback\n\x1b[31mMemoryError: 3 GB (pid=4711, ip=10.0.0.7) wanted\x1b[0m\n"
    assert cause_in([text]) == "MemoryError: 3 GB wanted"
    assert (ours_in([text]), cause_in([])) == ("", "")


@given(st.lists(st.text(alphabet="ab \n\x1b[0m()=pidx1.:", max_size=60), max_size=4))
def test_it_is_always_one_short_line(texts):
    found = cause_in(texts)
    assert len(found.splitlines()) <= 1
    assert len(found) <= MAX_CHARACTERS


def test_a_long_cause_is_cut_after_400_characters():
    assert len(cause_in(["divisions.errors.BundleError: " + "x" * 1_000])) == len(cause_in(["x" * 1_000])) == 400
