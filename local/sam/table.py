"""Creates the template's table on an engine of this machine: table.py ENDPOINT NAME."""

import sys

import boto3
import template

# The engine does not support encryption, recovery and deletion protection.
ELSEWHERE = ("PointInTimeRecoverySpecification", "SSESpecification", "DeletionProtectionEnabled")


def main():
    endpoint, name = sys.argv[1:]
    table = dict(template.load()["Resources"]["Table"]["Properties"])
    for key in ELSEWHERE:
        table.pop(key)
    ttl = table.pop("TimeToLiveSpecification")
    client = boto3.client("dynamodb", endpoint_url=endpoint)
    client.create_table(TableName=name, **table)
    client.update_time_to_live(TableName=name, TimeToLiveSpecification=ttl)


main()
