"""The few calls that setting up needs, without an SDK."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request

from .places import REGION


class Refused(Exception):
    """A server's answer that is not a success."""

    def __init__(self, status, text):
        super().__init__(f"{status}: {text[:300]}")
        self.status, self.text = status, text


def call(url, service, method="POST", headers=(), body=b"", timeout=30):
    """One request, with a signature that nobody checks: its scope tells which service is meant."""
    scope = f"test/20260101/{REGION}/{service}/aws4_request"
    signature = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
    request = urllib.request.Request(
        url, data=body, method=method, headers={"Authorization": signature, **dict(headers)}
    )
    try:
        with opener.open(request, timeout=timeout) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        raise Refused(error.code, error.read().decode(errors="replace")) from None


# Loopback is never behind a proxy.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def json_call(url, service, target, body):
    """A call of the services that name the operation in a header: SQS, DynamoDB."""
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": target}
    return json.loads(call(url, service, headers=headers, body=json.dumps(body).encode()) or b"{}")


def rest_call(url, service, path, body):
    """A call of the services that name the operation in the path: Batch."""
    headers = {"Content-Type": "application/json"}
    return json.loads(call(url + path, service, headers=headers, body=json.dumps(body).encode()) or b"{}")


def query_call(url, service, version, action, **parameters):
    """A call of the oldest kind, answered in XML: IAM, EC2."""
    form = urllib.parse.urlencode({"Action": action, "Version": version, **parameters})
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return call(url, service, headers=headers, body=form.encode()).decode()


def elements(xml, name):
    """The texts of all elements of a name."""
    return re.findall(rf"<{name}>([^<]*)</{name}>", xml)
