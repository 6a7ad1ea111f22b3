import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from divisions.errors import PipelineError
from divisions.pipeline.yaml_nodes import MAX_BYTES, MAX_DEPTH, Entry, Mapping, Place, Scalar, Sequence, read_nodes


def test_nodes_keep_their_position():
    nodes = read_nodes("a: 1\nb:\n  - 'x'\n")
    assert nodes == Mapping(
        (
            Entry(Scalar("a", True, Place(1, 1)), Scalar("1", True, Place(1, 4))),
            Entry(Scalar("b", True, Place(2, 1)), Sequence((Scalar("x", False, Place(3, 5)),), Place(3, 3))),
        ),
        Place(1, 1),
    )


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: &x 1", (1, 4), "anchor"),
        ("a: 1\nb: *x", (2, 4), "alias"),
        ("a: !!python/object:os.system x", (1, 4), "tag"),
        ("a: !x 1", (1, 4), "tag"),
        ("a: 1\nb: 2\na: 3", (3, 1), "stands twice"),
        ("a: 1\n'a': 2", (2, 1), "stands twice"),
        ("? [a]\n: b", (1, 3), "key must be text"),
        ("--- a\n--- b", (2, 1), "second document"),
        ("a: b: c", (1, 5), "mapping values"),
        ("a:\n\tb: 1", (2, 1), "cannot start any token"),
        ("a: 1\nb: \x07", (2, 4), "U\\+0007"),
        ('a: "\\ud800"', (1, 4), "half a character"),
        ("[" * (MAX_DEPTH + 1), (1, MAX_DEPTH + 1), "nested deeper"),
        ("{a: " * (MAX_DEPTH + 1), (1, 4 * MAX_DEPTH - 2), "nested deeper"),
    ],
)
def test_refused_parts_of_yaml_are_named_with_their_position(text, place, message):
    with pytest.raises(PipelineError, match=message) as caught:
        read_nodes(text, "f.yaml")
    assert (caught.value.line, caught.value.column) == place
    assert str(caught.value).startswith(f"f.yaml:{place[0]}:{place[1]}: ")
    assert caught.value.remedy


@pytest.mark.parametrize("text", ["", "# only a comment"])
def test_an_empty_file_says_so(text):
    with pytest.raises(PipelineError, match="the file is empty"):
        read_nodes(text)


def test_a_file_over_the_cap_is_refused_before_it_is_parsed():
    with pytest.raises(PipelineError, match="more than"):
        read_nodes("# " + "x" * MAX_BYTES)


def test_a_colon_without_quotes_is_answered_with_the_remedy():
    with pytest.raises(PipelineError, match="put quotes around a value that holds a colon"):
        read_nodes("trigger: schedule: 0 2 * * *")


YAML_LIKE = st.text(alphabet=st.sampled_from("ab01 \n\t:-,[]{}#&*!|>'\"%@`?\\UuxX~.<=\u2028\ufeff\x85"))


@given(st.one_of(st.text(), YAML_LIKE))
@example('"\\UFFFFFFFF"')
@example('"\\U00110000"')
@example("%YAML 1." + "9" * 5_000 + "\n---\n")
@example("\ud800")
@example("!<%ff> a")
@example("[" * 10_000)
def test_any_text_is_nodes_or_a_pipeline_error(text):
    try:
        read_nodes(text)
    except PipelineError as error:
        str(error).encode("utf-8")


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("a:\n\tb: 1", "indent with spaces, not with tabs"),
        ("a: @b", "put quotes around the value"),
        (
            "a:\n  b: 1\n\u00a0\u00a0c:\n    d: 2\n  e: 3",
            "replace U+00A0, which looks like a space and begins line 3, by a space",
        ),
        ("a: [1", "check indentation, quotes and colons of this line and the one before it"),
    ],
)
def test_an_error_of_syntax_has_the_remedy_of_its_kind(text, remedy):
    with pytest.raises(PipelineError) as caught:
        read_nodes(text)
    assert caught.value.remedy == remedy
