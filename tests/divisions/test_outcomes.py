from divisions.outcomes import OutcomesReport, Quality, VersionAlert, read_report, read_reports, write_report
from router.control.inventory_keeper import read_outcomes

REPORT = OutcomesReport(
    "churn",
    5.0,
    0.85,
    900,
    800,
    100,
    0,
    0,
    (Quality("3.1", "", 800, 300, 0.8, 0.78, 0.82, 0.84, 0.02, 0.01, 0.03), Quality("3.2", "", 5, 1)),
    alerts=(VersionAlert("3.1", 0.85, 0.84, 800, 5.0),),
)


def test_a_report_comes_back_as_it_was_and_only_its_owner_can_read_it(tmp_path):
    write_report(tmp_path, REPORT)
    assert read_report(tmp_path, "churn") == REPORT
    assert (tmp_path / "outcomes" / "churn.json").stat().st_mode & 0o777 == 0o600


def test_a_report_that_is_not_there_or_damaged_is_none(tmp_path):
    assert read_report(tmp_path, "churn") is None
    assert read_reports(tmp_path) == ()
    write_report(tmp_path, REPORT)
    (tmp_path / "outcomes" / "fraud.json").write_text("{")
    assert read_reports(tmp_path) == (REPORT,)


def test_the_controller_has_the_versions_with_enough_outcomes(tmp_path):
    write_report(tmp_path, REPORT)
    (live,) = read_outcomes(tmp_path)["live_aucs"]
    assert (live.endpoint, live.version, live.outcomes, live.auc, live.upper) == ("churn", "3.1", 800, 0.8, 0.82)
    assert (live.gate, live.is_below_gate, live.calibration_error) == (0.85, True, 0.02)
