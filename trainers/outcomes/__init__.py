"""Outcomes: what became of the customers whose predictions were logged, and how well versions told them apart.

In come files of labels and the prediction log; out comes a report, `divisions.outcomes`. Open `report.py` first.
"""
