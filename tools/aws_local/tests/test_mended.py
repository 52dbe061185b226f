"""What is mended in MiniStack: whole-object checksums, sizes and order of parts."""

import base64
import struct
import tempfile
import unittest
from pathlib import Path

import boto3
from awscrt import checksums
from botocore.config import Config
from botocore.exceptions import ClientError

from .. import servers

PART = 5 << 20


def checksum(body):
    return base64.b64encode(struct.pack(">Q", checksums.crc64nvme(body))).decode()


class Mended(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        state = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        server = servers.start_ministack(state, 0, persist=False)
        cls.addClassCleanup(server.stop)
        server.wait_until_answers("/_ministack/health")
        config = Config(s3={"addressing_style": "path"})
        cls.s3 = boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", config=config,
                              aws_access_key_id="test", aws_secret_access_key="test")  # fmt: skip
        cls.s3.create_bucket(Bucket="mended")

    def upload(self, key, parts, **begin):
        """Uploads parts; returns what completes them."""
        begun = self.s3.create_multipart_upload(Bucket="mended", Key=key, **begin)
        which = {"Bucket": "mended", "Key": key, "UploadId": begun["UploadId"]}
        done = []
        for number, body in enumerate(parts, 1):
            algorithm = begin.get("ChecksumAlgorithm", "CRC32")
            part = self.s3.upload_part(**which, PartNumber=number, Body=body, ChecksumAlgorithm=algorithm)
            done.append({"PartNumber": number, "ETag": part["ETag"]})
        return which, done

    def complete(self, which, parts, **more):
        return self.s3.complete_multipart_upload(**which, MultipartUpload={"Parts": parts}, **more)

    def refused(self, code, call):
        with self.assertRaises(ClientError) as caught:
            call()
        self.assertEqual(caught.exception.response["Error"]["Code"], code)

    def test_a_whole_objects_checksum_is_compared(self):
        parts = [b"a" * PART, b"b" * 1000]
        kind = {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"}
        which, done = self.upload("whole", parts, **kind)
        wrong = {"ChecksumCRC64NVME": checksum(b"other"), "ChecksumType": "FULL_OBJECT"}
        self.refused("BadDigest", lambda: self.complete(which, done, **wrong))
        right = checksum(b"".join(parts))
        answer = self.complete(which, done, ChecksumCRC64NVME=right, ChecksumType="FULL_OBJECT")
        self.assertEqual((answer["ChecksumCRC64NVME"], answer["ChecksumType"]), (right, "FULL_OBJECT"))
        head = self.s3.head_object(Bucket="mended", Key="whole", ChecksumMode="ENABLED")
        self.assertEqual((head["ChecksumCRC64NVME"], head["ChecksumType"]), (right, "FULL_OBJECT"))

    def test_other_checksums_are_of_the_parts(self):
        which, done = self.upload("parts", [b"a" * PART, b"b"], ChecksumAlgorithm="CRC32")
        self.assertTrue(self.complete(which, done)["ChecksumCRC32"].endswith("-2"))

    def test_small_parts_and_parts_out_of_order_are_refused(self):
        which, done = self.upload("small", [b"a" * (PART - 1), b"b"])
        self.refused("EntityTooSmall", lambda: self.complete(which, done))
        which, done = self.upload("order", [b"a" * PART, b"b" * PART])
        self.refused("InvalidPartOrder", lambda: self.complete(which, done[::-1]))
        self.complete(which, done)

    def test_a_single_put_is_checked(self):
        body = bytes(16 << 20)
        self.s3.put_object(Bucket="mended", Key="put", Body=body, ChecksumCRC64NVME=checksum(body))
        wrong = checksum(b"x")
        self.refused("BadDigest", lambda: self.s3.put_object(Bucket="mended", Key="put", Body=b"y", ChecksumCRC64NVME=wrong))


if __name__ == "__main__":
    unittest.main()
