//! Invariants of invitations, pending rows, guards and idempotency records.

use serde_json::Value;

use super::{Checker, text};

impl Checker<'_> {
    pub(super) fn pending(&mut self, at: &str, pending: &Value, pk: &str) {
        let id = text(pending, "id");
        let workspace = pk.strip_prefix("WS#").unwrap_or_default();
        self.expect(self.get(pk, "WS").is_some(), || {
            format!("{at}: the workspace does not exist")
        });
        let invitation = self.get(&format!("INVITE#{id}"), "INVITE").cloned().unwrap_or_default();
        self.expect(invitation["workspace_id"] == workspace, || {
            format!("{at}: of {}", invitation["workspace_id"])
        });
        self.expect(invitation["end"].is_null(), || {
            format!("{at}: pending although ended: {}", invitation["end"])
        });
        for field in ["email", "role", "invited_by", "created_at"] {
            self.expect(invitation[field] == pending[field], || {
                format!("{at}: {field} is {}", invitation[field])
            });
        }
        let guard = self
            .get(
                &format!("EMAIL#{}", text(pending, "email")),
                &format!("GUARD#{workspace}"),
            )
            .cloned();
        let guarded = guard
            .as_ref()
            .is_some_and(|guard| guard["invitation_id"] == id.as_str());
        self.expect(guarded, || format!("{at}: its guard does not name it: {guard:?}"));
        let due = pending["gsi1pk"] == "DUE";
        self.expect(due == (pending["delivery"]["status"] == "queued"), || {
            format!("{at}: its mail is due: {due}, and {}", pending["delivery"]["status"])
        });
        let spent = !pending["recipient_budget"]["spent"].is_null();
        let withheld = text(&pending["delivery"], "reason").contains("withheld");
        self.expect(spent == withheld && !(spent && due), || {
            format!("{at}: recipient_budget is {}, due: {due}", pending["recipient_budget"])
        });
        let due_sort_key = text(pending, "gsi1sk");
        self.expect(due == due_sort_key.ends_with(&format!("Z#{id}")), || {
            format!("{at}: its mail is due: {due}, sort key {due_sort_key:?}")
        });
    }

    pub(super) fn guard(&mut self, at: &str, guard: &Value, pk: &str) {
        let workspace = text(guard, "workspace_id");
        let row = format!("PENDING#{}", text(guard, "invitation_id"));
        let pending = self.get(&format!("WS#{workspace}"), &row).cloned().unwrap_or_default();
        self.expect(pk == format!("EMAIL#{}", text(&pending, "email")), || {
            format!("{at}: its pending row is {pending}")
        });
        self.expect(at.ends_with(&format!(" GUARD#{workspace}")), || {
            format!("{at}: of workspace {workspace}")
        });
    }

    pub(super) fn invitation(&mut self, at: &str, invitation: &Value) {
        let (id, workspace) = (text(invitation, "id"), text(invitation, "workspace_id"));
        let is_pending = self.get(&format!("WS#{workspace}"), &format!("PENDING#{id}")).is_some();
        let end = &invitation["end"];
        if end.is_null() {
            self.expect(is_pending, || format!("{at}: neither pending nor ended"));
            return;
        }
        self.expect(!is_pending, || format!("{at}: pending and ended"));
        self.expect(invitation["ttl"].is_u64(), || format!("{at}: ended without a ttl"));
        let by = text(end, "accepted_by");
        let known = match text(end, "status").as_str() {
            "accepted" => self
                .get(&format!("USER#{by}"), "USER")
                .is_some_and(|user| user["email"] == invitation["email"]),
            "revoked" => by.is_empty(),
            _ => false,
        };
        self.expect(known, || format!("{at}: ended as {end}"));
    }

    /// An idempotency record expires and holds the result of one request without secrets.
    pub(super) fn idempotency(&mut self, at: &str, item: &Value) {
        self.expires(at, item);
        let fields: Vec<&str> = item["result"]
            .as_object()
            .map_or_else(Vec::new, |made| made.keys().map(String::as_str).collect());
        let of_workspace = ["created_at", "id", "name", "slug"];
        let of_invitation = [
            "created_at",
            "delivery",
            "email",
            "expires_at",
            "id",
            "invited_by",
            "invited_by_email",
            "link_page",
            "recipient_budget",
            "role",
        ];
        let is_invitation = fields == of_invitation;
        self.expect(is_invitation || fields == of_workspace, || {
            format!("{at}: the result has the fields {fields:?}")
        });
        let workspace = text(item, "workspace_id");
        self.expect(is_invitation != workspace.is_empty(), || {
            format!("{at}: of workspace {workspace:?}")
        });
        self.expect(text(item, "fingerprint").len() == 43, || {
            format!("{at}: has no fingerprint")
        });
        if is_invitation {
            let invitation = self
                .get(&format!("INVITE#{}", text(&item["result"], "id")), "INVITE")
                .cloned();
            let invitation = invitation.unwrap_or_default();
            self.expect(
                invitation["workspace_id"] == workspace.as_str() && invitation["email"] == item["result"]["email"],
                || format!("{at}: the result does not match its invitation {invitation}"),
            );
        }
        self.expect(item["is_final"] == true || is_invitation, || {
            format!("{at}: is never final")
        });
    }
}
