"""Notifications by webhook: what is worth telling (`notice`), as which JSON (`payload`), when again (`retry`).

In come notices of the controller (rollouts, drift) and of the scheduler (failed runs). Out go requests to one server.
Open `outbox.py` first: the queue, and what was told. `webhook.py` sends one request, `notifier.py` has the thread.
"""
