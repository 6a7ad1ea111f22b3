"""A real HTTP server for the tests of the load generator, in a process of its own, that can be told to misbehave.

    python tiny_server.py '{"freeze_at_s": 0.5, "freeze_s": 0.5}'     prints its port; ends when stdin ends

Frozen means frozen: the process does nothing at all, as in a long garbage collection. Times count from the first
request.
"""

import asyncio
import json
import sys
import time


class TinyServer(asyncio.Protocol):
    options: dict
    first_request_s = 0.0
    requests = 0

    def connection_made(self, transport):
        self.transport = transport
        self.buffer = b""

    def data_received(self, data):
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, rest = self.buffer.partition(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            if len(rest) < length:
                return
            self.buffer = rest[length:]
            self.answer()

    def answer(self):
        cls, options = TinyServer, self.options
        cls.requests += 1
        number = cls.requests
        cls.first_request_s = cls.first_request_s or time.monotonic()
        freeze_at_s = options.get("freeze_at_s")
        if freeze_at_s is not None and time.monotonic() - cls.first_request_s >= freeze_at_s:
            options["freeze_at_s"] = None
            time.sleep(options["freeze_s"])
        if number in options.get("hang_up_at", []):
            self.transport.close()
        elif number in options.get("silent_at", []):
            pass
        else:
            status = options.get("statuses", {}).get(str(number), "200 OK")
            version = "3.2" if number > options.get("second_version_after", 1 << 60) else "3.1"
            body = b'{"churn_probability":0.5}'
            head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nx-model-version: {version}\r\n\r\n"
            self.transport.write(head.encode() + body)


async def main():
    TinyServer.options = json.loads(sys.argv[1])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(TinyServer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
