//! A batch of operations between two readings of the table: memberships and possible rights.

use std::collections::BTreeSet;

use serde_json::Value;
use shared::clock::Time;

use super::ledger::Ledger;
use super::operations::{Operation, Outcome, Participant, PerformedOperation};
use crate::support::invariants::Table;

pub fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

pub fn item<'t>(table: &'t Table, pk: &str, sk: &str) -> Option<&'t Value> {
    table.get(&(pk.to_owned(), sk.to_owned()))
}

/// Items of an entity.
pub fn items_of<'t>(table: &'t Table, entity: &'t str) -> impl Iterator<Item = &'t Value> {
    table.values().filter(move |item| item["entity"] == entity)
}

pub fn user<'t>(table: &'t Table, id: &str) -> Option<&'t Value> {
    item(table, &format!("USER#{id}"), "USER")
}

pub fn user_of_email(table: &Table, email: &str) -> Option<String> {
    item(table, &format!("EMAIL#{email}"), "EMAIL").map(|email| text(email, "user_id"))
}

pub fn workspace<'t>(table: &'t Table, id: &str) -> Option<&'t Value> {
    item(table, &format!("WS#{id}"), "WS")
}

pub fn invitation<'t>(table: &'t Table, id: &str) -> Option<&'t Value> {
    item(table, &format!("INVITE#{id}"), "INVITE")
}

pub fn pending<'t>(table: &'t Table, id: &str) -> Option<&'t Value> {
    let workspace = text(invitation(table, id)?, "workspace_id");
    item(table, &format!("WS#{workspace}"), &format!("PENDING#{id}"))
}

/// The workspace that a user belongs to, and the role there.
pub fn membership(table: &Table, user_id: &str) -> Option<(String, String)> {
    let membership = &user(table, user_id)?["membership"];
    membership
        .is_object()
        .then(|| (text(membership, "workspace_id"), text(membership, "role")))
}

/// The sessions of a user: id, generation and the time of the last refresh.
pub fn sessions_of(table: &Table, user_id: &str) -> Vec<(String, u64, Time)> {
    let sessions = user(table, user_id).and_then(|user| user["sessions"].as_object());
    let sessions = sessions.into_iter().flatten();
    sessions
        .filter_map(|(id, session)| {
            let since = session["rotated_at"].as_str()?.parse().ok()?;
            Some((id.clone(), session["generation"].as_u64()?, since))
        })
        .collect()
}

/// The number of times that an e-mail address joined a workspace.
pub fn invite_epoch(table: &Table, email: &str) -> u64 {
    let email = item(table, &format!("EMAIL#{email}"), "EMAIL");
    email.and_then(|email| email["invite_epoch"].as_u64()).unwrap_or(0)
}

/// Orders the roles: a higher rank permits more.
pub fn rank(role: &str) -> u8 {
    match role {
        "owner" => 3,
        "manager" => 2,
        "field_worker" => 1,
        _ => 0,
    }
}

/// The role matrix of the contract.
pub fn may_update(actor: &str) -> bool {
    rank(actor) >= 2
}

pub fn may_invite(actor: &str, role: &str) -> bool {
    actor == "owner" || (actor == "manager" && role != "owner")
}

pub fn may_change(actor: &str, from: &str, to: &str) -> bool {
    actor == "owner" || (actor == "manager" && rank(from) < 2 && to != "owner")
}

pub fn may_remove(actor: &str, target: &str) -> bool {
    actor == "owner" || (actor == "manager" && rank(target) < 2)
}

pub fn is_owner(actor: &str) -> bool {
    actor == "owner"
}

/// The state between two readings of the table.
pub struct Snapshot<'a> {
    pub before: &'a Table,
    pub after: &'a Table,
    /// Operations that ran concurrently.
    pub batch: &'a [PerformedOperation],
    /// Earlier operations with an unknown outcome; their effect may appear only now.
    pub unresolved: &'a [PerformedOperation],
    /// Whether a write of an earlier operation may have been applied in between.
    pub is_late_write_possible: bool,
    pub ledger: &'a Ledger,
    pub people: &'a [Participant],
}

impl<'a> Snapshot<'a> {
    /// Operations that may have been applied.
    pub fn possibly_applied(&self) -> impl Iterator<Item = &'a PerformedOperation> + use<'a> {
        let batch = self.batch.iter().chain(self.unresolved);
        batch.filter(|performed| performed.outcome() != Outcome::Refused)
    }

