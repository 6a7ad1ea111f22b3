"""The committed dashboards are what the code says, and use what Divisions tells."""

from __future__ import annotations

import json
import re
from pathlib import Path

from deploy.dashboards import FOLDER
from deploy.dashboards.panels import BOARDS
from deploy.dashboards.render import render
from deploy.prometheus.rules import RECORDS

ROOT = Path(__file__).parents[3]


def test_the_committed_dashboards_are_those_of_the_code():
    assert {path.stem for path in FOLDER.glob("*.json")} == {board.name for board in BOARDS}
    for board in BOARDS:
        assert (FOLDER / f"{board.name}.json").read_text() == render(board), "run `python -m deploy.dashboards.render`"


def test_every_panel_has_its_place_and_its_queries():
    for board in BOARDS:
        content = json.loads(render(board))
        panels = [panel for panel in content["panels"] if panel["type"] != "row"]
        wanted = [panel for _, panels_of_row in board.rows for panel in panels_of_row]
        assert [panel["title"] for panel in panels] == [panel.title for panel in wanted]
        assert len({panel["id"] for panel in panels}) == len(panels)
        places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in content["panels"]]
        assert len(set(places)) == len(places)
        assert max(x for x, _ in places) <= 16
        for panel, one in zip(panels, wanted, strict=True):
            assert [target["expr"] for target in panel["targets"]] == [query.expr for query in one.queries]
            refs = [target["refId"] for target in panel["targets"]]
            assert refs == sorted(set(refs))
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_queries_ask_for_metrics_and_labels_that_exist():
    text = (ROOT / "docs" / "metrics.md").read_text()
    documented = dict(re.findall(r"^\| `(divisions_\w+)` \| ?([\w, ]*) \|", text, re.M))
    queries = [query for board in BOARDS for _, panels in board.rows for panel in panels for query in panel.queries]
    for query in queries:
        asked = set(re.findall(r"divisions_\w+", query.expr))
        asked = {re.sub("_(sum|count)$", "", name) if name not in documented else name for name in asked}
        assert asked <= set(documented), query.expr
        assert set(re.findall(r"divisions:[\w:]+", query.expr)) <= set(RECORDS), query.expr
        known = {"endpoint", "version", "status", "code", "gateway"}
        known |= {label for name in asked for label in re.findall(r"\w+", documented[name])}
        assert set(re.findall(r"{{(\w+)}}", query.legend)) <= known, query.legend
