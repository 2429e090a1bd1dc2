"""Tests a new local stack with the vendor's client, version 0.2.0 or 3.2.0. Usage: drive.py URL.

Each successful response must become the type that the client declares for its status. Each error must become an
exception with the status, the detail and the error_code. A response that the client does not declare is parsed with the
client's own models (see UNDECLARED). The test moves the stack's clock, so it needs its own stack.
"""

import asyncio
import json
import re
import sys
import urllib.error
import urllib.request
import uuid
from datetime import datetime, timedelta, timezone

import spatialflow
from spatialflow import SpatialFlow, models
from spatialflow._generated.spatialflow_generated import exceptions as raw_errors

VERSION = spatialflow.__version__
OLD = VERSION.startswith("0.")
PASSWORD = "correct horse battery"
CREATED_INVITATION = models.InvitationOut if OLD else models.InvitationIssuedOut
DEFAULT_ROLE = "member" if OLD else "field_worker"

# Successful responses that the client does not declare, so that the client's call returns None:
# method, start of the path -> the status of the response, the model that its body must match.
UNDECLARED = {
    "0.2.0": {("POST", "/auth/logout"): (200, None)},
    "3.2.0": {
        # The client declares 410, because the vendor closed registration. This server did not.
        ("POST", "/auth/register"): (201, models.UserResponse),
        # The client declares 204. Version 0.2.0 declares 200 with this body.
        ("DELETE", "/workspaces/members/"): (200, models.MemberActionOut),
    },
}[VERSION]
# Fields that a model requires (as nullable) and the server does not send. The client reads None.
ABSENT = {("UserResponse", "roles")}

# status -> the generated exception.
GENERATED = {
    400: raw_errors.BadRequestException,
    401: raw_errors.UnauthorizedException,
    403: raw_errors.ForbiddenException,
    404: raw_errors.NotFoundException,
    409: getattr(raw_errors, "ConflictException", raw_errors.ApiException),
    422: getattr(raw_errors, "UnprocessableEntityException", raw_errors.ApiException),
    429: raw_errors.ApiException,
}
# status -> the hand-written exception that the generated one is translated to.
TRANSLATED = {
    400: spatialflow.ValidationError,
    401: spatialflow.AuthenticationError,
    403: spatialflow.PermissionError,
    404: spatialflow.NotFoundError,
    409: spatialflow.ConflictError,
    422: spatialflow.ValidationError,
    429: spatialflow.RateLimitError,
}


def same(actual, expected, what):
    assert actual == expected, f"{what} is {actual!r} instead of {expected!r}"


def has_fields(original, fields):
    """Returns a check that a workspace has these fields, and the unchangeable ones of the original workspace."""

    def check(workspace):
        same({name: getattr(workspace, name) for name in fields}, fields, "the fields")
        same(
            (str(workspace.id), workspace.slug, workspace.created_at),
            (str(original.id), original.slug, original.created_at),
            "the unchangeable fields",
        )

    return check


class Exchange:
    """The last request that a client sent, and its response."""

    def __init__(self, method, url, body):
        self.method, self.url, self.body = method, url, body
        self.path = url.split("/api/v1", 1)[-1]
        self.status, self.headers, self.text, self.types = None, {}, "", {}

    def json(self):
        return json.loads(self.text)

    def __str__(self):
        body = "" if self.body is None else json.dumps(self.body)
        lines = f"      > {self.method} {self.path} {body}\n      < {self.status} {self.text}"
        return re.sub(r'(_token": ?")[^"]{12,}', r"\1...", lines)


class Person:
    """A user with their own client. Without a token, the user is anonymous."""

    def __init__(self, url, token=None, email=None):
        self.client = SpatialFlow(base_url=url, access_token=token or "none")
        self.email, self.id, self.refresh_token = email, None, None
        self.last = None
        api = self.client.raw.workspaces.api_client
        api.configuration.access_token = token
        call, deserialize = api.call_api, api.response_deserialize

        async def call_api(method, url, header_params=None, body=None, *args, **kwargs):
            self.last = Exchange(method, url, body)
            return await call(method, url, header_params, body, *args, **kwargs)

        def response_deserialize(response_data, response_types_map=None):
            last = self.last
            last.status, last.headers = response_data.status, response_data.response.headers
            last.text, last.types = response_data.data.decode(), response_types_map
            return deserialize(response_data, response_types_map)

        api.call_api, api.response_deserialize = call_api, response_deserialize
        self.api = api

    def set_token(self, token):
        self.api.configuration.access_token = token

    def workspaces(self, name, *args, **kwargs):
        return getattr(self.client.raw.workspaces, f"apps_workspaces_api_{name}")(*args, **kwargs)

    def auth(self, name, *args, **kwargs):
        return getattr(self.client.raw.authentication, f"apps_authentication_api_{name}")(*args, **kwargs)

    async def close(self):
        await self.api.close()


