"""What schemathesis cannot know of this API: who signs in, whose turn it is to have no workspace, where invitations'
links come from, and that the limits on calls are waited out on the stack's own clock.

Only valid requests are helped along. What is generated to be refused goes out as it was generated.
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

# Calls between two moves of the clock, and the seconds it moves: one more than the limit allows, so that some are 429.
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
    """A request of the hooks' own: its status and its JSON. A limit is waited out."""
    headers = {"content-type": "application/json", **({"authorization": f"Bearer {token}"} if token else {})}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        if refusal.code == 429:
            advance(int(refusal.headers["Retry-After"]))
            return call(method, path, body, token)
        return refusal.code, json.load(refusal)


def advance(seconds):
    call("POST", URL + "/_local/clock", {"advance_seconds": seconds})


class Person:
    """Somebody who is signed in whenever it matters, whatever was revoked meanwhile."""

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
        """This person's account, signed in anew where their token has ended."""
        status, me = call("GET", API + "/auth/me", token=self.tokens.get("access_token"))
        if status != 200:
            self.sign_in()
            me = self.tokens["user"]
        return me

    def token(self):
        self.me()
        return self.tokens["access_token"]

    def has_workspace(self, wanted):
        """This person, with a workspace of their own or with none."""
        has = self.me()["workspace_id"] is not None
        if wanted and not has:
            call("POST", API + "/workspaces/", {"name": "Founded"}, self.token())
        if has and not wanted:
            call("DELETE", API + "/workspaces/", token=self.token())
        return self


class Owner(Person):
    """The demo workspace's owner; should an operation have made them none, the owner of another workspace."""

    def me(self):
        me = super().me()
        if me["workspace_role"] != "owner":
            guests["owners"] += 1
            self.email = f"owner-{guests['owners']}@example.com"
            self.sign_in()
            me = self.tokens["user"]
        return me


guests = collections.Counter()
OWNER = Owner("owner@example.com")
FOUNDER = Person("founder@example.com")


def caller_of(operation_id):
    """Who makes a call. Founding and closing a workspace is for somebody who is alone in it."""
    if operation_id == "create_workspace":
        return FOUNDER.has_workspace(False)
    if operation_id == "delete_workspace":
        return FOUNDER.has_workspace(True)
    return OWNER


def id_of(operation):
    return operation.definition.raw["operationId"]


def needs_token(context):
    ways = context.operation.definition.raw.get("security", [])
    return bool(ways) and {} not in ways


@schemathesis.auth(refresh_interval=None).apply_to(needs_token)
class Bearer:
    def get(self, case, context):
        return caller_of(id_of(context.operation)).token()

    def set(self, case, data, context):
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


def as_owner(method, path, body=None):
    """A call by the owner, whose token may have ended while a limit was waited out."""
    for _ in range(2):
        status, answer = call(method, API + path, body, OWNER.token())
        if status != 401:
            break
    assert status < 300, (method, path, status, answer)
    return answer


def link():
    """`invite_id` and `token` of an invitation to somebody new."""
    guests["invited"] += 1
    email = f"guest-{guests['invited']}@example.com"
    issued = as_owner("POST", "/workspaces/invitations", {"email": email, "role": "member"})
    return dict(pair.split("=", 1) for pair in issued["invite_link"].split("#", 1)[1].split("&"))


def member():
    """The id of a member who is no owner."""
    others = [each for each in as_owner("GET", "/workspaces/members")["members"] if each["role"] != "owner"]
    if not others:
        call("POST", API + "/auth/accept-invite", {**link(), "password": PASSWORD, "name": "Guest"})
        return member()
    return others[-1]["id"]


def pending():
    """The id of a pending invitation."""
    invitations = as_owner("GET", "/workspaces/invitations?limit=1")["invitations"]
    return invitations[0]["id"] if invitations else link()["invite_id"]


def tomorrow():
    _, clock = call("POST", URL + "/_local/clock", {"advance_seconds": 0})
    return str(datetime.datetime.fromisoformat(clock["now"]) + datetime.timedelta(days=1)).replace(" ", "T")


def cursor(path):
    """A cursor of a list; none when one page holds all of it."""
    return as_owner("GET", f"{path}?limit=1")["next_cursor"]


