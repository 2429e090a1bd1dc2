"""Stands in for AWS in front of the functions' containers: aws.py DYNAMODB_PORT PORT ADDRESS...

Each function calls `http://host:PORT/<Function>` (env-vars.json), so that every call is held against that function's
role in template.yaml: a call that the role does not allow is refused as AWS refuses it, and written to stderr. Calls to
DynamoDB go on to DynamoDB Local, mails are kept (GET /mails), secrets are made up at the first asking.
"""

import fnmatch
import http.client
import json
import re
import secrets
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import template

RESOURCES = template.load()["Resources"]
# The values of the template's parameters on this machine.
PARAMETERS = {"MailFrom": json.loads(Path(__file__).with_name("env-vars.json").read_text())["Parameters"]["MAIL_FROM"]}
TRANSACT = {"ConditionCheck": "ConditionCheckItem", "Delete": "DeleteItem", "Put": "PutItem", "Update": "UpdateItem"}

mails = []
secret_values = {}


class Denied(Exception):
    """No statement of the role allows this call."""


def statements(function):
    role = RESOURCES[function]["Properties"]["Role"]["Fn::GetAtt"].removesuffix(".Arn")
    for policy in RESOURCES[role]["Properties"]["Policies"]:
        yield from policy["PolicyDocument"]["Statement"]


def as_list(value):
    return value if isinstance(value, list) else [value]


def allow(function, action, resource, **context):
    """Returns when a statement of the function's role allows `action` on a resource that `resource` accepts."""
    for statement in statements(function):
        if action not in as_list(statement["Action"]) or not resource(statement["Resource"]):
            continue
        keys = statement.get("Condition", {}).get("ForAllValues:StringLike", {}).get("dynamodb:LeadingKeys")
        if keys and not all(any(fnmatch.fnmatchcase(key, like) for like in keys) for key in context["leading_keys"]):
            continue
        sender = statement.get("Condition", {}).get("StringEquals", {}).get("ses:FromAddress")
        if sender and context["sender"] != PARAMETERS[sender["Ref"]]:
            continue
        return
    raise Denied(f"{function}: {action} {context}")


def is_table(resource):
    return "/index/" not in json.dumps(resource)


def is_index(resource):
    return "/index/gsi1" in json.dumps(resource)


def queried_partition(body):
    names = body.get("ExpressionAttributeNames", {})
    for name, value in re.findall(r"([#\w]+)\s*=\s*(:\w+)", body["KeyConditionExpression"]):
        if names.get(name, name) in ("pk", "gsi1pk"):
            return body["ExpressionAttributeValues"][value]["S"]
    raise Denied(f"no partition in {body['KeyConditionExpression']}")


def accesses(operation, body):
    """The accesses of a call: (action, leading keys, of the index)."""
    if operation == "TransactWriteItems":
        for item in body["TransactItems"]:
            for kind, action in item.items():
                key = action["Item"] if kind == "Put" else action["Key"]
                yield TRANSACT[kind], [key["pk"]["S"]], False
    elif operation == "TransactGetItems":
        for item in body["TransactItems"]:
            yield "GetItem", [item["Get"]["Key"]["pk"]["S"]], False
    elif operation == "BatchGetItem":
        yield operation, [key["pk"]["S"] for table in body["RequestItems"].values() for key in table["Keys"]], False
    elif operation == "Query":
        yield operation, [queried_partition(body)], "IndexName" in body
    elif operation == "PutItem":
        yield operation, [body["Item"]["pk"]["S"]], False
    elif "Key" in body:
        yield operation, [body["Key"]["pk"]["S"]], False
    else:
        yield operation, [], False


class Handler(BaseHTTPRequestHandler):
    """One connection of a container."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Logs refused calls only."""

    def answer(self, status, body, content_type="application/x-amz-json-1.0"):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer_json(self, status, value):
        self.answer(status, json.dumps(value).encode(), "application/json")

    def do_GET(self):
        self.answer_json(200, mails)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        function, _, path = self.path.strip("/").partition("/")
        service, _, operation = self.headers.get("X-Amz-Target", "").partition(".")
        try:
            if service.startswith("DynamoDB"):
                self.dynamodb(function, operation, body)
            elif service == "secretsmanager":
                self.secret(function, operation, json.loads(body))
            elif path == "v2/email/outbound-emails":
                self.mail(function, json.loads(body))
            else:
                self.answer_json(404, {"message": f"no {self.path} here"})
        except Denied as denied:
            print(f"DENIED {denied}", file=sys.stderr, flush=True)
            self.answer_json(400, {"__type": "AccessDeniedException", "message": "not authorized by template.yaml"})

    def dynamodb(self, function, operation, body):
        for action, keys, of_index in accesses(operation, json.loads(body)):
            allow(function, f"dynamodb:{action}", is_index if of_index else is_table, leading_keys=keys)
        upstream = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=30)
        headers = {name: self.headers[name] for name in ("X-Amz-Target", "Content-Type", "Authorization", "X-Amz-Date")}
        upstream.request("POST", "/", body, headers)
        response = upstream.getresponse()
        self.answer(response.status, response.read())
        upstream.close()

    def secret(self, function, operation, body):
        name = body["SecretId"]
        allow(function, f"secretsmanager:{operation}", lambda resource: resource == {"Ref": name})
        value = secret_values.setdefault(name, secrets.token_hex(32))
        if body.get("VersionStage", "AWSCURRENT") != "AWSCURRENT":
            self.answer_json(400, {"__type": "ResourceNotFoundException", "Message": "no such version"})
        else:
            self.answer_json(200, {"ARN": name, "Name": name, "SecretString": value, "VersionStages": ["AWSCURRENT"]})

    def mail(self, function, body):
        sender = re.sub(r".*<(.*)>", r"\1", body["FromEmailAddress"])
        if not body.get("ConfigurationSetName"):
            raise Denied(f"{function}: a mail without a configuration set")
        allow(function, "ses:SendEmail", lambda resource: "identity/*" in json.dumps(resource), sender=sender)
        mails.insert(0, body)
        self.answer_json(200, {"MessageId": str(uuid.uuid4())})


def main():
    port, addresses = int(sys.argv[2]), sys.argv[3:]
    for address in addresses[1:]:
        threading.Thread(target=ThreadingHTTPServer((address, port), Handler).serve_forever, daemon=True).start()
    ThreadingHTTPServer((addresses[0], port), Handler).serve_forever()


main()
