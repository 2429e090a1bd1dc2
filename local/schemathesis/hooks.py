"""Supplies schemathesis with what the OpenAPI document cannot express: access tokens, callers with or without a
workspace, ids, cursors and links that exist, and moves of the stack's clock that end rate limits.

Only valid requests are changed. Requests that are generated as invalid are sent unchanged.
"""

import atexit
import collections
import datetime
import json
import os
import urllib.error
import urllib.request

import schemathesis
from hypothesis import strategies

URL = os.environ["WORKSPACES_URL"]
API = URL + "/api/v1"
PASSWORD = "password123"

# Per operation: the number of calls after which the clock moves, and the seconds that it moves. The number is one more
# than the limit permits, so that some responses are 429.
LIMITS = {
    "create_invitation": (11, 3600),
    "resend_invitation": (11, 3600),
    "revoke_all_sessions": (2, 60),
    "login": (61, 60),
    "register": (61, 60),
    "preview_invitation": (61, 60),
    "accept_invitation": (61, 60),
    "decline_invitation": (61, 60),
}


def call(method, path, body=None, token=None):
    """Sends a request of the hooks and returns the status and the JSON. On 429, moves the clock and retries."""
    headers = {"content-type": "application/json", **({"authorization": f"Bearer {token}"} if token else {})}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        if error.code == 429:
            advance_clock(int(error.headers["Retry-After"]))
            return call(method, path, body, token)
        return error.code, json.load(error)


def advance_clock(seconds):
    call("POST", URL + "/_local/clock", {"advance_seconds": seconds})


class Person:
    """A user who is signed in again whenever their sessions have ended."""

    def __init__(self, email):
        self.email = email
        self.tokens = {}

    def sign_in(self):
        status, self.tokens = call("POST", API + "/auth/login", {"email": self.email, "password": PASSWORD})
        if status == 401:
            name = self.email.split("@")[0]
            call("POST", API + "/auth/register", {"email": self.email, "password": PASSWORD, "name": name})
            status, self.tokens = call("POST", API + "/auth/login", {"email": self.email, "password": PASSWORD})
        assert status == 200, (self.email, status, self.tokens)

    def me(self):
        """Returns the user's account. Signs in again if the access token has ended."""
        status, me = call("GET", API + "/auth/me", token=self.tokens.get("access_token"))
        if status != 200:
            self.sign_in()
            me = self.tokens["user"]
        return me

    def token(self):
        self.me()
        return self.tokens["access_token"]

    def ensure_workspace(self, wanted):
        """Creates or deletes the user's workspace, so that they have one if `wanted` and none otherwise."""
        has = self.me()["workspace_id"] is not None
        if wanted and not has:
            call("POST", API + "/workspaces/", {"name": "Created"}, self.token())
        if has and not wanted:
            call("DELETE", API + "/workspaces/", token=self.token())
        return self


class Owner(Person):
    """The demo workspace's owner. If an operation has removed or demoted them, the owner of a new workspace instead."""

    def me(self):
        me = super().me()
        if me["workspace_role"] != "owner":
            counters["owners"] += 1
            self.email = f"owner-{counters['owners']}@example.com"
            self.sign_in()
            me = self.tokens["user"]
        return me


# Numbers that make generated e-mail addresses and keys unique.
counters = collections.Counter()
OWNER = Owner("owner@example.com")
# A user for the operations that create and delete workspaces.
WORKSPACE_CREATOR = Person("creator@example.com")


def caller_of(operation_id):
    """The user who calls the operation. Only the creator creates and deletes workspaces: they have no other members."""
    if operation_id == "create_workspace":
        return WORKSPACE_CREATOR.ensure_workspace(False)
    if operation_id == "delete_workspace":
        return WORKSPACE_CREATOR.ensure_workspace(True)
    return OWNER


def operation_id_of(operation):
    return operation.definition.raw["operationId"]


def needs_token(context):
    requirements = context.operation.definition.raw.get("security", [])
    return bool(requirements) and {} not in requirements


@schemathesis.auth(refresh_interval=None).apply_to(needs_token)
class Bearer:
    def get(self, case, context):
        return caller_of(operation_id_of(context.operation)).token()

    def set(self, case, data, context):
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


def as_owner(method, path, body=None):
    """Sends a request as the owner. Retries once, because the token may have ended while the clock moved."""
    for _ in range(2):
        status, response = call(method, API + path, body, OWNER.token())
        if status != 401:
            break
    assert status < 300, (method, path, status, response)
    return response


def new_email():
    counters["guests"] += 1
    return f"guest-{counters['guests']}@example.com"


def new_link():
    """Creates an invitation and returns the `invite_id` and `token` of its link."""
    invitation = as_owner("POST", "/workspaces/invitations", {"email": new_email(), "role": "member"})
    return dict(pair.split("=", 1) for pair in invitation["invite_link"].split("#", 1)[1].split("&"))


def member_id():
    """Returns the id of a member who is not an owner. Adds one if there is none."""
    others = [each for each in as_owner("GET", "/workspaces/members")["members"] if each["role"] != "owner"]
    if not others:
        call("POST", API + "/auth/accept-invite", {**new_link(), "password": PASSWORD, "name": "Guest"})
        return member_id()
    return others[-1]["id"]


