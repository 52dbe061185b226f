"""The fault proxy in front of MiniStack, and of a server of raw bytes."""

import http.client
import json
import socket
import tempfile
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import cbor2
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError

from .. import servers, wire
from ..faults.operation import named

LOST = (ConnectionClosedError, HTTPClientError)
MEBIBYTE = 1 << 20


class Faults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        state = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.ministack = servers.start_ministack(state, 0, persist=False)
        cls.addClassCleanup(cls.ministack.stop)
        cls.ministack.wait_until_answers("/_ministack/health")
        cls.state, cls.proxy = state, cls.proxy_of(state, cls.ministack.url)
        cls.addClassCleanup(cls.proxy.stop)

    @staticmethod
    def proxy_of(state, upstream):
        return servers.start_own("fault_proxy", "faults", ["--upstream", upstream], state)

    def setUp(self):
        self.rules("DELETE")

    def client(self, service, url=None):
        config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, max_pool_connections=64)
        return boto3.client(service, endpoint_url=url or self.proxy.url, region_name="us-east-1", config=config,
                            aws_access_key_id="test", aws_secret_access_key="test")  # fmt: skip

    def rules(self, method, *rules, proxy=None):
        body = json.dumps(rules).encode()
        answer = wire.call((proxy or self.proxy).url + "/_faults/rules", "local", method, body=body)
        return json.loads(answer)["rules"]

    def queue(self, name):
        sqs = self.client("sqs")
        return sqs, sqs.create_queue(QueueName=name)["QueueUrl"]

    def depth(self, url):
        asked = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=asked)["Attributes"]
        return sum(map(int, attributes.values()))

    def test_without_rules_everything_passes(self):
        s3 = self.client("s3")
        s3.create_bucket(Bucket="plain")
        body = bytes(range(256)) * (20 * MEBIBYTE // 256)
        s3.put_object(Bucket="plain", Key="a/b c+d", Body=body)
        self.assertEqual(s3.get_object(Bucket="plain", Key="a/b c+d")["Body"].read(), body)
        self.assertEqual(s3.head_object(Bucket="plain", Key="a/b c+d")["ContentLength"], len(body))
        with self.assertRaises(ClientError):
            s3.head_object(Bucket="plain", Key="absent")
        s3.delete_object(Bucket="plain", Key="a/b c+d")
        self.assertEqual(s3.list_objects_v2(Bucket="plain")["KeyCount"], 0)

    def test_a_request_that_is_dropped_before_never_arrives(self):
        sqs, url = self.queue("before")
        self.rules("POST", {"operation": "SendMessage", "action": "drop_before", "nth": 2})
        sqs.send_message(QueueUrl=url, MessageBody="1")
        with self.assertRaises(LOST):
            sqs.send_message(QueueUrl=url, MessageBody="2")
        sqs.send_message(QueueUrl=url, MessageBody="3")
        self.assertEqual(self.depth(url), 2)

    def test_a_request_whose_answer_is_lost_took_effect(self):
        sqs, url = self.queue("after")
        self.rules("POST", {"service": "sqs", "operation": "Send*", "action": "drop_after", "times": 1})
        with self.assertRaises(LOST):
            sqs.send_message(QueueUrl=url, MessageBody="1")
        sqs.send_message(QueueUrl=url, MessageBody="2")
        self.assertEqual(self.depth(url), 2)

    def test_an_upload_can_end_in_the_middle(self):
        s3 = self.client("s3")
        s3.create_bucket(Bucket="cut")
        self.rules("POST", {"operation": "PutObject", "action": "drop_during", "bytes": 1000, "times": 1})
        with self.assertRaises(LOST):
            s3.put_object(Bucket="cut", Key="a", Body=b"x" * MEBIBYTE)
        self.assertEqual(s3.list_objects_v2(Bucket="cut")["KeyCount"], 0)
        s3.put_object(Bucket="cut", Key="a", Body=b"x" * MEBIBYTE)

    def test_each_service_is_throttled_in_its_own_words(self):
        self.rules("POST", {"action": "throttle"})
        self.error("SlowDown", 503, self.client("s3").get_object, Bucket="b", Key="k")
        self.error("ThrottlingException", 400, self.client("dynamodb").list_tables)
        self.error("ThrottlingException", 400, self.client("sqs").list_queues)
        self.error("TooManyRequestsException", 429, self.client("batch").list_jobs, jobQueue="q")
        self.error("503", 503, self.client("s3").head_object, Bucket="b", Key="k")

    def test_metrics_are_refused_in_cbor(self):
        self.rules("POST", {"service": "monitoring", "operation": "PutMetricData", "action": "throttle"})
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.port)
        scope = "Credential=test/20260101/us-east-1/monitoring/aws4_request, SignedHeaders=host, Signature=0"
        headers = {"smithy-protocol": "rpc-v2-cbor", "Authorization": f"AWS4-HMAC-SHA256 {scope}"}
        path = "/service/GraniteServiceVersion20100801/operation/PutMetricData"
        connection.request("POST", path, cbor2.dumps({"Namespace": "Test"}), headers)
        answer = connection.getresponse()
        self.assertEqual((answer.status, answer.headers["smithy-protocol"]), (400, "rpc-v2-cbor"))
        self.assertTrue(cbor2.loads(answer.read())["__type"].endswith("#Throttling"))
        connection.close()

    def test_errors_and_their_codes_can_be_chosen(self):
        rule = {"service": "dynamodb", "action": "error", "status": 400,
                "code": "ProvisionedThroughputExceededException", "times": 1}  # fmt: skip
        self.rules("POST", rule, {"service": "dynamodb", "action": "error", "nth": 2})
        dynamodb = self.client("dynamodb")
        self.error("ProvisionedThroughputExceededException", 400, dynamodb.list_tables)
        self.error("InternalServerError", 500, dynamodb.list_tables)
        dynamodb.list_tables()

    def error(self, code, status, call, **arguments):
        with self.assertRaises(ClientError) as caught:
            call(**arguments)
        response = caught.exception.response
        told = (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"])
        self.assertEqual(told, (code, status))

    def test_a_duplicated_message_goes_to_another_receiver_too(self):
        sqs, url = self.queue("twice")
        self.rules("POST", {"action": "duplicate", "nth": 1})
        sent = {sqs.send_message(QueueUrl=url, MessageBody=str(n))["MessageId"] for n in range(3)}
        asked = {"QueueUrl": url, "MaxNumberOfMessages": 10, "AttributeNames": ["ApproximateReceiveCount"]}
        first = sqs.receive_message(**asked)["Messages"]
        second = self.client("sqs").receive_message(**asked)["Messages"]
        self.assertEqual({each["MessageId"] for each in first}, sent)
        self.assertEqual({each["MessageId"] for each in second}, sent)
        self.assertEqual({each["Attributes"]["ApproximateReceiveCount"] for each in second}, {"2"})
        self.assertNotIn("Messages", sqs.receive_message(**asked))
        for each in first:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
        self.assertEqual(self.depth(url), 0)

    def test_a_seed_gives_the_same_faults_again(self):
        sqs, _ = self.queue("seeded")
        rule = {"operation": "ListQueues", "action": "error", "probability": 0.5, "seed": 7}

        def outcomes():
            self.rules("PUT", rule)
            for _ in range(20):
                try:
                    sqs.list_queues()
                    yield True
                except ClientError:
                    yield False

        first = list(outcomes())
        self.assertEqual(first, list(outcomes()))
        self.assertEqual(len(set(first)), 2)
        (seen,) = self.rules("GET")
        self.assertEqual((seen["matched"], seen["struck"]), (20, first.count(False)))

    def test_many_connections_wait_side_by_side(self):
        # One after another they would take ten minutes.
        self.rules("POST", {"path": "/_ministack/health", "action": "delay", "seconds": 2.0})

        def ask(_):
            wire.opener.open(f"{self.proxy.url}/_ministack/health", timeout=60).read()

        with ThreadPoolExecutor(300) as threads:
            self.assertEqual(len(list(threads.map(ask, range(300)))), 300)

    def test_rules_that_cannot_be_meant_are_refused(self):
        for rule, words in [({"action": "explode"}, "no such action"), ({"action": "delay", "after": 1}, "after")]:
            with self.assertRaises(wire.Refused) as caught:
                self.rules("POST", rule)
            self.assertIn(words, str(caught.exception))
        self.assertEqual(self.rules("GET"), [])

    def test_chunks_and_kept_connections_pass_unchanged(self):
        with Scripted([CHUNKED, CHUNKED, UNTIL_CLOSE]) as script:
            proxy = self.proxy_of(self.state, script.url)
            self.addCleanup(proxy.stop)
            connection = http.client.HTTPConnection("127.0.0.1", proxy.port)
            for expected in (b"hello world", b"hello world", b"until the end"):
                connection.request("POST", "/", iter([b"one", b"two"]), encode_chunked=True,
                                   headers={"Transfer-Encoding": "chunked"})  # fmt: skip
                self.assertEqual(connection.getresponse().read(), expected)
            connection.close()
            self.assertEqual(script.connections, 1)
            self.assertEqual(script.received.count(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"), 3)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nT: 1\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nuntil the end"


class Scripted:
    """A server of one connection that answers each request by the next bytes of a script."""

    def __init__(self, answers):
        self.answers, self.received, self.connections = answers, b"", 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.thread = threading.Thread(target=self.serve)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.socket.close()
        self.thread.join()

    def serve(self):
        peer, _ = self.socket.accept()
        self.connections += 1
        with peer:
            for number, answer in enumerate(self.answers, 1):
                while self.received.count(b"\r\n0\r\n\r\n") < number:
                    self.received += peer.recv(4096)
                peer.sendall(answer)


class Names(unittest.TestCase):
    def test_requests_are_known_by_their_heads(self):
        def scope(service):
            return {"authorization": f"AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/{service}/aws4_request, ..."}

        cases = [
            (("PUT", "/b/k?partNumber=1&uploadId=u", scope("s3")), ("s3", "UploadPart", "/b/k")),
            (("POST", "/b/a%2Fb?uploads=", scope("s3")), ("s3", "CreateMultipartUpload", "/b/a/b")),
            (("GET", "/b?list-type=2&prefix=x", scope("s3")), ("s3", "ListObjectsV2", "/b")),
            (("GET", "/b/k?X-Amz-Signature=0", {}), ("s3", "GetObject", "/b/k")),
            (("POST", "/", {**scope("sqs"), "x-amz-target": "AmazonSQS.DeleteMessage"}), ("sqs", "DeleteMessage", "/")),
            (("POST", "/v1/submitjob", scope("batch")), ("batch", "SubmitJob", "/v1/submitjob")),
            (("GET", "/health", {}), ("", "", "/health")),
        ]
        for request, name in cases:
            self.assertEqual(named(*request), name)


if __name__ == "__main__":
    unittest.main()
