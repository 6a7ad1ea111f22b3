"""A validation report as one HTML page: no script, nothing from elsewhere, every name escaped. Pure."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence

from trainers.validation.charts import Line, chart
from trainers.validation.report import ValidationReport

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.2rem .8rem .2rem 0;border-bottom:1px solid #d8dee4;vertical-align:top}
td.n,th.n{text-align:right}tr.chosen{background:#fff8c5}.fail{color:#b3261e}.pass{color:#1a7f37}
.charts{display:flex;flex-wrap:wrap;gap:1rem}svg{max-width:100%}.wide{overflow-x:auto}
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}th,td{border-color:#30363d}tr.chosen{background:#3b2e00}}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_MAX_SLICES = 300


def render_page(report: ValidationReport) -> str:
    """The page. It may be opened from a disk or served by anybody."""
    charts = [
        chart("ROC", "false positive rate", "recall", [Line("model", report.roc)], has_diagonal=True),
        chart("Precision and recall", "recall", "precision", [Line("model", report.precision_recall)]),
        chart(
            "Calibration",
            "mean probability",
            "share positive",
            [
                Line("before", [(each.mean_score, each.positive_share) for each in report.calibration_before]),
                Line("after", [(each.mean_score, each.positive_share) for each in report.calibration_after]),
            ],
            has_diagonal=True,
        ),
    ]
    kind = "fail" if report.verdict.startswith("refused") else "pass"
    parts = [
        f"<h1>Validation of {_text(report.title)}</h1>",
        f'<p class="{kind}"><strong>{_text(report.verdict)}</strong></p>',
        *(f"<p>{_text(note)}</p>" for note in report.notes),
        _section("Gates", ("gate", "value", "verdict"), [(g.gate, g.value, g.verdict) for g in report.gates]),
        f"<h2>Challenger against champion</h2><p>{_text(report.champion)}</p>",
        f'<h2>Curves</h2><div class="charts">{"".join(charts)}</div><p>Calibration: {_text(report.calibration)}</p>',
        _thresholds(report),
        _section("Metrics on the hold-out", ("metric", "value"), sorted(report.metrics.items())),
        _section(
            "Importance: AUC lost when a feature is shuffled",
            ("feature", "auc lost", "±"),
            [(each.feature, each.auc_loss, each.deviation) for each in report.importance],
        ),
        _section(
            f"Stability (PSI) of features: hold-out to training, and all customers {report.drift}",
            ("feature", "hold-out", "version in use"),
            [(each.feature, each.psi_holdout, each.psi_champion) for each in report.features],
        ),
        _slices(report),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Validation of {_text(report.title)}</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _thresholds(report: ValidationReport) -> str:
    rows = [(row.threshold, row.flagged, row.hits, row.precision, row.recall, row.f1) for row in report.thresholds]
    chosen = [number for number, row in enumerate(report.thresholds) if row.threshold == report.threshold]
    title = f"Thresholds; {report.rule} chose {report.threshold:.4g} on validation customers"
    heads = ("threshold", "flagged", "of them positive", "precision", "recall", "f1")
    return _section(title, heads, rows, chosen)


def _slices(report: ValidationReport) -> str:
    heads = ("feature", "part", "customers", "positive", "mean probability", "auc", "precision", "recall")
    rows = [
        (s.feature, s.part, s.num_rows, s.positive_share, s.mean_score, s.auc, s.precision, s.recall)
        for s in report.slices[:_MAX_SLICES]
    ]
    return _section("Parts of the customers", heads, rows)


def _section(title: str, heads: Sequence[str], rows: Sequence[Sequence[object]], chosen: Iterable[int] = ()) -> str:
    if not rows:
        return ""
    is_number = [not any(isinstance(row[column], str) for row in rows) for column in range(len(heads))]
    kinds = [' class="n"' if each else "" for each in is_number]
    head = "".join(f"<th{kind}>{_text(name)}</th>" for kind, name in zip(kinds, heads, strict=True))
    marked = set(chosen)
    body = []
    for number, row in enumerate(rows):
        cells = "".join(f"<td{kind}>{_cell(value)}</td>" for kind, value in zip(kinds, row, strict=True))
        mark = ' class="chosen"' if number in marked else ""
        body.append(f"<tr{mark}>{cells}</tr>")
    return f'<h2>{_text(title)}</h2><div class="wide"><table><tr>{head}</tr>{"".join(body)}</table></div>'


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 1_000 else f"{value:,.0f}"
    return _text(str(value))


def _text(text: str) -> str:
    return html.escape(text.replace("\x00", "\N{REPLACEMENT CHARACTER}"), quote=True)
