//! The operations of the simulation and their results.

use std::net::IpAddr;

use serde_json::Value;
use shared::clock::Time;

use super::ledger::Ledger;

/// Index of a person of the simulation.
pub type PersonIndex = usize;
/// Index of a person's tokens in the ledger.
pub type TokenIndex = usize;

/// An operation to perform. Its ids are the ones that were known when it was planned.
#[derive(Clone, Debug)]
pub enum Operation {
    Register {
        who: PersonIndex,
        company: String,
    },
    LogIn {
        who: PersonIndex,
        password: String,
    },
    Refresh {
        token: TokenIndex,
    },
    LogOut {
        token: TokenIndex,
    },
    Read {
        token: TokenIndex,
        path: &'static str,
    },
    RevokeAll {
        token: TokenIndex,
    },
    CreateWorkspace {
        token: TokenIndex,
        name: String,
    },
    UpdateWorkspace {
        token: TokenIndex,
        name: String,
    },
    DeleteWorkspace {
        token: TokenIndex,
    },
    Invite {
        token: TokenIndex,
        email: String,
        role: &'static str,
    },
    Resend {
        token: TokenIndex,
        invitation: String,
    },
    Cancel {
        token: TokenIndex,
        invitation: String,
    },
    Extend {
        token: TokenIndex,
        invitation: String,
        expires_at: String,
    },
    /// Accepts an invitation by its link, with a bearer token, a password, or neither.
    Accept {
        who: PersonIndex,
        invitation: String,
        secret: String,
        bearer: Option<TokenIndex>,
        password: Option<String>,
    },
    Decline {
        who: PersonIndex,
        invitation: String,
        secret: String,
    },
    Preview {
        who: PersonIndex,
        invitation: String,
        secret: String,
    },
    ChangeRole {
        token: TokenIndex,
        target: String,
        role: &'static str,
    },
    Remove {
        token: TokenIndex,
        target: String,
    },
    /// The queue delivers usage records, given by their indexes in the ledger.
    IngestUsage {
        records: Vec<usize>,
    },
    RollUp {
        workspace: String,
    },
    RetryMails,
    /// The mail service reports an event of an invitation's mail.
    MailEvent {
        kind: &'static str,
        invitation: String,
    },
}

impl Operation {
    /// Name of the operation in the summary.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Register { .. } => "register",
            Self::LogIn { .. } => "log in",
            Self::Refresh { .. } => "refresh",
            Self::LogOut { .. } => "log out",
            Self::Read { .. } => "read",
            Self::RevokeAll { .. } => "revoke all",
            Self::CreateWorkspace { .. } => "create workspace",
            Self::UpdateWorkspace { .. } => "update workspace",
            Self::DeleteWorkspace { .. } => "delete workspace",
            Self::Invite { .. } => "invite",
            Self::Resend { .. } => "resend",
            Self::Cancel { .. } => "cancel",
            Self::Extend { .. } => "extend",
            Self::Accept { .. } => "accept",
            Self::Decline { .. } => "decline",
            Self::Preview { .. } => "preview",
            Self::ChangeRole { .. } => "change role",
            Self::Remove { .. } => "remove",
            Self::IngestUsage { .. } => "usage records",
            Self::RollUp { .. } => "usage roll-up",
            Self::RetryMails => "mail retry",
            Self::MailEvent { .. } => "mail event",
        }
    }

    /// Whether a trigger performs the operation.
    pub fn is_trigger(&self) -> bool {
        matches!(
            self,
            Self::IngestUsage { .. } | Self::RollUp { .. } | Self::RetryMails | Self::MailEvent { .. }
        )
    }

    /// The access token that the operation is performed with.
    pub fn token(&self) -> Option<TokenIndex> {
        match self {
            Self::LogOut { token }
            | Self::Read { token, .. }
            | Self::RevokeAll { token }
            | Self::CreateWorkspace { token, .. }
            | Self::UpdateWorkspace { token, .. }
            | Self::DeleteWorkspace { token }
            | Self::Invite { token, .. }
            | Self::Resend { token, .. }
            | Self::Cancel { token, .. }
            | Self::Extend { token, .. }
            | Self::ChangeRole { token, .. }
            | Self::Remove { token, .. } => Some(*token),
            Self::Accept { bearer, .. } => *bearer,
            _ => None,
        }
    }

    /// The person who performs the operation; none for a trigger.
    pub fn who(&self, ledger: &Ledger) -> Option<PersonIndex> {
        match self {
            Self::Register { who, .. }
            | Self::LogIn { who, .. }
            | Self::Accept { who, .. }
            | Self::Decline { who, .. }
            | Self::Preview { who, .. } => Some(*who),
            Self::Refresh { token } => Some(ledger.tokens[*token].who),
            _ => self.token().map(|token| ledger.tokens[token].who),
        }
    }

    /// The invitation that the operation is about.
    pub fn invitation(&self) -> Option<&str> {
        match self {
            Self::Resend { invitation, .. }
            | Self::Cancel { invitation, .. }
            | Self::Extend { invitation, .. }
            | Self::Accept { invitation, .. }
            | Self::Decline { invitation, .. }
            | Self::Preview { invitation, .. } => Some(invitation),
            _ => None,
        }
    }
}

/// What the response says about the outcome of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The operation was applied.
    Done,
    /// The operation was not applied.
    Refused,
    /// The operation may have been applied.
    Unknown,
}

/// Error code of an operation whose process ended before the response.
pub const KILLED: &str = "KILLED";

/// An operation that was performed, with its response.
#[derive(Clone, Debug)]
pub struct PerformedOperation {
    pub operation: Operation,
    /// The idempotency key of the request.
    pub key: Option<String>,
    pub started: Time,
    pub ended: Time,
    pub status: u16,
    /// The code of the error; empty for a success.
    pub code: String,
    pub body: Value,
    pub text: String,
}

impl PerformedOperation {
    pub fn outcome(&self) -> Outcome {
        match self.status {
            200..300 => Outcome::Done,
            500.. => Outcome::Unknown,
            _ => Outcome::Refused,
        }
    }

    pub fn is_done(&self) -> bool {
        self.outcome() == Outcome::Done
    }

    /// Describes the operation in one line without secrets.
    pub fn summary(&self, ledger: &Ledger) -> String {
        let operation = match &self.operation {
            Operation::Accept {
                invitation,
                bearer,
                password,
                ..
            } => format!(
                "accept {invitation} with {} and {}",
                if bearer.is_some() { "a bearer token" } else { "no token" },
                if password.is_some() {
                    "a password"
                } else {
                    "no password"
                }
            ),
            Operation::Decline { invitation, .. } => format!("decline {invitation}"),
            Operation::Preview { invitation, .. } => format!("preview {invitation}"),
            Operation::LogIn { .. } => "log in".to_owned(),
            operation => format!("{operation:?}"),
        };
        let operation = match &self.key {
            Some(key) => format!("{operation} with key {key}"),
            None => operation,
        };
        let who = self.operation.who(ledger);
        let session = self.operation.token().map(|token| ledger.tokens[token].session.clone());
        format!(
            "{} {who:?} {session:?}: {operation} -> {} {}",
            self.started, self.status, self.code
        )
    }
}

/// A person of the simulation.
#[derive(Clone, Debug)]
pub struct Participant {
    pub email: String,
    pub password: String,
    pub address: IpAddr,
}
