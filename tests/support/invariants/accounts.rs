//! Invariants of users, e-mail items, workspaces, slugs and member rows.

use serde_json::{Map, Value};

use super::{Checker, text};

impl Checker<'_> {
    pub(super) fn user(&mut self, at: &str, user: &Value) {
        let (id, address) = (text(user, "id"), text(user, "email"));
        self.expect(at == format!("USER#{id} USER"), || format!("{at}: is {id}"));
        let sessions = user["sessions"].as_object().map_or(0, Map::len);
        self.expect(sessions <= 16, || format!("{at}: {sessions} sessions"));
        let email = self
            .get(&format!("EMAIL#{address}"), "EMAIL")
            .cloned()
            .unwrap_or_default();
        self.expect(text(&email, "user_id") == id, || {
            format!("{at}: the e-mail item is {email}")
        });
        let membership = &user["membership"];
        let workspace = text(membership, "workspace_id");
        self.expect(text(&email, "workspace_id") == workspace, || {
            format!("{at}: in {workspace:?}, its e-mail item in {}", email["workspace_id"])
        });
        if membership.is_null() {
            self.expect(user["gsi1pk"].is_null() && user["gsi1sk"].is_null(), || {
                format!("{at}: in no workspace, but in the index")
            });
            return;
        }
        self.expect(
            user["gsi1pk"] == format!("WS#{workspace}") && user["gsi1sk"] == format!("USER#{id}"),
            || format!("{at}: in the index at {} {}", user["gsi1pk"], user["gsi1sk"]),
        );
        self.expect(self.get(&format!("WS#{workspace}"), "WS").is_some(), || {
            format!("{at}: workspace {workspace} does not exist")
        });
        let row = format!("MEMBER#{}#{id}", text(membership, "joined_at"));
        let member = self.get(&format!("WS#{workspace}"), &row).cloned().unwrap_or_default();
        for field in ["id", "email", "name"] {
            self.expect(member[field] == user[field], || {
                format!("{at}: the member's {field} is {}", member[field])
            });
        }
        for field in ["role", "joined_at"] {
            self.expect(member[field] == membership[field], || {
                format!("{at}: the member's {field} is {}", member[field])
            });
        }
    }

    pub(super) fn email(&mut self, at: &str, email: &Value, pk: &str) {
        let user = self
            .get(&format!("USER#{}", text(email, "user_id")), "USER")
            .cloned()
            .unwrap_or_default();
        self.expect(pk == format!("EMAIL#{}", text(&user, "email")), || {
            format!("{at}: belongs to the user {user}")
        });
    }

    pub(super) fn workspace(&mut self, at: &str, workspace: &Value) {
        let pk = format!("WS#{}", text(workspace, "id"));
        let members = self.rows(&pk, "MEMBER#");
        let owners = members.iter().filter(|member| member["role"] == "owner").count();
        let counts = [
            ("owner_count", owners),
            ("member_count", members.len()),
            ("pending_count", self.rows(&pk, "PENDING#").len()),
        ];
        for (counter, rows) in counts {
            self.expect(workspace[counter] == rows, || {
                format!("{at}: {counter} is {}, rows are {rows}", workspace[counter])
            });
        }
        self.expect(owners > 0, || format!("{at}: has no owner"));
        let slug = self
            .get(&format!("SLUG#{}", text(workspace, "slug")), "SLUG")
            .cloned()
            .unwrap_or_default();
        self.expect(slug["workspace_id"] == workspace["id"], || {
            format!("{at}: its slug item is {slug}")
        });
    }

    pub(super) fn slug(&mut self, at: &str, slug: &Value, pk: &str) {
        let workspace = self
            .get(&format!("WS#{}", text(slug, "workspace_id")), "WS")
            .cloned()
            .unwrap_or_default();
        self.expect(pk == format!("SLUG#{}", text(&workspace, "slug")), || {
            format!("{at}: belongs to {workspace}")
        });
    }

    pub(super) fn member(&mut self, at: &str, member: &Value, pk: &str) {
        let user = self
            .get(&format!("USER#{}", text(member, "id")), "USER")
            .cloned()
            .unwrap_or_default();
        let membership = &user["membership"];
        let here =
            pk == format!("WS#{}", text(membership, "workspace_id")) && membership["joined_at"] == member["joined_at"];
        self.expect(here, || format!("{at}: the user's membership is {membership}"));
        self.expect(self.get(pk, "WS").is_some(), || {
            format!("{at}: the workspace does not exist")
        });
    }
}
