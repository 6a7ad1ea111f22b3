"""Documents from results; nothing here measures. Open `report_docs` first."""
