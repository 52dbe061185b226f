"""A proxy in front of one server that does to requests what networks and services do.

Rules are set at `/_faults/rules` (GET, POST to add, PUT to replace, DELETE) or by a file of a JSON
list. A rule names an `action`, the requests it matches (`service`, `operation`, `path`: patterns with
`*`), and which of them it strikes (`probability` with `seed`, `nth`, `times`). Bodies stream through.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import defaultdict, deque
from pathlib import Path
from urllib.parse import urlsplit

from .faults import errors, http1
from .faults.operation import named
from .faults.rules import ACTIONS, BadRule, Rules
from .tether import end_with_parent

CONTROL = "/_faults/"
# Answers that are read whole: one ReceiveMessage, one set of rules.
MAX_READ = 16 << 20
LOGGED = 10_000
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found"}


class Dropped(Exception):
    """Both connections end here, without another word."""


class Proxy:
    def __init__(self, upstream, rules):
        self.host, self.port = upstream.hostname, upstream.port
        self.rules = rules
        # Copies of received messages that wait for another receiver, by queue.
        self.copies = defaultdict(deque)
        self.log = deque(maxlen=LOGGED)

    async def serve(self, reader, writer):
        """One client connection and the one to the server that goes with it."""
        connection = Connection(self, reader, writer)
        try:
            while await connection.exchange():
                pass
        except (Dropped, http1.Malformed, ValueError, EOFError, OSError, asyncio.LimitOverrunError):
            writer.transport.abort()
        finally:
            connection.close()

    def note(self, rule, operation, path):
        self.log.append({"at": time.time(), "action": rule.action, "operation": operation, "path": path})

    async def control(self, method, target, body):
        """Rules and what they did; (status, JSON)."""
        page = target.removeprefix(CONTROL)
        if page == "log":
            return 200, {"struck": list(self.log)}
        if page != "rules":
            return 404, {"error": f"no such page: {page}; there are rules and log"}
        try:
            if method in ("POST", "PUT"):
                given = json.loads(body)
                given = given if isinstance(given, list) else [given]
                fresh = Rules(given)
                self.rules = fresh if method == "PUT" else self.rules
                if method == "POST":
                    self.rules.all += fresh.all
            if method == "DELETE":
                self.rules = Rules()
                self.copies.clear()
        except (BadRule, ValueError, AttributeError, TypeError) as error:
            return 400, {"error": str(error)}
        return 200, self.rules.view()


class Connection:
    def __init__(self, proxy, reader, writer):
        self.proxy, self.reader, self.writer = proxy, reader, writer
        self.upstream = None

    def close(self):
        self.writer.close()
        if self.upstream:
            self.upstream[1].close()

    async def exchange(self):
        """One request and its answer; whether another may follow."""
        head = await http1.read_head(self.reader)
        if head is None:
            return False
        method, target, _ = head.line.split(" ", 2)
        if target.startswith(CONTROL):
            body = await http1.whole(self.reader, head, False, MAX_READ)
            status, answer = await self.proxy.control(method, target, body)
            return await self.answer(status, {"Content-Type": "application/json"}, json.dumps(answer).encode(), method)
        if head.headers.get("expect", "").lower() == "100-continue":
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return await self.struck(head, method, target)

    async def struck(self, head, method, target):
        service, operation, path = named(method, target, head.headers)
        rules = self.proxy.rules.struck(service, operation, path)
        for rule in rules:
            self.proxy.note(rule, operation, path)
        strikes = {rule.action: rule for rule in rules}
        if "delay" in strikes:
            await asyncio.sleep(strikes["delay"].get("seconds", 1.0))
        if "drop_before" in strikes:
            raise Dropped
        error = strikes.get("throttle") or strikes.get("error")
        if error:
            async for _ in http1.pieces(self.reader, head, False):
                pass
            return await self.answer(*errors.answer(service, error, method, head.headers), method)
        if operation == "ReceiveMessage" and (self.proxy.copies or self.proxy.rules.has("duplicate")):
            return await self.receive(head, "drop_after" in strikes, "duplicate" in strikes)
        cut = strikes["drop_during"].get("bytes", 0) if "drop_during" in strikes else None
        await self.pass_on(head, http1.pieces(self.reader, head, False), cut)
        return await self.pass_back(head, method, "drop_after" in strikes)

    async def pass_on(self, head, body, cut=None):
        """Sends a request to the server, `cut` bytes of its body at most."""
        if self.upstream is None:
            self.upstream = await asyncio.open_connection(self.proxy.host, self.proxy.port, limit=http1.MAX_HEAD)
        _, writer = self.upstream
        writer.write(head.raw())
        sent = 0
        try:
            async for piece in body:
                if cut is not None and sent + len(piece) > cut:
                    writer.write(piece[: cut - sent])
                    await writer.drain()
                    raise Dropped
                writer.write(piece)
                sent += len(piece)
                await writer.drain()
        except ConnectionError:
            # A server that has heard enough answers and closes; its answer is read next.
            pass

    async def pass_back(self, request, method, dropped):
        """Passes the server's answer to the client, or only waits for it."""
        reader, writer = self.upstream
        head = await answer_head(reader)
        status = int(head.line.split(" ", 2)[1])
        if not dropped:
            self.writer.write(head.raw())
        if http1.has_body(method, status):
            async for piece in http1.pieces(reader, head, True):
                if not dropped:
                    self.writer.write(piece)
                    await self.writer.drain()
        await self.writer.drain()
        if dropped:
            raise Dropped
        framed = head.is_chunked() or head.length() is not None or not http1.has_body(method, status)
        if not head.keeps_alive():
            writer.close()
            self.upstream = None
        return framed and request.keeps_alive()

    async def receive(self, head, dropped, duplicated):
        """A ReceiveMessage: answered by copies that wait, else passed on, and its messages copied."""
        body = await http1.whole(self.reader, head, False, MAX_READ)
        asked = json.loads(body)
        copies = self.proxy.copies[asked.get("QueueUrl")]
        if copies:
            count = min(len(copies), int(asked.get("MaxNumberOfMessages") or 1))
            answer = {"Messages": [copies.popleft() for _ in range(count)]}
            return await self.answer(200, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(answer).encode())
        # The copies that others make while this one polls go to others.
        await self.pass_on(head, once(body))
        reader, writer = self.upstream
        answered = await answer_head(reader)
        raw = await http1.whole(reader, answered, True, MAX_READ)
        if duplicated:
            messages = json.loads(raw or b"{}").get("Messages") or []
            copies.extend(again(message) for message in messages)
        if dropped:
            raise Dropped
        self.writer.write(answered.raw() + raw)
        await self.writer.drain()
        if not answered.keeps_alive():
            writer.close()
            self.upstream = None
        return head.keeps_alive() and answered.length() is not None

    async def answer(self, status, headers, body, method="GET"):
        head = http1.Head(f"HTTP/1.1 {status} {REASONS.get(status, 'Injected')}", list(headers.items()))
        head.fields.append(("Content-Length", str(len(body))))
        self.writer.write(head.raw() + (b"" if method == "HEAD" else body))
        await self.writer.drain()
        return True


