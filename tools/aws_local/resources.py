"""Makes what Terraform makes on a real account: `resources.json` lists it."""

import json
from concurrent.futures import ThreadPoolExecutor

from . import wire
from .places import HERE, Problem

IAM_VERSION, EC2_VERSION = "2010-05-08", "2016-11-15"


def listed():
    return json.loads((HERE / "resources.json").read_text())


def make_stores(url, resources):
    """Buckets, tables and queues on MiniStack."""
    with ThreadPoolExecutor(4) as threads:
        done = [threads.submit(make_bucket, url, name) for name in resources["buckets"]]
        done += [threads.submit(make_table, url, table) for table in resources["tables"]]
        dead = resources["dead_letter_attributes"]
        done += [threads.submit(make_queue, url, queue, dead) for queue in resources["queues"]]
        finish(done)


def finish(started):
    for each in started:
        try:
            each.result()
        except wire.Refused as error:
            raise Problem(f"cannot make the project's resources: {error}") from None


def make_bucket(url, name):
    wire.call(f"{url}/{name}", "s3", method="PUT")


def make_table(url, table):
    wire.json_call(url, "dynamodb", "DynamoDB_20120810.CreateTable", table)


def make_queue(url, queue, dead_letter_attributes):
    dead = {"QueueName": queue["dead_letters"], "Attributes": dead_letter_attributes}
    dead_url = wire.json_call(url, "sqs", "AmazonSQS.CreateQueue", dead)["QueueUrl"]
    asked = {"QueueUrl": dead_url, "AttributeNames": ["QueueArn"]}
    got = wire.json_call(url, "sqs", "AmazonSQS.GetQueueAttributes", asked)
    redrive = {"deadLetterTargetArn": got["Attributes"]["QueueArn"], "maxReceiveCount": queue["max_receive_count"]}
    attributes = {**queue["attributes"], "RedrivePolicy": json.dumps(redrive)}
    wire.json_call(url, "sqs", "AmazonSQS.CreateQueue", {"QueueName": queue["name"], "Attributes": attributes})


def make_batch(moto, resources):
    """Roles, compute environments, job queues and job definitions on moto."""
    try:
        names = account_names(moto, resources)
        for kind, path in [
            ("compute_environments", "/v1/createcomputeenvironment"),
            ("job_queues", "/v1/createjobqueue"),
            ("job_definitions", "/v1/registerjobdefinition"),
        ]:
            for body in resources[kind]:
                wire.rest_call(moto, "batch", path, filled(body, names))
    except wire.Refused as error:
        raise Problem(f"cannot make the project's Batch resources: {error}") from None


def account_names(moto, resources):
    """What `${...}` stands for: ARNs and ids that the account gives out."""
    names = {}
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    for role in resources["roles"]:
        made = wire.query_call(
            moto, "iam", IAM_VERSION, "CreateRole", RoleName=role, AssumeRolePolicyDocument=trust
        )
        names[f"role/{role}"] = wire.elements(made, "Arn")[0]
    for profile in resources["instance_profiles"]:
        name = profile["name"]
        made = wire.query_call(moto, "iam", IAM_VERSION, "CreateInstanceProfile", InstanceProfileName=name)
        names[f"instance-profile/{name}"] = wire.elements(made, "Arn")[0]
        both = {"InstanceProfileName": name, "RoleName": profile["role"]}
        wire.query_call(moto, "iam", IAM_VERSION, "AddRoleToInstanceProfile", **both)
    subnets = wire.query_call(moto, "ec2", EC2_VERSION, "DescribeSubnets")
    names["subnet"] = wire.elements(subnets, "subnetId")[0]
    groups = wire.query_call(moto, "ec2", EC2_VERSION, "DescribeSecurityGroups")
    names["security-group"] = wire.elements(groups, "groupId")[0]
    return names


def filled(value, names):
    """A copy with every `${name}` replaced."""
    if isinstance(value, dict):
        return {key: filled(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, names) for each in value]
    if isinstance(value, str) and value.startswith("${"):
        return names[value[2:-1]]
    return value
