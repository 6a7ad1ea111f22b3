import copy
import inspect
import pickle

import pytest

from divisions import error_names, errors

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.DivisionsError)]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_survives_pickling_and_copying(kind):
    error = kind("what is wrong", remedy="do this")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is kind
        assert (str(again), vars(again), again.args) == (str(error), vars(error), error.args)


def test_a_message_that_ends_with_a_full_stop_gets_no_second_one():
    assert str(errors.ClusterError("it broke.", remedy="mend it")) == "it broke. mend it"


def test_the_fields_of_an_error_survive_pickling():
    shed = pickle.loads(pickle.dumps(errors.OverloadedError("full", retry_after_s=2.5)))
    assert shed.retry_after_s == 2.5
    second = errors.PipelineError("second", line=9, column=1)
    first = errors.PipelineError("first", remedy="fix it", path="f.yaml", line=3, column=7, others=(second,))
    again = pickle.loads(pickle.dumps(first))
    assert str(again) == "f.yaml:3:7: first. fix it\npipeline:9:1: second"
    assert (again.path, again.line, again.column) == ("f.yaml", 3, 7)


def test_a_message_is_followed_by_its_remedy():
    assert str(errors.InputError("empty")) == "empty"
    assert str(errors.InputError("empty", remedy="fill it")) == "empty. fill it"
    assert str(errors.PipelineError("bad", path="f.yaml")) == "f.yaml: bad"
    assert str(errors.PipelineError("bad")) == "bad"


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_in_the_drawn_tree_under_its_parent(kind):
    lines = error_names.__doc__.splitlines()
    parent = kind.__mro__[1].__name__
    (own,) = [i for i, line in enumerate(lines) if line.strip("│├└─ ").split(" ")[0] == kind.__name__]
    if kind is errors.DivisionsError:
        return
    indent = len(lines[own]) - len(lines[own].lstrip("│├└─ "))
    above = next(line for line in reversed(lines[:own]) if len(line) - len(line.lstrip("│├└─ ")) < indent)
    assert above.strip("│├└─ ").split(" ")[0] == parent
