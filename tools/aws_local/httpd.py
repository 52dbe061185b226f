"""The plain HTTP server under our servers: JSON in, JSON out, loopback only."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOOPBACK = "127.0.0.1"
# Above what the services that are played accept.
MAX_BODY = 4 << 20


class Answer(Exception):
    """An answer that is not the plain success: raised from anywhere in a handler."""

    def __init__(self, status, body, headers=()):
        super().__init__(status, body)
        self.status, self.body, self.headers = status, body, dict(headers)


class Handler(BaseHTTPRequestHandler):
    """Calls `respond(method, path, headers, body)` for each request; it returns JSON or bytes."""

    protocol_version = "HTTP/1.1"
    # Head and body leave in one packet: otherwise each answer waits for an acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True
    timeout = 60

    def respond(self, method, path, headers, body):
        raise NotImplementedError

    def serve(self):
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 <= length <= MAX_BODY:
            self.close_connection = True
            return self.answer(413, {"message": "too large"})
        body = self.rfile.read(length)
        try:
            self.answer(200, self.respond(self.command, self.path, self.headers, body))
        except Answer as answer:
            self.answer(answer.status, answer.body, answer.headers)

    do_GET = do_POST = do_PUT = do_DELETE = serve

    def answer(self, status, body, headers=()):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = "text/plain; charset=utf-8" if isinstance(body, bytes) else "application/json"
        self.send_response(status)
        for name, value in {"Content-Type": kind, **dict(headers)}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)
        self.wfile.flush()

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def listen(port, respond):
    """A server on loopback, not yet serving; port 0 is a free one."""
    handler = type("Bound", (Handler,), {"respond": staticmethod(respond)})
    return Server((LOOPBACK, port), handler)
