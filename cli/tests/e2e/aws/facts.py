"""What lies in the stand-in's services, as JSON: asked by boto3, so that podrun is no witness of its own."""

import collections
import datetime
import hashlib
import json
import sys

import boto3

SLUG = "show"
RAW, STAGE, MANIFESTS = (f"pod-insights-{name}" for name in ("raw", "stage", "manifests"))
s3, sqs, dynamodb, cloudwatch, batch = map(
    boto3.client, ("s3", "sqs", "dynamodb", "cloudwatch", "batch")
)


def objects(bucket):
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [found["Key"] for page in pages for found in page.get("Contents", [])]


def read(bucket, key):
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def raw():
    keys = objects(RAW)
    audio = {
        key.split("/")[1]: hashlib.sha256(read(RAW, key)).hexdigest()
        for key in keys
        if "/audio/" in key
    }
    metas = {key.split("/")[1]: json.loads(read(RAW, key)) for key in keys if key.endswith("/meta/meta.json")}
    digests = {guid: meta["audio"]["sha256"] for guid, meta in metas.items()}
    uploads = s3.list_multipart_uploads(Bucket=RAW).get("Uploads", [])
    return {"objects": len(keys), "audio": audio, "metas": digests, "uploads": len(uploads)}


def staged():
    names = collections.Counter(key.split("/", 2)[2] for key in objects(STAGE))
    texts = {
        key.split("/")[1]: json.loads(read(STAGE, key))["text"]
        for key in objects(STAGE)
        if key.endswith("/transcripts/transcript.json")
    }
    return {"objects": dict(names), "texts": texts}


def queues():
    counts = {}
    for name in ("fetch", "fetch-dlq", "transcribe", "transcribe-dlq"):
        url = sqs.get_queue_url(QueueName=f"podinsights-{name}")["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        counts[name] = sum(int(attributes[f"ApproximateNumberOfMessages{kind}"]) for kind in ("", "NotVisible", "Delayed"))
    return counts


def dead_letters():
    """Guids of the episodes that were set aside; asking hides them for a moment."""
    url = sqs.get_queue_url(QueueName="podinsights-fetch-dlq")["QueueUrl"]
    guids = set()
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        guids.update(json.loads(message["Body"])["job"]["episode"]["id"]["guid"] for message in messages)
    return sorted(guids)


def states():
    pages = dynamodb.get_paginator("scan").paginate(TableName="podinsights-status")
    items = [item for page in pages for item in page["Items"]]
    counted = collections.Counter(f"{item['sk']['S']} {item['state']['S']}" for item in items)
    return dict(counted)


def metrics():
    """Sums and counts of the metrics that workers sent, by name."""
    now = datetime.datetime.now(datetime.timezone.utc)
    sums = {}
    for metric in cloudwatch.list_metrics(Namespace="PodInsights")["Metrics"]:
        points = cloudwatch.get_metric_statistics(
            Namespace="PodInsights",
            MetricName=metric["MetricName"],
            Dimensions=metric["Dimensions"],
            StartTime=now - datetime.timedelta(hours=3),
            EndTime=now + datetime.timedelta(hours=1),
            Period=3600,
            Statistics=["Sum", "SampleCount"],
        )["Datapoints"]
        name = " ".join([metric["MetricName"], *(d["Value"] for d in metric["Dimensions"])])
        sums[name] = [sum(p["Sum"] for p in points), sum(p["SampleCount"] for p in points)]
    return sums


def jobs():
    found = []
    for stage in ("fetch", "transcribe"):
        for status in ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED"):
            listed = batch.list_jobs(jobQueue=f"podrun-{stage}", jobStatus=status)["jobSummaryList"]
            found += [
                {"name": job["jobName"], "status": status, "size": job.get("arrayProperties", {}).get("size", 1)}
                for job in listed
            ]
    return found


KINDS = {"raw": raw, "staged": staged, "queues": queues, "states": states, "metrics": metrics, "jobs": jobs, "dead_letters": dead_letters}
json.dump({name: KINDS[name]() for name in sys.argv[1:] or [name for name in KINDS if name != "dead_letters"]}, sys.stdout)
