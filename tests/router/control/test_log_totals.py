from divisions.prediction_log import LogCount
from divisions.reports import GatewayReport
from router.control.log_totals import LogTotals


def report(gateway: str, kept: int, tick: int = 0, **lost: int) -> GatewayReport:
    return GatewayReport(gateway, 1, tick, (), logged=(LogCount("churn", "3.1", kept, lost),))


def test_gateways_are_summed_and_each_counts_from_its_own_start():
    totals = LogTotals()
    totals.report(report("a", 5), 0.0)
    totals.report(report("b", 7, disk=2), 1.0)
    totals.report(report("a", 9, buffer=1), 2.0)
    assert totals.totals() == (LogCount("churn", "3.1", 16, {"buffer": 1, "disk": 2}),)


def test_a_gateway_that_ends_takes_nothing_away():
    totals = LogTotals()
    totals.report(report("a", 5), 0.0)
    totals.report(report("next", 1), 200_000.0)
    assert totals.totals() == (LogCount("churn", "3.1", 6),)
    assert list(totals._last) == ["next"], "nor does it take memory for ever"


def test_a_report_without_counts_changes_nothing():
    totals = LogTotals()
    totals.report(report("a", 5), 0.0)
    totals.report(GatewayReport("a", 1, 1, ()), 1.0)
    totals.report(report("a", 5), 2.0)
    assert totals.totals() == (LogCount("churn", "3.1", 5),)
