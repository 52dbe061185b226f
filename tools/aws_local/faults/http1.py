"""HTTP/1.1 as far as a proxy needs it: heads are read, bodies are passed on as they come."""

from dataclasses import dataclass, field

# Of a head as a whole, and of one line.
MAX_HEAD = 64 << 10
PIECE = 64 << 10
# These speak of one connection, not of the message.
OF_THE_CONNECTION = {"connection", "keep-alive", "proxy-connection", "te", "upgrade", "expect"}


class Malformed(Exception):
    """Not the HTTP that was expected."""


@dataclass
class Head:
    """A first line and its fields, whose names are kept as they were written."""

    line: str
    fields: list = field(default_factory=list)

    @property
    def headers(self):
        return {name.lower(): value for name, value in self.fields}

    def raw(self):
        kept = [(name, value) for name, value in self.fields if name.lower() not in OF_THE_CONNECTION]
        text = "".join(f"{name}: {value}\r\n" for name, value in kept)
        return f"{self.line}\r\n{text}\r\n".encode("latin-1")

    def keeps_alive(self):
        connection = self.headers.get("connection", "").lower()
        return "close" not in connection and not self.line.startswith("HTTP/1.0") and "HTTP/1.0" not in self.line

    def is_chunked(self):
        return "chunked" in self.headers.get("transfer-encoding", "").lower()

    def length(self):
        """The declared length of the body, or None."""
        value = self.headers.get("content-length")
        if value is None:
            return None
        if not value.isdigit():
            raise Malformed(f"Content-Length: {value}")
        return int(value)


async def read_head(reader):
    """The next head, or None where the connection ended before one began."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except EOFError as ended:
        if not ended.partial.strip():
            return None
        raise Malformed("the connection ended within a head") from None
    lines = raw.decode("latin-1").split("\r\n")
    fields = [line.partition(":") for line in lines[1:] if line]
    return Head(lines[0], [(name.strip(), value.strip()) for name, _, value in fields])


async def pieces(reader, head, until_close):
    """The body after a head, framing included, so that it can be passed on byte for byte."""
    if head.is_chunked():
        async for piece in chunks(reader):
            yield piece
    elif head.length() is not None:
        left = head.length()
        while left:
            piece = await reader.read(min(left, PIECE))
            if not piece:
                raise Malformed("the connection ended within a body")
            left -= len(piece)
            yield piece
    elif until_close:
        while piece := await reader.read(PIECE):
            yield piece


async def chunks(reader):
    while True:
        line = await reader.readuntil(b"\r\n")
        yield line
        size = int(line.split(b";")[0], 16)
        if size == 0:
            break
        left = size + 2
        while left:
            piece = await reader.read(min(left, PIECE))
            if not piece:
                raise Malformed("the connection ended within a chunk")
            left -= len(piece)
            yield piece
    # Trailers, and the empty line that ends them.
    while True:
        line = await reader.readuntil(b"\r\n")
        yield line
        if line == b"\r\n":
            return


def has_body(method, status):
    """Whether an answer has a body, whatever its fields say."""
    return method != "HEAD" and status not in (204, 304) and status >= 200


async def whole(reader, head, until_close, limit):
    """A body that must be looked into, without its framing."""
    if head.is_chunked():
        raise Malformed("a chunked body that would have to be read")
    body = b""
    async for piece in pieces(reader, head, until_close):
        body += piece
        if len(body) > limit:
            raise Malformed("a body too large to be read")
    return body
