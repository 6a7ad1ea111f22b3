"""Which spelling a column has is decided by all of its values, and left open where two are possible."""

from hypothesis import given
from hypothesis import strategies as st

from trainers.data.number_evidence import Evidence
from trainers.data.spelled_numbers import COMMA, POINT, Spelling
from trainers.data.spelling_inference import decide


def texts(plain=0, only_point=0, only_comma=0, open_point=0, open_comma=0, others=0, **more):
    """So many texts of each sort."""
    shared = plain + open_point + open_comma
    total = shared + only_point + only_comma + others
    return Evidence(
        total=total,
        point=shared + only_point,
        comma=shared + only_comma,
        only_point=only_point,
        only_comma=only_comma,
        open_point=open_point,
        open_comma=open_comma,
        **more,
    )


def test_one_number_that_can_only_be_read_in_one_way_decides():
    assert decide(texts(plain=98, only_comma=1, open_comma=1)).spelling == COMMA
    assert decide(texts(plain=98, only_point=1, open_comma=1)).spelling == POINT
    assert decide(texts(only_comma=50, open_point=50)).spelling == COMMA


def test_the_comma_of_1_200_is_left_open_and_the_file_decides():
    evidence = texts(plain=50, open_comma=50)
    assert decide(evidence).spelling is None
    assert "declare data_prep.format.decimal" in decide(evidence).doubt
    assert decide(evidence, of_file=POINT).spelling == POINT
    assert decide(evidence, of_file=COMMA).spelling == COMMA
    assert decide(texts(open_point=50), of_file=COMMA).spelling == COMMA
    assert decide(texts(open_point=50)).spelling == POINT


def test_numbers_of_two_spellings_are_not_read():
    assert decide(texts(plain=98, only_comma=1, only_point=1)).spelling is None
    assert "others a decimal point" in decide(texts(only_comma=50, only_point=50)).doubt


def test_numbers_of_two_units_are_not_added_up():
    assert decide(texts(plain=10, units=("$", "EUR"))).spelling is None
    assert decide(texts(plain=10, units=("%",), bare=1)).doubt.startswith("they have different units (%, none)")
    assert decide(texts(plain=10, units=("%",))).spelling == POINT
    assert decide(texts(plain=10, units=("$",), bare=1)).spelling == POINT


def test_too_many_other_texts_and_it_is_text_without_a_word_from_here():
    assert decide(texts(only_comma=95, others=5)).spelling == COMMA
    assert decide(texts(only_comma=94, others=6)) == decide(Evidence(0))
    assert decide(texts(only_comma=94, others=6, soft=6)).spelling == COMMA


def test_what_is_declared_holds_however_the_numbers_look():
    declared = Spelling(",", ".")
    assert decide(texts(plain=50, open_comma=50), declared).spelling == declared
    assert decide(texts(only_point=50), declared).spelling is None


@given(st.tuples(*[st.integers(0, 50)] * 6))
def test_a_spelling_reads_nearly_all_values(counts):
    evidence = texts(*counts)
    spelling = decide(evidence).spelling
    if spelling is not None:
        assert evidence.count(spelling) >= 0.95 * evidence.hard > 0
        other = evidence.only_comma if spelling == POINT else evidence.only_point
        assert other <= 0.05 * evidence.hard
