"""The section ``policy`` of a pipeline file."""

import pytest

from divisions.errors import PipelineError
from divisions.pipeline.file import parse_pipeline
from divisions.promotion import FreezeWindow, PromotionPolicy
from tests.divisions.pipeline.test_file import MINIMAL


def policy(text):
    return parse_pipeline(f"{MINIMAL}policy: {text}\n").policy


def test_without_the_section_nothing_is_asked():
    assert parse_pipeline(MINIMAL).policy == PromotionPolicy()


def test_the_whole_section():
    assert policy(
        "{environment: production, approvals: 2, require: [metrics, lineage, drift], "
        "freeze: [{from: 'Fri 16:00', to: 'Mon 07:00', zone: Europe/Berlin}, "
        "{from: 2026-12-20 00:00, to: 2027-01-02 00:00}], registries: ['oci://registry.example.com/models']}"
    ) == PromotionPolicy(
        "production",
        2,
        (
            FreezeWindow("Fri 16:00", "Mon 07:00", "Europe/Berlin"),
            FreezeWindow("2026-12-20 00:00", "2027-01-02 00:00"),
        ),
        ("metrics", "lineage", "drift"),
        ("oci://registry.example.com/models",),
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{approvals: 11}", "policy.approvals: must be a whole number from 0 to 10"),
        ("{approval: 1}", "unknown key 'approval'. did you mean 'approvals'?"),
        ("{environment: 'Pro duction'}", "'Pro duction' is no name"),
        ("{require: [luck]}", "nothing is known as 'luck'"),
        ("{require: metrics}", "must be a list"),
        ("{freeze: [weekend]}", "must be a section with from and to"),
        ("{freeze: [{from: 'Fri 16:00'}]}", "key 'to' is missing"),
        ("{freeze: [{from: 'Fri 16:00', to: 'Mon'}]}", "'Mon' is no time"),
        ("{freeze: [{from: 'Fri 16:00', to: 'Mon 07:00', zone: Mars}]}", "there is no time zone 'Mars'"),
        ("{registries: ['a b']}", "'a b' is no address"),
    ],
)
def test_a_mistake_is_one_clear_line(text, why):
    with pytest.raises(PipelineError) as caught:
        policy(text)
    assert why in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert caught.value.line
