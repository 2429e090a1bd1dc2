//! What people do, and what came of it.

use std::net::IpAddr;

use serde_json::Value;
use shared::clock::Time;

use super::ledger::Ledger;

/// Somebody of the simulation, by number.
pub type Who = usize;
/// Tokens that somebody was given, by their place in the ledger.
pub type Token = usize;

/// Something to be done. Ids are the ones that were known when it was planned.
#[derive(Clone, Debug)]
pub enum Op {
    Register {
        who: Who,
        company: String,
    },
    LogIn {
        who: Who,
        password: String,
    },
    Refresh {
        token: Token,
    },
    LogOut {
        token: Token,
    },
    Look {
        token: Token,
        path: &'static str,
    },
    RevokeAll {
        token: Token,
    },
    Found {
        token: Token,
        name: String,
    },
    Rename {
        token: Token,
        name: String,
    },
    Dissolve {
        token: Token,
    },
    Invite {
        token: Token,
        email: String,
        role: &'static str,
    },
    Resend {
        token: Token,
        invitation: String,
    },
    Cancel {
        token: Token,
        invitation: String,
    },
    Extend {
        token: Token,
        invitation: String,
        expires_at: String,
    },
    /// Accepts by a link, with a bearer token, a password, or neither.
    Accept {
        who: Who,
        invitation: String,
        secret: String,
        bearer: Option<Token>,
        password: Option<String>,
    },
    Decline {
        who: Who,
        invitation: String,
        secret: String,
    },
    Preview {
        who: Who,
        invitation: String,
        secret: String,
    },
    ChangeRole {
        token: Token,
        target: String,
        role: &'static str,
    },
    Remove {
        token: Token,
        target: String,
    },
    /// The queue delivers usage records, by their places in the ledger.
    Deliver {
        records: Vec<usize>,
    },
    RollUp {
        workspace: String,
    },
    RetryMails,
    /// The mail service tells of an invitation's mail.
    Tell {
        kind: &'static str,
        invitation: String,
    },
}

impl Op {
    /// Its name in the summary.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Register { .. } => "register",
            Self::LogIn { .. } => "log in",
            Self::Refresh { .. } => "refresh",
            Self::LogOut { .. } => "log out",
            Self::Look { .. } => "read",
            Self::RevokeAll { .. } => "revoke all",
            Self::Found { .. } => "create workspace",
            Self::Rename { .. } => "update workspace",
            Self::Dissolve { .. } => "delete workspace",
            Self::Invite { .. } => "invite",
            Self::Resend { .. } => "resend",
            Self::Cancel { .. } => "cancel",
            Self::Extend { .. } => "extend",
            Self::Accept { .. } => "accept",
            Self::Decline { .. } => "decline",
            Self::Preview { .. } => "preview",
            Self::ChangeRole { .. } => "change role",
            Self::Remove { .. } => "remove",
            Self::Deliver { .. } => "usage records",
            Self::RollUp { .. } => "usage roll-up",
            Self::RetryMails => "mail retry",
            Self::Tell { .. } => "mail event",
        }
    }

    /// Whether nobody asks for it.
    pub fn is_trigger(&self) -> bool {
        matches!(
            self,
            Self::Deliver { .. } | Self::RollUp { .. } | Self::RetryMails | Self::Tell { .. }
        )
    }

    /// Whose access token it is done with.
    pub fn token(&self) -> Option<Token> {
        match self {
            Self::LogOut { token }
            | Self::Look { token, .. }
            | Self::RevokeAll { token }
            | Self::Found { token, .. }
            | Self::Rename { token, .. }
            | Self::Dissolve { token }
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

    /// Who does it; nobody where a trigger does.
    pub fn who(&self, ledger: &Ledger) -> Option<Who> {
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

    /// The invitation that it is about.
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

/// What an answer says of the deed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It is not done.
    Refused,
    /// It may be done or not.
    Unknown,
}

/// What nobody answers whose process ended.
pub const KILLED: &str = "KILLED";

/// Something that was done.
#[derive(Clone, Debug)]
pub struct Deed {
    pub op: Op,
    /// The idempotency key that it came with.
    pub key: Option<String>,
    pub started: Time,
    pub ended: Time,
    pub status: u16,
    /// The error's code, empty for none.
    pub code: String,
    pub body: Value,
    pub text: String,
}

impl Deed {
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

    /// In a line, without secrets.
    pub fn told(&self, ledger: &Ledger) -> String {
        let op = match &self.op {
            Op::Accept {
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
            Op::Decline { invitation, .. } => format!("decline {invitation}"),
            Op::Preview { invitation, .. } => format!("preview {invitation}"),
            Op::LogIn { .. } => "log in".to_owned(),
            op => format!("{op:?}"),
        };
        let op = match &self.key {
            Some(key) => format!("{op} with key {key}"),
            None => op,
        };
        let who = self.op.who(ledger);
        let session = self.op.token().map(|token| ledger.tokens[token].session.clone());
        format!(
            "{} {who:?} {session:?}: {op} -> {} {}",
            self.started, self.status, self.code
        )
    }
}

/// Somebody of the simulation.
#[derive(Clone, Debug)]
pub struct Someone {
    pub email: String,
    pub password: String,
    pub address: IpAddr,
}
