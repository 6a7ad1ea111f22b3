"""Writes the dashboards as JSON: ``python -m deploy.dashboards.render``.

It needs Grafana's foundation SDK, which is in the extra ``test``: nothing that runs in a cluster needs it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import DataSourceRef

from deploy.dashboards import FOLDER
from deploy.dashboards.panels import BOARDS, Board, Panel

DATASOURCE = "datasource"
"""The variable by which a reader chooses among Prometheus servers."""
_WIDTH, _HEIGHT = 8, 8


def render(board: Board) -> str:
    """The dashboard's JSON, as Grafana 10 and later import it."""
    built = (
        dashboard.Dashboard(board.title)
        .uid(f"divisions-{board.name}")
        .tags(["divisions"])
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .with_variable(dashboard.DatasourceVariable(DATASOURCE).label("Prometheus").type("prometheus"))
    )
    number = 0
    for title, panels in board.rows:
        built = built.with_row(dashboard.Row(title))
        for panel in panels:
            number += 1
            built = built.with_panel(_panel(panel, number))
    return JSONEncoder(sort_keys=True, indent=2).encode(built.build()) + "\n"


def _panel(panel: Panel, number: int) -> timeseries.Panel:
    legend = common.VizLegendOptions().show_legend(True)
    legend = legend.display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    built = (
        timeseries.Panel()
        .id(number)
        .title(panel.title)
        .description(panel.about)
        .unit(panel.unit)
        .legend(legend)
        .datasource(DataSourceRef(type_val="prometheus", uid=f"${{{DATASOURCE}}}"))
        .span(_WIDTH)
        .height(_HEIGHT)
    )
    for ref, query in zip("ABCDEF", panel.queries, strict=False):
        built = built.with_target(prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(ref))
    return built


def main(folder: Path = FOLDER) -> int:
    for board in BOARDS:
        (folder / f"{board.name}.json").write_text(render(board))
    return 0


if __name__ == "__main__":
    sys.exit(main())
