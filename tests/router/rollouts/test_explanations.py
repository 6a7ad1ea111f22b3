"""Explanations say what was counted, and what could not be."""

from divisions.status import Evidence
from router.rollouts import explanations


def test_an_undecided_rollout_says_what_its_traffic_shows_or_that_nothing_reached_the_canary():
    text = {
        "little": explanations.undecided(Evidence(stable_requests=9, canary_requests=1), "undecided").text,
        "some": explanations.undecided(
            Evidence(stable_requests=900, canary_requests=100, min_detectable=1.25), "undecided"
        ).text,
        "none": explanations.undecided(Evidence(stable_requests=1_200, stable_applied=1_000), "undecided").text,
    }
    assert text["little"] == "undecided; this traffic is too little to show anything"
    assert text["some"] == "undecided; this traffic shows a median slower by 25 % or more"
    assert "no request reached the canary, but 1,000 reached stable" in text["none"]
    assert "logs" in text["none"]


def test_a_split_without_any_customer_on_the_canary_says_where_to_look():
    some = explanations.split(Evidence(stable_customers=900, canary_customers=10), 2_000).text
    none = explanations.split(Evidence(stable_customers=900), 2_000).text
    assert "gateways split wrongly, or cannot reach it" in some
    assert "gateways cannot use it, and their logs" in none


def test_an_unreached_canary_may_lack_customers_until_chance_is_ruled_out():
    def why(customers: int, split_log_e: float) -> str:
        evidence = Evidence(
            stable_applied=1_000, stable_customers=customers, split_log_e=split_log_e, split_threshold=9.2
        )
        return explanations.why_unreached(evidence)

    assert "only one customer called, who may by chance" in why(1, 0.1)
    assert "only 5 distinct customers called" in why(5, 1.0)
    assert why(5, 1.0).endswith("or gateways cannot use it, and their logs (logs/ of the home) say why")
    assert "customer" not in why(900, 9.2)
    assert explanations.why_unreached(Evidence(stable_applied=1_000, canary_requests=1)) == ""
    assert explanations.why_unreached(Evidence(stable_requests=1_000)) == "", "no gateway had the weight yet"
