"""Notifications by webhook: as which JSON (`payload`), when again (`retry`), and what waits (`outbox`).

In come notices (`divisions.notice`) of the controller and of the scheduler. Out go requests to one server.
Open `outbox.py` first: the queue, and what was told. `webhook.py` sends one request, `notifier.py` has the thread.
"""
