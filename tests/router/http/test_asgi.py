"""Requests of the application: how many are begun, and for whom."""

from __future__ import annotations

import asyncio

from router.http.asgi import MAX_RUNNING, PAUSE_S, AsgiHandler
from tests.router.http.wire import connect, join

GET = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"


class Application:
    """Answers when the test lets it."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.streams = False

    async def __call__(self, scope, receive, send):
        path = scope["path"]
        self.paths.append(path)
        gate = self.gates.setdefault(path, asyncio.Event())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if self.streams:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await gate.wait()
        await send({"type": "http.response.body", "body": b""})


class PatientLoop(asyncio.SelectorEventLoop):
    """Pauses end when the test has waited for as many turns."""

    def __init__(self) -> None:
        super().__init__()
        self.paused = []

    def call_later(self, delay, callback, *arguments, context=None):
        assert delay == PAUSE_S
        self.paused.append(callback)


def run(scenario) -> None:
    with asyncio.Runner(loop_factory=PatientLoop) as runner:
        runner.run(scenario)


async def turns(count: int) -> None:
    """Lets so many pauses pass."""
    loop = asyncio.get_running_loop()
    for _ in range(count):
        for _ in range(5):
            await asyncio.sleep(0)
        for callback in loop.paused[:1]:
            loop.paused.pop(0)
            callback()


def test_one_is_begun_between_two_pauses_and_so_many_run_at_a_time():
    async def scenario():
        app = Application()
        server, first, _ = connect(AsgiHandler(app))
        connections = [first, *[join(server)[0] for _ in range(MAX_RUNNING + 9)]]
        for number, connection in enumerate(connections):
            connection.data_received(GET % number)
        begun = 0
        for _ in range(3 * MAX_RUNNING):
            await turns(1)
            assert len(app.paths) - begun <= 1
            begun = len(app.paths)
        assert begun == MAX_RUNNING
        app.gates["/5"].set()
        await turns(9)
        assert app.paths[MAX_RUNNING:] == [f"/{MAX_RUNNING}"]
        for gate in app.gates.values():
            gate.set()
        await turns(100)
        assert len(app.paths) == MAX_RUNNING + 10

    run(scenario())


def test_a_caller_with_many_requests_does_not_go_before_others():
    async def scenario():
        app = Application()
        server, greedy, _ = connect(AsgiHandler(app))
        modest, _ = join(server)
        greedy.data_received(b"".join(GET % number for number in range(10)))
        modest.data_received(GET % 99)
        await turns(9)
        assert app.paths == ["/0", "/99"]

    run(scenario())


def test_streams_do_not_count():
    async def scenario():
        app = Application()
        app.streams = True
        server, first, _ = connect(AsgiHandler(app))
        connections = [first, *[join(server)[0] for _ in range(MAX_RUNNING + 9)]]
        for number, connection in enumerate(connections):
            connection.data_received(GET % number)
        await turns(4 * MAX_RUNNING)
        assert len(app.paths) == MAX_RUNNING + 10
        for gate in app.gates.values():
            gate.set()
        await turns(9)

    run(scenario())


def test_a_request_whose_caller_has_gone_is_not_begun():
    async def scenario():
        app = Application()
        server, first, _ = connect(AsgiHandler(app))
        first.data_received(GET % 0)
        others = [join(server)[0] for _ in range(2)]
        for number, connection in enumerate(others, 1):
            connection.data_received(GET % number)
        others[0].connection_lost(None)
        await turns(9)
        assert app.paths == ["/0", "/2"]

    run(scenario())


def test_an_application_that_fails_is_one_500_and_the_end_of_the_connection():
    async def broken(scope, receive, send):
        raise ValueError("a fault")

    async def scenario():
        _, connection, transport = connect(AsgiHandler(broken))
        connection.data_received(GET % 1)
        await turns(9)
        assert transport.statuses == [500]
        assert transport.is_ended

    run(scenario())
