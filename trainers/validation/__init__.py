"""Whether a trained model may serve.

In: its metrics and its data's drift. Out: gates passed, failed or unknown, each with its figure. Open `validation`
first; `gates` decides.
"""
