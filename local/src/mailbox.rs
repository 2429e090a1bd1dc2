//! The mailbox: what SES would have sent, kept in memory to be looked at.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::Router;
use serde::Serialize;
use shared::clock::Clock;

use crate::loopback::{self, Serving};

mod page;
mod ses;
mod ses_events;

pub(crate) use ses_events::News;

/// How many mails are kept; each one more pushes out the oldest.
const MAILS_MAX: usize = 1_000;

/// A mail that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mail {
    /// The id SES answered with.
    pub id: String,
    /// The recipient; several are separated by a comma and a space.
    pub to: String,
    /// The sender.
    pub from: String,
    /// The subject.
    pub subject: String,
    /// The plain text, empty when the mail has none.
    pub text: String,
    /// The HTML, empty when the mail has none.
    pub html: String,
    /// When it was accepted, by the stack's clock: RFC 3339, UTC, milliseconds.
    pub sent_at: String,
    /// The tags SES would publish with the mail's events.
    #[serde(skip)]
    pub tags: BTreeMap<String, String>,
    /// The configuration set it was sent with.
    #[serde(skip)]
    pub configuration_set: Option<String>,
}

/// What the mailbox does wrong, for tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Refuses the mail as SES would.
    Refuse {
        /// The HTTP status, such as 400, 429 or 500.
        status: u16,
        /// SES's name of the error, such as `MessageRejected` or `TooManyRequestsException`.
        code: String,
        /// SES's text.
        message: String,
    },
    /// Keeps the connection open and never answers.
    Silence {
        /// Whether the mail is accepted (and in the mailbox) all the same.
        accepted: bool,
    },
}

impl Fault {
    /// SES finds the content or an address unacceptable: 400, and trying again is no use.
    #[must_use]
    pub fn message_rejected() -> Self {
        Self::refuse(400, "MessageRejected", "Email address is not verified.")
    }

    /// The account sends too fast: 429.
    #[must_use]
    pub fn too_many_requests() -> Self {
        Self::refuse(
            429,
            "TooManyRequestsException",
            "Too many requests have been made to the operation.",
        )
    }

    /// SES itself is broken: 500.
    #[must_use]
    pub fn internal_failure() -> Self {
        Self::refuse(500, "InternalFailure", "The request processing has failed.")
    }

    fn refuse(status: u16, code: &str, message: &str) -> Self {
        Self::Refuse {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }
}

/// The mails of one stack. Clones share them.
#[derive(Clone)]
pub struct Mailbox {
    clock: Clock,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Newest first.
    mails: VecDeque<Mail>,
    attempts: u64,
    fault: Option<Fault>,
    /// How many more sends the fault meets; `None`: all of them.
    fault_count: Option<u32>,
}

impl Mailbox {
    /// An empty mailbox that goes by this clock.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            state: Arc::default(),
        }
    }

    /// Every mail kept, newest first.
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        self.state().mails.iter().cloned().collect()
    }

    /// The newest mail to exactly this address, ignoring case.
    #[must_use]
    pub fn latest_to(&self, address: &str) -> Option<Mail> {
        let state = self.state();
        state
            .mails
            .iter()
            .find(|mail| mail.to.eq_ignore_ascii_case(address))
            .cloned()
    }

    /// The mail of this id.
    pub(crate) fn mail(&self, id: &str) -> Option<Mail> {
        self.state().mails.iter().find(|mail| mail.id == id).cloned()
    }

    /// How often `SendEmail` was called so far, refused and unanswered calls included.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.state().attempts
    }

    /// Forgets every mail.
    pub fn clear(&self) {
        self.state().mails.clear();
    }

    /// Every send from now on meets this fault; `None` ends it.
    pub fn set_fault(&self, fault: impl Into<Option<Fault>>) {
        let mut state = self.state();
        state.fault = fault.into();
        state.fault_count = None;
    }

    /// The next `count` sends meet this fault, the ones after them go through. An SDK's own retry counts as a send.
    pub fn fault_next(&self, count: u32, fault: Fault) {
        let mut state = self.state();
        state.fault = (count > 0).then_some(fault);
        state.fault_count = Some(count);
    }

    /// The SES v2 endpoint: `POST /v2/email/outbound-emails`.
    pub fn ses(&self) -> Router {
        ses::router(self.clone())
    }

    /// The pages: `GET /_local/mailbox`, `GET /_local/mailbox.json` and one mail's HTML.
    pub fn pages(&self) -> Router {
        page::router(self.clone())
    }

    /// Serves [`Mailbox::ses`] on a free loopback port.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(&self) -> io::Result<MailboxServer> {
        let serving = loopback::serve(loopback::bind(0).await?, self.ses())?;
        Ok(MailboxServer {
            endpoint: serving.url(),
            serving,
        })
    }

    /// Counts a send and says which fault it meets.
    fn attempt(&self) -> Option<Fault> {
        let mut state = self.state();
        state.attempts += 1;
        let fault = state.fault.clone();
        if let Some(left) = state.fault_count.as_mut() {
            *left = left.saturating_sub(1);
            if *left == 0 {
                state.fault = None;
                state.fault_count = None;
            }
        }
        fault
    }

    fn keep(&self, mail: Mail) {
        let mut state = self.state();
        state.mails.push_front(mail);
        state.mails.truncate(MAILS_MAX);
    }

    fn now(&self) -> String {
        self.clock.now().to_string()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock, and a list of mails has no half-made state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A mailbox's SES endpoint on a loopback port of its own. Dropping it stops it.
#[derive(Debug)]
pub struct MailboxServer {
    /// `http://127.0.0.1:<port>`: what any AWS client takes as SES's endpoint.
    pub endpoint: String,
    serving: Serving,
}

impl MailboxServer {
    /// Lets running requests finish, at most a second, and ends.
    pub async fn stop(self) {
        self.serving.stop().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(number: usize) -> Mail {
        Mail {
            id: number.to_string(),
            to: "to@example.com".to_owned(),
            from: "from@example.com".to_owned(),
            subject: String::new(),
            text: String::new(),
            html: String::new(),
            sent_at: String::new(),
            tags: BTreeMap::new(),
            configuration_set: None,
        }
    }

    #[test]
    fn it_keeps_the_newest_thousand() {
        let mailbox = Mailbox::new(Clock::system());
        for number in 0..=MAILS_MAX {
            mailbox.keep(mail(number));
        }
        let mails = mailbox.mails();
        assert_eq!(mails.len(), MAILS_MAX);
        assert_eq!(mails[0].id, MAILS_MAX.to_string());
        assert_eq!(mails[MAILS_MAX - 1].id, "1");
    }

    #[test]
    fn a_counted_fault_ends_by_itself() {
        let mailbox = Mailbox::new(Clock::system());
        mailbox.fault_next(2, Fault::too_many_requests());
        assert!(mailbox.attempt().is_some());
        assert!(mailbox.attempt().is_some());
        assert!(mailbox.attempt().is_none());
        mailbox.fault_next(0, Fault::too_many_requests());
        assert!(mailbox.attempt().is_none());
        assert_eq!(mailbox.attempts(), 4);
    }
}
