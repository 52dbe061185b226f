"""Queues, definitions and compute environments: moto holds them, this asks for them."""

import http.client
import json
import time
from urllib.parse import urlsplit

from ..places import REGION
from .submission import Refused

# Terraform may change them behind our back, at moto itself.
FRESH_SECONDS = 1.0


class Catalogue:
    def __init__(self, upstream):
        self.upstream = urlsplit(upstream)
        self.known, self.asked_at = {}, 0.0

    def forward(self, method, path, headers, body):
        """Passes a request on; returns status and body."""
        scope = f"test/20260101/{REGION}/batch/aws4_request"
        signature = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
        passed = {"Content-Type": "application/json", "Authorization": headers.get("Authorization") or signature}
        connection = http.client.HTTPConnection(self.upstream.hostname, self.upstream.port, timeout=30)
        try:
            connection.request(method, path, body, passed)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ask(self, operation, **body):
        status, raw = self.forward("POST", f"/v1/{operation}", {}, json.dumps(body).encode())
        if status != 200:
            raise Refused(json.loads(raw or b"{}").get("message", f"{operation}: {status}"))
        return json.loads(raw)

    def queue(self, reference):
        name = reference.split("/")[-1]
        found = self.ask("describejobqueues", jobQueues=[name])["jobQueues"] if name else []
        if not found:
            raise Refused(f"JobQueue {reference} not found")
        if found[0]["state"] != "ENABLED":
            raise Refused(f"JobQueue {reference} is disabled")
        return found[0]

    def definition(self, reference):
        """The revision that is named, or the latest."""
        name, _, revision = reference.split("/")[-1].partition(":")
        found = self.ask("describejobdefinitions", jobDefinitionName=name, status="ACTIVE")["jobDefinitions"]
        found = [each for each in found if not revision or str(each["revision"]) == revision]
        if not name or not found:
            raise Refused(f"JobDefinition {reference} not found")
        return max(found, key=lambda each: each["revision"])

    def environments(self):
        """All compute environments by name, as fresh as they need to be."""
        if time.monotonic() - self.asked_at > FRESH_SECONDS:
            found = self.ask("describecomputeenvironments")["computeEnvironments"]
            self.known = {each["computeEnvironmentName"]: each for each in found}
            self.asked_at = time.monotonic()
        return self.known

    def forget(self):
        """What was known may have changed."""
        self.asked_at = 0.0
