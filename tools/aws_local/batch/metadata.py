"""The metadata service of one simulated instance: version 2, tokens required."""

import threading
import time
import uuid

from ..httpd import Answer, listen

TOKEN = "X-aws-ec2-metadata-token"
LIFETIME = "X-aws-ec2-metadata-token-ttl-seconds"


class Metadata:
    """Answers on a port of its own, so that any client can be pointed at it by an endpoint alone."""

    def __init__(self, instance_id, instance_type):
        self.facts = {"instance-id": instance_id, "instance-type": instance_type}
        self.action = None
        self.tokens = set()
        self.server = listen(0, self.respond)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def announce(self, seconds):
        """An interruption that will come in so many seconds."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
        self.action = f'{{"action": "terminate", "time": "{at}"}}'

    def respond(self, method, path, headers, _body):
        if path == "/latest/api/token":
            if method != "PUT" or not (headers.get(LIFETIME) or "").isdigit():
                raise Answer(400, b"")
            token = uuid.uuid4().hex
            self.tokens.add(token)
            return token.encode()
        if headers.get(TOKEN) not in self.tokens:
            raise Answer(401, b"")
        known = {f"/latest/meta-data/{name}": fact for name, fact in self.facts.items()}
        if self.action:
            known["/latest/meta-data/spot/instance-action"] = self.action
        if method != "GET" or path not in known:
            raise Answer(404, b"")
        return known[path].encode()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
