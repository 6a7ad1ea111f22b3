"""The kind ``local``: a Divisions cluster that runs, through its control API."""