class Drive:
    def __init__(self, url):
        self.url, self.tag = url, uuid.uuid4().hex[:8]
        self.passed, self.failures, self.people = 0, 0, []

    def person(self, token=None, email=None):
        person = Person(self.url, token, email)
        self.people.append(person)
        return person

    def email(self, name):
        return f"{name}-{self.tag}@example.com"

    def failed(self, what, why, person):
        self.failures += 1
        print(f"FAIL  {what}: {why}\n{person.last}", flush=True)

    async def ok(self, what, person, call, model, check=None):
        """Checks that the call returns a `model` (dict: an untyped object; None: nothing), and runs `check` on it."""
        try:
            result = await call
            last = person.last
            undeclared = next(
                (UNDECLARED[key] for key in UNDECLARED if key[0] == last.method and last.path.startswith(key[1])), None
            )
            if undeclared:
                status, reader = undeclared
                same(last.status, status, "the status")
                assert result is None, "the client declares this response now: remove it from UNDECLARED"
                result = reader.from_dict(last.json()) if reader else last.json()
            else:
                assert last.types.get(str(last.status)), f"the client declares {sorted(last.types)}, not {last.status}"
            assert result is not None, "the result is None"
            same(type(result), model, "the type")
            if model is not dict:
                for name, field in model.model_fields.items():
                    known = (model.__name__, name) in ABSENT
                    assert known or not field.is_required() or (field.alias or name) in last.json(), f"{name} is absent"
            if check:
                check(result)
            self.passed += 1
            return result
        except Exception as error:  # Any exception fails this check only. The following checks still run.
            self.failed(what, f"{type(error).__name__}: {error}", person)
            return None

    async def refused(self, what, person, call, status, code, check=None):
        """Checks that the call raises an exception with this status and error_code, and with the detail."""
        try:
            try:
                result = await call
            except raw_errors.ApiException as caught:
                error = caught
            else:
                raise AssertionError(f"it returned {result!r} instead of {status} {code}")
            same(error.status, status, "the status")
            same(type(error), GENERATED[status], "the exception")
            last = person.last
            declared = last.types.get(str(status))
            # For an undeclared status the client has no typed data. It keeps the body as text.
            body = json.loads(error.body)
            same(body["error_code"], code, "error_code")
            same(body["status"], status, "the body's status")
            assert body["detail"], "there is no detail"
            if declared:
                data = error.data
                assert data is not None, "data is None"
                if isinstance(data, dict):
                    same((data["detail"], data["error_code"]), (body["detail"], code), "data")
                elif declared == "ValidationErrorResponse":
                    same(type(data), models.ValidationErrorResponse, "data's type")
                    shown = [
                        {"type": issue.type, "loc": [part.actual_instance for part in issue.loc], "msg": issue.msg}
                        for issue in data.detail
                    ]
                    same(shown, body["detail"], "data.detail")
                else:
                    same(type(data), models.ErrorResponse, "data's type")
                    same((data.detail, data.error_code), (body["detail"], code), "data")
            if status == 422:
                assert all({"type", "loc", "msg"} <= set(issue) for issue in body["detail"]), (
                    "detail is not a list of issues"
                )
            else:
                assert isinstance(body["detail"], str), "detail is not a string"
            self.check_translation(error, status, body)
            if check:
                check(error, body)
            self.passed += 1
        except Exception as error:
            self.failed(what, f"{type(error).__name__}: {error}", person)

    def check_translation(self, error, status, body):
        """Checks that the client's hand-written layer translates the error to the right exception."""
        shown = spatialflow.translate_exception(error)
        same(type(shown), TRANSLATED[status], "the translated exception")
        same(shown.status_code, status, "status_code")
        if status == 429:
            same(shown.retry_after, int(error.headers["Retry-After"]), "retry_after")
            assert shown.retry_after > 0, "retry_after is 0"
        if not OLD:  # 0.2.0 drops detail and error_code here, whatever the server sends.
            same(shown.error_code, body["error_code"], "the translated error_code")
            assert shown.detail, "the translated detail is empty"
            if status == 422:
                same(shown.errors, body["detail"], "errors")

    def local(self, route, body=None):
        request = urllib.request.Request(
            f"{self.url}/_local/{route}", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as response:
            return json.load(response)

    # Steps that create users and their sessions.

    def use_tokens(self, person):
        """Takes the tokens from the last response, even if the client could not parse it."""
        response = person.last.json()
        assert "access_token" in response, f"no tokens: {person.last.text}"
        person.email, person.id = response["user"]["email"], response["user"]["id"]
        person.refresh_token = response["refresh_token"]
        person.set_token(response["access_token"])

    async def log_in(self, person, email, password=PASSWORD):
        schema = models.LoginSchema(email=email, password=password)
        await self.ok(
            f"login {email}",
            person,
            person.auth("login", schema),
            models.LoginResponse,
            lambda it: models.UserResponse.from_dict(person.last.json()["user"]),
        )
        self.use_tokens(person)

    async def register(self, name):
        """Registers a user, who gets their own workspace, and logs them in."""
        person, email = self.person(), self.email(name)
        schema = models.RegisterSchema(email=email, password=PASSWORD, name=name, company=f"{name} Inc")
        await self.ok(
            f"register {name}",
            person,
            person.auth("register", schema),
            models.UserResponse,
            lambda user: same((user.email, user.role), (email, "owner"), "the user"),
        )
        await self.log_in(person, email)
        return person

    async def invite(self, person, email, role=None):
        schema = models.CreateInvitationIn(email=email, role=role) if role else models.CreateInvitationIn(email=email)
        await self.ok(
            f"invite {email}",
            person,
            person.workspaces("create_invitation", schema),
            CREATED_INVITATION,
            lambda it: same((it.email, it.role, it.status), (email, role or DEFAULT_ROLE, "pending"), "the invitation"),
        )
        return person.last.json()["id"], self.link_token(person)

    def link_token(self, person):
        """Returns the token of the invitation link in the last response."""
        return person.last.json()["invite_link"].split("token=")[1]

    def accept(self, person, invitation, password=PASSWORD, **kwargs):
        invite_id, token = invitation
        schema = models.AcceptInviteSchema(invite_id=invite_id, token=token, password=password)
        return person.auth("accept_invitation", schema, **kwargs)

    async def join(self, owner, name, role=None):
        """Invites a new user, who accepts."""
        person, email = self.person(), self.email(name)
        invitation = await self.invite(owner, email, role)

        def check(it):
            same(it["workspace"]["name"], "owner Inc", "the workspace")
            models.LoginResponse.from_dict(it)
            models.UserResponse.from_dict(it["user"])
            models.WorkspaceOut.from_dict(it["workspace"])

        await self.ok(f"accept as {name}", person, self.accept(person, invitation), dict, check)
        self.use_tokens(person)
        # The user has no name, because the client's request to accept has no field for it.
        await self.ok(f"me as {name}", person, person.auth("get_current_user"), models.UserResponse)
        return person, invitation

    # Groups of checks.

    async def accounts(self, owner):
        anonymous = self.person()
        register = lambda **fields: anonymous.auth("register", models.RegisterSchema.model_construct(**fields))
        await self.refused(
            "register an e-mail address that is in use",
            anonymous,
            register(email=owner.email, password=PASSWORD, name="X"),
            400,
            "EMAIL_TAKEN",
        )
        await self.refused(
            "register a weak password",
            anonymous,
            register(email=self.email("weak"), password="short", name="X"),
            400,
            "WEAK_PASSWORD",
        )
        await self.refused(
            "register without a name and password",
            anonymous,
            register(email=self.email("none")),
            422,
            "VALIDATION_ERROR",
            lambda error, body: same(len(body["detail"]), 2, "issues"),
        )
        wrong = models.LoginSchema(email=owner.email, password="not this one")
        await self.refused(
            "login with a wrong password", anonymous, anonymous.auth("login", wrong), 401, "INVALID_CREDENTIALS"
        )
        await self.ok(
            "me",
            owner,
            owner.auth("get_current_user"),
            models.UserResponse,
            lambda user: same((user.email, user.email_verified), (owner.email, False), "the user"),
        )
        await self.refused(
            "me without a token",
            anonymous,
            anonymous.auth("get_current_user"),
            401,
            "TOKEN_MISSING",
            lambda error, body: same(error.headers["WWW-Authenticate"][:6], "Bearer", "WWW-Authenticate"),
        )
        forged = self.person("not.a.token")
        await self.refused("me with a forged token", forged, forged.auth("get_current_user"), 401, "TOKEN_INVALID")
        refresh = lambda token: anonymous.auth("refresh_token", models.RefreshTokenSchema(refresh_token=token))
        await self.ok(
            "refresh",
            owner,
            owner.auth("refresh_token", models.RefreshTokenSchema(refresh_token=owner.refresh_token)),
            models.LoginResponse,
        )
        self.use_tokens(owner)
        await self.ok("me with the refreshed token", owner, owner.auth("get_current_user"), models.UserResponse)
        await self.refused("refresh with a forged token", anonymous, refresh("nonsense"), 401, "TOKEN_INVALID")

    async def workspace(self, owner, worker):
        await self.ok(
            "get workspace",
            owner,
            owner.workspaces("get_workspace"),
            models.WorkspaceOut,
            lambda it: same((it.name, it.timezone), ("owner Inc", "UTC"), "the workspace"),
        )
        original = models.WorkspaceOut.from_dict(owner.last.json())
        fields = await self.workspace_put(owner, worker, original)
        if not OLD:
            await self.workspace_patch(owner, worker, original, fields)

    async def workspace_put(self, owner, worker, original):
        """Checks PUT, and returns the workspace's fields after it."""
        has = lambda fields: has_fields(original, fields)
        full = dict(
            name="owner Inc",
            logo_url="https://example.com/logo.png",
            website="https://example.com",
            billing_email="billing@example.com",
            description="Ünïcode ✓",
            timezone="Europe/Berlin",
        )
        if not OLD:
            full.update(
                support_email="help@example.com",
                slack_connect_url="https://slack.example.com/x",
                unit_system="metric",
                map_home={"lat": 51.5, "lng": -0.1, "zoom": 9},
            )
        put = lambda **fields: owner.workspaces("update_workspace", models.WorkspaceIn(**fields))
        await self.ok("put every field", owner, put(**full), models.WorkspaceOut, has(full))
        await self.ok("put keeps absent fields", owner, put(name="owner Inc"), models.WorkspaceOut, has(full))
        cleared = {**full, "website": None, "description": None}
        await self.ok(
            "put clears a null",
            owner,
            put(name="owner Inc", website=None, description=None),
            models.WorkspaceOut,
            has(cleared),
        )
        await self.ok("get the same", owner, owner.workspaces("get_workspace"), models.WorkspaceOut, has(cleared))
        for name, fields in {
            "an empty name": {"name": ""},
            "a long name": {"name": "n" * 256},
            "an unknown time zone": {"name": "x", "timezone": "Mars/Olympus"},
            "an invalid e-mail address": {"name": "x", "billing_email": "nobody"},
        }.items():
            await self.refused(f"put {name}", owner, put(**fields), 422, "VALIDATION_ERROR")
        await self.refused(
            "put as a worker",
            worker,
            worker.workspaces("update_workspace", models.WorkspaceIn(name="Mine")),
            403,
            "FORBIDDEN",
        )
        return cleared

    async def workspace_patch(self, owner, worker, original, fields):
        has = lambda fields: has_fields(original, fields)
        patch = lambda **fields: owner.workspaces("patch_workspace", models.WorkspacePatchIn(**fields))
        await self.ok(
            "patch one field",
            owner,
            patch(unit_system="imperial"),
            models.WorkspaceOut,
            has({**fields, "unit_system": "imperial"}),
        )
        await self.ok(
            "patch clears a null",
            owner,
            patch(map_home=None),
            models.WorkspaceOut,
            has({**fields, "unit_system": "imperial", "map_home": None}),
        )
        await self.ok("patch nothing", owner, patch(), models.WorkspaceOut)
        await self.refused("patch an unknown unit system", owner, patch(unit_system="cubits"), 422, "VALIDATION_ERROR")
        await self.refused(
            "patch as a worker",
            worker,
            worker.workspaces("patch_workspace", models.WorkspacePatchIn(name="Mine")),
            403,
            "FORBIDDEN",
        )
        await self.refused(
            "a route that does not exist", owner, owner.workspaces("available_web_workspaces"), 404, "NOT_FOUND"
        )

    async def usage(self, owner, workspace_id):
        def has_usage(locations, actions, units):
            return lambda it: same(
                (it.location_events, it.action_deliveries, it.event_units, it.tier, it.tier_limit),
                (locations, actions, units, "developer", 500000),
                "usage",
            )

        await self.ok(
            "usage before any record",
            owner,
            owner.workspaces("get_workspace_usage"),
            models.UsageResponse,
            has_usage(0, 0, 0),
        )
        now = self.local("clock", {"advance_seconds": 0})["now"]
        records = [
            {"id": str(uuid.uuid4()), "workspace_id": workspace_id, "kind": kind, "count": count, "occurred_at": now}
            for kind, count in (("location_event", 7), ("action_delivery", 3))
        ]
        messages = [
            {"messageId": record["id"], "body": json.dumps(record), "eventSource": "aws:sqs"} for record in records
        ]
        try:
            self.local("invoke/usage-ingest", {"Records": messages})
            self.local("invoke/usage-aggregator", {"source": "aws.scheduler", "time": now})
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            print(f"SKIP  usage after records: {error.read().decode()}", flush=True)
            return
        await self.ok(
            "usage", owner, owner.workspaces("get_workspace_usage"), models.UsageResponse, has_usage(7, 3, 8.5)
        )

    async def members(self, owner, worker, other):
        await self.ok(
            "list members",
            owner,
            owner.workspaces("list_workspace_members"),
            models.MemberListResponse,
            lambda it: same(
                ([m.id for m in it.members], it.total, it.truncated), ([owner.id, worker.id], 2, False), "the list"
            ),
        )
        await self.member_roles(owner, worker, other)
        await self.member_removal(owner, worker)
        await self.rejoin(owner, worker)

    async def member_roles(self, owner, worker, other):
        role = lambda person, target, name: person.workspaces(
            "update_member_role", target, models.UpdateMemberRoleIn(role=name)
        )
        action = models.MemberActionOut
        await self.ok("set the same role", owner, role(owner, worker.id, DEFAULT_ROLE), action)
        await self.ok(
            "promote",
            owner,
            role(owner, worker.id, "owner"),
            action,
            lambda it: same((it.user_id, it.role), (worker.id, "owner"), "it"),
        )
        await self.ok(
            "demote",
            owner,
            role(owner, worker.id, DEFAULT_ROLE),
            action,
            lambda it: same(it.role, DEFAULT_ROLE, "role"),
        )
        await self.refused("a demoted member's token", worker, worker.workspaces("get_workspace"), 401, "TOKEN_REVOKED")
        schema = models.RefreshTokenSchema(refresh_token=worker.refresh_token)
        await self.refused(
            "a demoted member's refresh token", worker, worker.auth("refresh_token", schema), 401, "TOKEN_REVOKED"
        )
        await self.log_in(worker, worker.email)
        await self.refused("demote the last owner", owner, role(owner, owner.id, "member"), 400, "LAST_OWNER")
        await self.refused("an unknown role", owner, role(owner, worker.id, "emperor"), 400, "INVALID_ROLE")
        no_role = models.UpdateMemberRoleIn.model_construct()
        await self.refused(
            "no role", owner, owner.workspaces("update_member_role", worker.id, no_role), 422, "VALIDATION_ERROR"
        )
        await self.refused("change a role, as a worker", worker, role(worker, owner.id, "member"), 403, "FORBIDDEN")
        await self.refused(
            "a member of another workspace", owner, role(owner, other.id, "member"), 404, "MEMBER_NOT_FOUND"
        )

    async def member_removal(self, owner, worker):
        """Removes the worker, who has no workspace afterwards."""
        remove = lambda person, target: person.workspaces("remove_member", target)
        await self.refused("remove, with an invalid id", owner, remove(owner, "nobody"), 404, "MEMBER_NOT_FOUND")
        await self.refused("remove the last owner", owner, remove(owner, owner.id), 403, "LAST_OWNER")
        await self.refused("remove, as a worker", worker, remove(worker, owner.id), 403, "FORBIDDEN")
        await self.ok(
            "remove",
            owner,
            remove(owner, worker.id),
            models.MemberActionOut,
            lambda it: same((it.user_id, it.role), (worker.id, None), "it"),
        )
        await self.refused("a removed member's token", worker, worker.workspaces("get_workspace"), 401, "TOKEN_REVOKED")
        await self.log_in(worker, worker.email)
        for call in (
            "get_workspace",
            "list_workspace_members",
            "get_workspace_usage",
            "list_invitations",
            "revoke_all_workspace_sessions",
        ):
            await self.refused(
                f"{call} without a workspace", worker, worker.workspaces(call), 404, "WORKSPACE_NOT_FOUND"
            )

    async def rejoin(self, owner, worker):
        """Invites the removed worker again, who accepts with the password of their account."""
        invitation = await self.invite(owner, worker.email)
        anonymous = self.person()
        await self.refused(
            "rejoin with a wrong password",
            anonymous,
            self.accept(anonymous, invitation, "not this one"),
            401,
            "INVALID_CREDENTIALS",
        )
        await self.ok("rejoin", worker, self.accept(worker, invitation), dict)
        self.use_tokens(worker)

    async def invitations(self, owner, worker, used, other):
        await self.refused_invitations(owner, worker, other)
        first, _ = await self.invite(owner, self.email("first"))
        second, old_token = await self.invite(owner, self.email("second"), "manager")
        listed = lambda ids, total: (
            lambda it: same(([i.id for i in it.invitations], it.total), (ids, total), "the list")
        )
        await self.ok(
            "list invitations",
            owner,
            owner.workspaces("list_invitations"),
            models.InvitationListResponse,
            listed([second, first], 2),
        )
        await self.ok(
            "resend",
            owner,
            owner.workspaces("resend_invitation", second),
            CREATED_INVITATION,
            lambda it: same((it.email, it.role, it.id != second), (self.email("second"), "manager", True), "it"),
        )
        third, token = owner.last.json()["id"], self.link_token(owner)
        resend_replaced = owner.workspaces("resend_invitation", second)
        await self.refused("resend a replaced invitation", owner, resend_replaced, 400, "INVITATION_REVOKED")
        if not OLD:
            await self.pages(owner, third, first)
            await self.extend(owner, worker, first)
        await self.refused_acceptances(other, used, replaced=(second, old_token), pending=(third, token))
        await self.cancellation(owner, worker, other, used, third)
        await self.ok(
            "list the remaining invitation",
            owner,
            owner.workspaces("list_invitations"),
            models.InvitationListResponse,
            listed([first], 1),
        )

    async def refused_invitations(self, owner, worker, other):
        create = lambda person, **fields: person.workspaces(
            "create_invitation", models.CreateInvitationIn.model_construct(**fields)
        )
        for what, email, role, code in (
            ("yourself", owner.email, "member", "SELF_INVITE"),
            ("a member", worker.email, "member", "ALREADY_MEMBER"),
            ("a member of another workspace", other.email, "member", "INVITEE_UNAVAILABLE"),
            ("an invalid e-mail address", "nobody", "member", "INVALID_EMAIL"),
            ("an unknown role", self.email("x"), "emperor", "INVALID_ROLE"),
        ):
            await self.refused(f"invite {what}", owner, create(owner, email=email, role=role), 400, code)
        await self.refused("invite without an e-mail", owner, create(owner, role="member"), 422, "VALIDATION_ERROR")
        await self.refused(
            "invite, as a worker", worker, create(worker, email="x@example.com", role="member"), 403, "FORBIDDEN"
        )
        await self.refused("list, as a worker", worker, worker.workspaces("list_invitations"), 403, "FORBIDDEN")

    async def refused_acceptances(self, other, used, replaced, pending):
        """Accepts invitations, given as id and token, in ways that the server refuses."""
        anonymous = self.person()
        (_, old_token), (id, token) = replaced, pending
        for what, invitation, password, status, code in (
            ("a replaced invitation", replaced, PASSWORD, 400, "INVITATION_REVOKED"),
            ("without a password", pending, None, 400, "PASSWORD_REQUIRED"),
            ("with a weak password", pending, "short", 400, "WEAK_PASSWORD"),
            ("with a wrong token", (id, old_token), PASSWORD, 404, "INVITATION_NOT_FOUND"),
            ("with an invalid id", ("nothing", token), PASSWORD, 404, "INVITATION_NOT_FOUND"),
            ("a used invitation with another password", used, "another password", 400, "INVITATION_USED"),
        ):
            acceptance = self.accept(anonymous, invitation, password)
            await self.refused(f"accept {what}", anonymous, acceptance, status, code)
        bearer = {"Authorization": f"Bearer {other.api.configuration.access_token}"}
        await self.refused(
            "accept with another user's access token",
            anonymous,
            self.accept(anonymous, pending, _headers=bearer),
            409,
            "INVITE_EMAIL_MISMATCH",
        )
        await self.refused(
            "accept without its token",
            anonymous,
            anonymous.auth("accept_invitation", models.AcceptInviteSchema.model_construct(invite_id=id)),
            422,
            "VALIDATION_ERROR",
        )
        await self.ok("accept a used invitation with the same password", anonymous, self.accept(anonymous, used), dict)

    async def cancellation(self, owner, worker, other, used, pending):
        """Cancels the pending invitation, given by its id."""
        cancel = lambda person, id: person.workspaces("cancel_invitation", id)
        await self.refused("cancel, as a worker", worker, cancel(worker, pending), 403, "FORBIDDEN")
        await self.refused(
            "cancel an invitation of another workspace", other, cancel(other, pending), 404, "INVITATION_NOT_FOUND"
        )
        await self.refused("cancel, with an invalid id", owner, cancel(owner, "nothing"), 404, "INVITATION_NOT_FOUND")
        await self.refused(
            "resend an unknown id",
            owner,
            owner.workspaces("resend_invitation", str(uuid.uuid4())),
            404,
            "INVITATION_NOT_FOUND",
        )
        await self.refused("cancel a used invitation", owner, cancel(owner, used[0]), 400, "INVITATION_USED")
        await self.ok(
            "cancel",
            owner,
            cancel(owner, pending),
            dict,
            lambda it: same((it["id"], it["status"]), (pending, "revoked"), "it"),
        )
        await self.refused("cancel a cancelled invitation", owner, cancel(owner, pending), 400, "INVITATION_REVOKED")

    async def pages(self, owner, newest, oldest):
        """Pages as 3.2.0 does: by cursor, and by `limit` and `offset`, which it sends even together with `before`."""
        page = lambda **query: owner.workspaces("list_invitations", **query)
        has_only = lambda id: lambda it: same(([i.id for i in it.invitations], it.total), ([id], 2), "the page")
        model = models.InvitationListResponse
        await self.ok("the first page", owner, page(limit=1), model, has_only(newest))
        cursor = owner.last.json()["next_cursor"]
        await self.ok("the next page", owner, page(limit=1, offset=0, before=cursor), model, has_only(oldest))
        await self.ok("the last page", owner, page(limit=1, offset=1), model, has_only(oldest))
        await self.ok(
            "all pages with the hand-written layer",
            owner,
            owner.client.workspaces.list_invitations(),
            model,
            lambda it: same((it.total, it.next_cursor), (2, None), "the list"),
        )
        await self.refused("a limit that is too high", owner, page(limit=101), 422, "VALIDATION_ERROR")
        await self.refused("a forged cursor", owner, page(before="forged"), 422, "VALIDATION_ERROR")

    async def extend(self, owner, worker, invitation):
        now = datetime.fromisoformat(self.local("clock", {"advance_seconds": 0})["now"].replace("Z", "+00:00"))
        extend = lambda person, id, **by: person.workspaces(
            "extend_invitation", id, models.ExtendInvitationIn(expires_at=now + timedelta(**by))
        )
        whole_second = (now + timedelta(days=30)).replace(microsecond=0)
        await self.ok(
            "extend",
            owner,
            extend(owner, invitation, days=30),
            models.InvitationOut,
            lambda it: same((it.id, it.expires_at.replace(microsecond=0)), (invitation, whole_second), "it"),
        )
        zone = timezone(timedelta(hours=5, minutes=30))
        with_offset = models.ExtendInvitationIn(expires_at=whole_second.astimezone(zone))
        await self.ok(
            "extend with a time in another zone",
            owner,
            owner.workspaces("extend_invitation", invitation, with_offset),
            models.InvitationOut,
            lambda it: same(it.expires_at, whole_second, "expires_at"),
        )
        await self.refused("extend into the past", owner, extend(owner, invitation, days=-1), 400, "INVALID_EXPIRY")
        await self.refused("extend too far", owner, extend(owner, invitation, days=91), 400, "INVALID_EXPIRY")
        no_time = models.ExtendInvitationIn.model_construct()
        await self.refused(
            "extend without a time",
            owner,
            owner.workspaces("extend_invitation", invitation, no_time),
            422,
            "VALIDATION_ERROR",
        )
        await self.refused("extend, as a worker", worker, extend(worker, invitation, days=1), 403, "FORBIDDEN")
        await self.refused(
            "extend an unknown id", owner, extend(owner, str(uuid.uuid4()), days=1), 404, "INVITATION_NOT_FOUND"
        )

    async def limits(self):
        """Exceeds the three rate limits that a client meets, each as a user who does nothing else."""
        busy = await self.register("busy")
        for number in range(10):
            await self.invite(busy, self.email(f"guest{number}"))
        last = busy.last.json()["id"]
        one_more = models.CreateInvitationIn(email=self.email("guest10"))
        limit_headers = lambda error, body: [error.headers[name] for name in ("RateLimit", "RateLimit-Policy")]
        await self.refused(
            "an eleventh invitation",
            busy,
            busy.workspaces("create_invitation", one_more),
            429,
            "RATE_LIMITED",
            limit_headers,
        )
        for number in range(10):
            await self.ok(f"resend {number}", busy, busy.workspaces("resend_invitation", last), CREATED_INVITATION)
            last = busy.last.json()["id"]
        await self.refused(
            "an eleventh resend", busy, busy.workspaces("resend_invitation", last), 429, "RATE_LIMITED", limit_headers
        )

        anonymous, guess = self.person(), models.LoginSchema(email=self.email("guessed"), password="a guess")
        for number in range(15):
            await self.refused(f"guess {number}", anonymous, anonymous.auth("login", guess), 401, "INVALID_CREDENTIALS")
        await self.refused(
            "a sixteenth guess", anonymous, anonymous.auth("login", guess), 429, "RATE_LIMITED", limit_headers
        )

    async def sessions(self, owner, worker, workspace_id):
        revoke = lambda person: person.workspaces("revoke_all_workspace_sessions")
        await self.refused("revoke all, as a worker", worker, revoke(worker), 403, "FORBIDDEN")
        await self.ok(
            "revoke all",
            owner,
            revoke(owner),
            models.RevokeAllSessionsOut,
            lambda it: same((it.members_affected, it.workspace_id), (2, workspace_id), "it"),
        )
        for person in (owner, worker):
            await self.refused(
                f"the token of {person.email}", person, person.workspaces("get_workspace"), 401, "TOKEN_REVOKED"
            )
        await self.log_in(owner, owner.email)
        await self.refused("revoke all again", owner, revoke(owner), 429, "RATE_LIMITED")

        model = dict if OLD else models.MessageResponse
        await self.ok("logout", owner, owner.auth("logout"), model)
        await self.refused("the access token after logout", owner, owner.auth("get_current_user"), 401, "TOKEN_REVOKED")
        schema = models.RefreshTokenSchema(refresh_token=owner.refresh_token)
        await self.refused(
            "the refresh token after logout", owner, owner.auth("refresh_token", schema), 401, "TOKEN_REVOKED"
        )

    async def expiry(self, other):
        """Moves the clock on by a week, after which the access token and the invitation have expired."""
        await self.log_in(other, other.email)
        invitation = await self.invite(other, self.email("late"))
        self.local("clock", {"advance_seconds": 169 * 3600})
        await self.refused("an expired access token", other, other.auth("get_current_user"), 401, "TOKEN_INVALID")
        schema = models.RefreshTokenSchema(refresh_token=other.refresh_token)
        await self.ok("refresh after a week", other, other.auth("refresh_token", schema), models.LoginResponse)
        self.use_tokens(other)
        anonymous = self.person()
        await self.refused("accept too late", anonymous, self.accept(anonymous, invitation), 400, "INVITATION_EXPIRED")
        await self.refused(
            "resend too late", other, other.workspaces("resend_invitation", invitation[0]), 400, "INVITATION_EXPIRED"
        )
        await self.ok("cancel an expired one", other, other.workspaces("cancel_invitation", invitation[0]), dict)

    async def run(self):
        try:
            owner = await self.register("owner")
            other = await self.register("other")
            await self.accounts(owner)
            worker, used = await self.join(owner, "worker")
            await self.ok("get workspace", owner, owner.workspaces("get_workspace"), models.WorkspaceOut)
            workspace_id = owner.last.json()["id"]
            await self.workspace(owner, worker)
            await self.usage(owner, workspace_id)
            await self.invitations(owner, worker, used, other)
            await self.members(owner, worker, other)
            await self.limits()
            await self.sessions(owner, worker, workspace_id)
            await self.expiry(other)
        except Exception as error:  # A step failed that the following steps depend on, so they cannot run.
            self.failures += 1
            print(f"FAIL  the test ended early: {type(error).__name__}: {error}", flush=True)
        for person in self.people:
            await person.close()
        print(f"spatialflow {VERSION}: {self.passed} passed, {self.failures} failed", flush=True)
        return self.failures == 0 and self.passed > 0


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(Drive(sys.argv[1].rstrip("/")).run()) else 1)