def genuine_fields(operation_id):
    """Fields that only somebody who was let in, or who looks at the clock, can know."""
    if operation_id in ("accept_invitation", "preview_invitation", "decline_invitation"):
        return link()
    if operation_id in ("create_invitation", "register"):
        guests["invited"] += 1
        return {"email": f"guest-{guests['invited']}@example.com"}
    if operation_id == "extend_invitation":
        return {"expires_at": tomorrow()}
    if operation_id == "login":
        OWNER.token()
        return {"email": OWNER.email, "password": PASSWORD}
    if operation_id == "refresh":
        OWNER.sign_in()
        return {"refresh_token": OWNER.tokens["refresh_token"]}
    return {}


def version():
    """The entity tag of the owner's workspace as it is now."""
    request = urllib.request.Request(API + "/workspaces/", headers={"authorization": f"Bearer {OWNER.token()}"})
    with urllib.request.urlopen(request) as answer:
        return answer.headers["ETag"]


def genuine_headers(headers, often):
    """A key of its own for each request, as one key stands for one: generated ones come again with other bodies. And at
    every other time the version that a change is meant for."""
    for name in headers:
        if name.lower() == "idempotency-key":
            guests["keys"] += 1
            headers[name] = f"{headers[name][:200]}{guests['keys']}"
        if name.lower() == "if-match" and often:
            headers[name] = version()


def help_along(case, operation_id, often):
    """Puts what exists into a valid request: at every other time, as what does not exist has its answers too."""
    if often and isinstance(case.body, dict):
        case.body = {**case.body, **genuine_fields(operation_id)}
    if case.headers:
        genuine_headers(case.headers, often)
    path = dict(case.path_parameters or {})
    if often and "id" in path:
        path["id"] = pending()
    if often and "user_id" in path:
        path["user_id"] = member()
    case.path_parameters = path
    # No schema can say which cursors were handed out: a made-up one is refused each time.
    query = {name: value for name, value in (case.query or {}).items() if name not in ("cursor", "before")}
    if len(query) < len(case.query or {}):
        known = cursor(case.operation.path.removeprefix("/api/v1"))
        case.query = {**query, **({"cursor": known} if known else {})}


# Texts of formats that JSON Schema has no word for.
schemathesis.openapi.format(
    "time-zone",
    strategies.sampled_from(["UTC", "Europe/Berlin", "america/new_york", "Asia/Kolkata", "Pacific/Chatham"]),
)

calls = collections.Counter()
valid = collections.Counter()


@schemathesis.hook
def filter_body(context, body):
    """Not a name that is too long by its blanks alone: the API counts what is left once they are trimmed, `maxLength`
    counts them."""
    texts = body.values() if isinstance(body, dict) else ()
    return not any(isinstance(text, str) and len(text) > 255 >= len(text.strip()) for text in texts)


@schemathesis.hook
def before_call(context, case, kwargs):
    operation_id = id_of(case.operation)
    calls[operation_id] += 1
    limit, window_s = LIMITS.get(operation_id, (0, 0))
    if limit and calls[operation_id] % limit == 0:
        advance(window_s)
    positive = case.meta is not None and case.meta.generation.mode.is_positive
    if positive:
        valid[operation_id] += 1
        help_along(case, operation_id, valid[operation_id] % 2 == 1)
    if case._has_explicit_auth and case.headers and "Authorization" in case.headers:
        case.headers["Authorization"] = f"Bearer {caller_of(operation_id).token()}"


answers = collections.defaultdict(collections.Counter)


@schemathesis.hook
def after_call(context, case, response):
    answers[case.operation.label][response.status_code] += 1


@atexit.register
def summary():
    """How often each operation answered what. One that never said yes was not tested."""
    for label, statuses in sorted(answers.items()):
        print(f"  {label:60}", "  ".join(f"{status} {count}x" for status, count in sorted(statuses.items())))
    print(f"  {sum(sum(statuses.values()) for statuses in answers.values())} requests")
    refused = [label for label, statuses in answers.items() if not any(status < 300 for status in statuses)]
    if refused:
        print("  never answered 2xx:", ", ".join(refused), flush=True)
        os._exit(1)
