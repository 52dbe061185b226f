"""Errors as each service words them."""

import json
from xml.sax.saxutils import escape

# Status and code of "too many requests", and of "it broke".
THROTTLED = {
    "s3": (503, "SlowDown"),
    "sqs": (400, "ThrottlingException"),
    "dynamodb": (400, "ThrottlingException"),
    "monitoring": (400, "Throttling"),
    "batch": (429, "TooManyRequestsException"),
}
BROKEN = {
    "s3": (500, "InternalError"),
    "sqs": (500, "InternalError"),
    "dynamodb": (500, "InternalServerError"),
    "monitoring": (500, "InternalFailure"),
    "batch": (500, "ServerException"),
}
NAMESPACES = {"sqs": "com.amazonaws.sqs", "dynamodb": "com.amazonaws.dynamodb.v20120810"}


def answer(service, rule, method, headers):
    """Status, headers and body of the error that a rule asks for."""
    known = THROTTLED if rule.action == "throttle" else BROKEN
    status, code = known.get(service, (500, "InternalFailure"))
    status, code = rule.get("status", status), rule.get("code", code)
    message = "injected by a fault rule"
    if service == "s3":
        body = f"<Error><Code>{escape(code)}</Code><Message>{message}</Message><RequestId>0</RequestId></Error>"
        return status, {"Content-Type": "application/xml"}, b"" if method == "HEAD" else body.encode()
    if headers.get("smithy-protocol") == "rpc-v2-cbor":
        shape = f"com.amazonaws.cloudwatch.v2010_08_01#{code}"
        kind = {"Content-Type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}
        return status, kind, cbor_map({"__type": shape, "message": message})
    if service == "batch":
        kind = {"Content-Type": "application/json", "x-amzn-ErrorType": code}
        return status, kind, json.dumps({"message": message}).encode()
    prefix = NAMESPACES.get(service)
    shape = f"{prefix}#{code}" if prefix else code
    kind = {"Content-Type": "application/x-amz-json-1.0"}
    return status, kind, json.dumps({"__type": shape, "message": message}).encode()


def cbor_map(texts):
    """A map of texts, each of fewer than 256 bytes, as CBOR (RFC 8949)."""
    return bytes([0xA0 | len(texts)]) + b"".join(cbor_text(each) for pair in texts.items() for each in pair)


def cbor_text(text):
    raw = text.encode()
    return (bytes([0x60 | len(raw)]) if len(raw) < 24 else bytes([0x78, len(raw)])) + raw