async def answer_head(reader):
    """The head of a final answer: interim ones are the proxy's own business."""
    while True:
        head = await http1.read_head(reader)
        if head is None:
            raise Dropped
        if not head.line.split(" ", 2)[1].startswith("1"):
            return head


async def once(body):
    yield body


def again(message):
    """A message as another receiver gets it: received once more."""
    attributes = dict(message.get("Attributes") or {})
    if "ApproximateReceiveCount" in attributes:
        attributes["ApproximateReceiveCount"] = str(int(attributes["ApproximateReceiveCount"]) + 1)
    return {**message, "Attributes": attributes}


async def run(port, upstream, rules):
    proxy = Proxy(urlsplit(upstream), rules)
    server = await asyncio.start_server(
        proxy.serve, "127.0.0.1", port, limit=http1.MAX_HEAD, backlog=512
    )
    print(f"listening {server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


def main():
    actions = "\n".join(f"  {name:12} {text}" for name, text in ACTIONS.items())
    flags = argparse.ArgumentParser(
        prog="fault_proxy",
        description=__doc__,
        epilog=f"actions:\n{actions}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add_argument("--port", type=int, default=0, help="default: a free one")
    flags.add_argument("--upstream", required=True, help="address of the server")
    flags.add_argument("--rules", type=Path, help="a file of rules to begin with")
    given = flags.parse_args()
    try:
        rules = Rules(json.loads(given.rules.read_text()) if given.rules else [])
    except (BadRule, ValueError) as error:
        sys.exit(f"error: {given.rules}: {error}")
    end_with_parent(grace=0.5)
    asyncio.run(run(given.port, given.upstream, rules))


if __name__ == "__main__":
    main()