def invitation_id():
    """Returns the id of a pending invitation. Creates one if there is none."""
    invitations = as_owner("GET", "/workspaces/invitations?limit=1")["invitations"]
    return invitations[0]["id"] if invitations else new_link()["invite_id"]


def tomorrow():
    _, clock = call("POST", URL + "/_local/clock", {"advance_seconds": 0})
    return str(datetime.datetime.fromisoformat(clock["now"]) + datetime.timedelta(days=1)).replace(" ", "T")


def list_cursor(path):
    """Returns a cursor of a list, or None if the list has one page."""
    return as_owner("GET", f"{path}?limit=1")["next_cursor"]


def existing_fields(operation_id):
    """Body fields with values that depend on stored data or on the clock, so that no generator can guess them."""
    if operation_id in ("accept_invitation", "preview_invitation", "decline_invitation"):
        return new_link()
    if operation_id in ("create_invitation", "register"):
        return {"email": new_email()}
    if operation_id == "extend_invitation":
        return {"expires_at": tomorrow()}
    if operation_id == "login":
        OWNER.token()
        return {"email": OWNER.email, "password": PASSWORD}
    if operation_id == "refresh":
        OWNER.sign_in()
        return {"refresh_token": OWNER.tokens["refresh_token"]}
    return {}


def current_entity_tag():
    """Returns the current entity tag of the owner's workspace."""
    request = urllib.request.Request(API + "/workspaces/", headers={"authorization": f"Bearer {OWNER.token()}"})
    with urllib.request.urlopen(request) as response:
        return response.headers["ETag"]


def complete_headers(headers, use_existing):
    """Makes each idempotency key unique, because the generator repeats keys with different bodies. If `use_existing`,
    also sets `If-Match` to the current entity tag."""
    for name in headers:
        if name.lower() == "idempotency-key":
            counters["keys"] += 1
            headers[name] = f"{headers[name][:200]}{counters['keys']}"
        if name.lower() == "if-match" and use_existing:
            headers[name] = current_entity_tag()


def complete(case, operation_id, use_existing):
    """Completes a valid request. If `use_existing`, replaces generated ids and fields by those of stored data."""
    if use_existing and isinstance(case.body, dict):
        case.body = {**case.body, **existing_fields(operation_id)}
    if case.headers:
        complete_headers(case.headers, use_existing)
    path = dict(case.path_parameters or {})
    if use_existing and "id" in path:
        path["id"] = invitation_id()
    if use_existing and "user_id" in path:
        path["user_id"] = member_id()
    case.path_parameters = path
    # A schema cannot describe which cursors are valid, so a generated cursor is always rejected.
    query = {name: value for name, value in (case.query or {}).items() if name not in ("cursor", "before")}
    if len(query) < len(case.query or {}):
        cursor = list_cursor(case.operation.path.removeprefix("/api/v1"))
        case.query = {**query, **({"cursor": cursor} if cursor else {})}


# A format that JSON Schema does not define.
schemathesis.openapi.format(
    "time-zone",
    strategies.sampled_from(["UTC", "Europe/Berlin", "america/new_york", "Asia/Kolkata", "Pacific/Chatham"]),
)

calls = collections.Counter()
valid = collections.Counter()


@schemathesis.hook
def filter_body(context, body):
    """Excludes names that exceed 255 characters only because of surrounding white space. The API trims a name before it
    counts the characters, but `maxLength` counts the white space too."""
    texts = body.values() if isinstance(body, dict) else ()
    return not any(isinstance(text, str) and len(text) > 255 >= len(text.strip()) for text in texts)


@schemathesis.hook
def before_call(context, case, kwargs):
    operation_id = operation_id_of(case.operation)
    calls[operation_id] += 1
    limit, window_s = LIMITS.get(operation_id, (0, 0))
    if limit and calls[operation_id] % limit == 0:
        advance_clock(window_s)
    positive = case.meta is not None and case.meta.generation.mode.is_positive
    if positive:
        valid[operation_id] += 1
        # Every other request keeps its generated ids, because the responses about unknown ids are tested too.
        complete(case, operation_id, use_existing=valid[operation_id] % 2 == 1)
    if case._has_explicit_auth and case.headers and "Authorization" in case.headers:
        case.headers["Authorization"] = f"Bearer {caller_of(operation_id).token()}"


status_counts = collections.defaultdict(collections.Counter)


@schemathesis.hook
def after_call(context, case, response):
    status_counts[case.operation.label][response.status_code] += 1


@atexit.register
def summary():
    """Prints how often each operation returned each status. Fails if an operation never succeeded."""
    for label, statuses in sorted(status_counts.items()):
        print(f"  {label:60}", "  ".join(f"{status} {count}x" for status, count in sorted(statuses.items())))
    print(f"  {sum(sum(statuses.values()) for statuses in status_counts.values())} requests")
    untested = [label for label, statuses in status_counts.items() if not any(status < 300 for status in statuses)]
    if untested:
        print("  never returned 2xx:", ", ".join(untested), flush=True)
        os._exit(1)
