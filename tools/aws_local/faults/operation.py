"""Which call of which service a request is, told from its head alone."""

import re
from urllib.parse import parse_qs, unquote, urlsplit

SCOPE = re.compile(r"Credential=[^/]+/\d{8}/[^/]+/([a-z0-9-]+)/aws4_request")
CBOR_PATH = re.compile(r"/service/[^/]+/operation/([A-Za-z0-9]+)")

# S3 names its calls by method, whether the path has a key, and a word of the query.
S3_CALLS = [
    ("POST", True, "uploads", "CreateMultipartUpload"),
    ("POST", True, "uploadId", "CompleteMultipartUpload"),
    ("PUT", True, "uploadId", "UploadPart"),
    ("DELETE", True, "uploadId", "AbortMultipartUpload"),
    ("GET", True, "uploadId", "ListParts"),
    ("GET", False, "uploads", "ListMultipartUploads"),
    ("POST", False, "delete", "DeleteObjects"),
    ("GET", False, "list-type", "ListObjectsV2"),
    ("PUT", True, None, "PutObject"),
    ("GET", True, None, "GetObject"),
    ("HEAD", True, None, "HeadObject"),
    ("DELETE", True, None, "DeleteObject"),
    ("PUT", False, None, "CreateBucket"),
    ("HEAD", False, None, "HeadBucket"),
    ("GET", False, None, "ListObjects"),
]
# Batch names its calls by path, in lower case.
BATCH_CALLS = {
    name.lower(): name
    for name in (
        "SubmitJob", "DescribeJobs", "ListJobs", "CancelJob", "TerminateJob", "DescribeJobQueues",
        "DescribeComputeEnvironments", "UpdateComputeEnvironment", "UpdateJobQueue",
        "RegisterJobDefinition", "DescribeJobDefinitions",
    )
}  # fmt: skip


def named(method, target, headers):
    """(service, operation, path) of a request; a name that cannot be told is empty."""
    parts = urlsplit(target)
    path, query = unquote(parts.path), parse_qs(parts.query, keep_blank_values=True)
    scope = SCOPE.search(headers.get("authorization", ""))
    service = scope[1] if scope else ""
    if "x-amz-target" in headers:
        return service, headers["x-amz-target"].rpartition(".")[2], path
    if cbor := CBOR_PATH.fullmatch(parts.path):
        return service, cbor[1], path
    if path.startswith("/v1/"):
        return service or "batch", BATCH_CALLS.get(path[4:], path[4:]), path
    if service == "s3" or "X-Amz-Signature" in query:
        return "s3", s3_call(method, path, query), path
    return service, "", path


def s3_call(method, path, query):
    has_key = len(path.strip("/").split("/", 1)) == 2
    for its_method, with_key, word, name in S3_CALLS:
        if (its_method, with_key) == (method, has_key) and (word is None or word in query):
            return name
    return ""
