"""``divisions notify …``: notifications by webhook."""

from __future__ import annotations

import typer

app = typer.Typer(help="Notifications by webhook.", no_args_is_help=True, rich_markup_mode=None)


def remedy_of(status: int) -> str:
    """What to do about an answer; 0 if there was none.

    >>> remedy_of(302)
    'write the URL that it leads to: redirects are not followed'
    """
    match status:
        case 0:
            return "check the URL in the file of DIVISIONS_WEBHOOK_FILE, and that this machine reaches its host"
        case 408 | 425 | 429:
            return "try again later"
        case 400 | 415 | 422:
            return "check that DIVISIONS_WEBHOOK_KIND is what this server takes"
        case _ if 300 <= status < 400:
            return "write the URL that it leads to: redirects are not followed"
        case _ if status >= 500:
            return "look at that server, or try again later"
    return "check that the URL in the file of DIVISIONS_WEBHOOK_FILE is whole and still valid"


@app.command("test")
def send_test() -> None:
    """Send a test message to the webhook of the settings, and say what came back."""
    import uuid

    from divisions.clock import SystemClock
    from divisions.errors import ClusterError, SettingsError
    from divisions.notice import Notice, Topic
    from divisions.notify.notifier import webhook_of
    from divisions.settings import load_settings

    settings, clock = load_settings(), SystemClock()
    if not settings.webhook_file:
        remedy = "write the webhook's URL into a file, set the variable to its path, and start the cluster with it"
        raise SettingsError("DIVISIONS_WEBHOOK_FILE is not set, so nothing is notified", remedy=remedy)
    webhook = webhook_of(settings, clock)
    webhook.check()
    host = webhook.host()
    text = "a test message of Divisions; notifications arrive here"
    reply = webhook.send(Notice(f"test/{uuid.uuid4()}", Topic.TEST, "divisions", text, clock.wall_s()))
    if not reply.is_good:
        raise ClusterError(f"the test message did not arrive: {reply.fault}", remedy=remedy_of(reply.status))
    print(f"{host} took the test message as {settings.webhook_kind} ({reply.status})")