    /// The operation, if no other operation could run concurrently with it.
    pub fn only_operation(&self) -> Option<&'a PerformedOperation> {
        match (self.batch, self.unresolved) {
            ([performed], []) if !self.is_late_write_possible => Some(performed),
            _ => None,
        }
    }

    /// The account of the person who performs the operation.
    pub fn actor(&self, performed: &PerformedOperation) -> Option<String> {
        let email = &self.people[performed.operation.who(self.ledger)?].email;
        user_of_email(self.after, email).or_else(|| user_of_email(self.before, email))
    }

    /// Workspaces that a user may have belonged to, and roles that the user may have had. The effect of `except` does
    /// not count, so that an operation cannot grant its own right.
    pub fn possible_memberships(
        &self,
        user_id: &str,
        except: Option<&PerformedOperation>,
    ) -> (BTreeSet<String>, BTreeSet<String>) {
        let (mut workspaces, mut roles) = (BTreeSet::new(), BTreeSet::new());
        let email = [self.before, self.after]
            .into_iter()
            .find_map(|table| user(table, user_id));
        let email = email.map(|user| text(user, "email")).unwrap_or_default();
        let mut add = |membership: Option<(String, String)>| {
            if let Some((workspace, role)) = membership {
                workspaces.insert(workspace);
                roles.insert(role);
            }
        };
        add(membership(self.before, user_id));
        for performed in self.possibly_applied() {
            if except.is_some_and(|except| std::ptr::eq(except, performed)) {
                continue;
            }
            match &performed.operation {
                Operation::Accept { invitation, .. } => {
                    let link = self.ledger.links.get(invitation);
                    add(link
                        .filter(|link| link.email == email)
                        .map(|link| (link.workspace.clone(), link.role.clone())));
                }
                Operation::CreateWorkspace { .. } | Operation::Register { .. }
                    if self.actor(performed).as_deref() == Some(user_id) =>
                {
                    add(membership(self.after, user_id).map(|(workspace, _)| (workspace, "owner".to_owned())));
                }
                Operation::ChangeRole { target, role, .. } if target == user_id => {
                    add(membership(self.before, user_id).map(|(workspace, _)| (workspace, (*role).to_owned())));
                }
                _ => {}
            }
        }
        (workspaces, roles)
    }

    /// Whether the person may have had a role in `workspace` that permits the operation.
    pub fn is_permitted(
        &self,
        performed: &PerformedOperation,
        workspace: &str,
        permits: impl Fn(&str) -> bool,
    ) -> bool {
        let Some(actor) = self.actor(performed) else {
            return false;
        };
        let (workspaces, roles) = self.possible_memberships(&actor, Some(performed));
        workspaces.contains(workspace) && roles.iter().any(|role| permits(role))
    }

    /// The e-mail address of an invitation.
    pub fn email_of(&self, id: &str) -> String {
        let row = [self.before, self.after]
            .into_iter()
            .find_map(|table| invitation(table, id));
        row.map(|row| text(row, "email")).unwrap_or_default()
    }

    /// The subjects that an operation may change; operations with a common subject contest each other.
    pub fn subjects(&self, performed: &PerformedOperation) -> BTreeSet<String> {
        let mut subjects = BTreeSet::new();
        if let Some(id) = performed.operation.invitation() {
            subjects.insert(self.email_of(id));
        }
        match &performed.operation {
            Operation::ChangeRole { target, .. } | Operation::Remove { target, .. } => {
                let user = [self.before, self.after]
                    .into_iter()
                    .find_map(|table| user(table, target));
                subjects.insert(user.map(|user| text(user, "email")).unwrap_or_default());
            }
            Operation::Invite { email, .. } => {
                subjects.insert(email.trim().to_lowercase());
            }
            Operation::UpdateWorkspace { .. } => {
                let membership = self.actor(performed).and_then(|actor| membership(self.before, &actor));
                subjects.extend(membership.map(|(workspace, _)| workspace));
            }
            Operation::CreateWorkspace { .. } | Operation::Register { .. } => {
                subjects.extend(
                    performed
                        .operation
                        .who(self.ledger)
                        .map(|who| self.people[who].email.clone()),
                );
            }
            _ => {}
        }
        subjects
    }

    /// Whether a concurrent operation may have undone the effect of `performed`.
    pub fn is_contested(&self, performed: &PerformedOperation) -> bool {
        let subjects = self.subjects(performed);
        self.possibly_applied()
            .filter(|other| !std::ptr::eq(*other, performed))
            .any(|other| {
                matches!(other.operation, Operation::DeleteWorkspace { .. })
                    || !self.subjects(other).is_disjoint(&subjects)
            })
    }
}
