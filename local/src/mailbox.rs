//! The mailbox: accepts mails as SES does, and keeps them in memory instead of sending them.

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

pub(crate) use ses_events::SimulatedEvent;

/// How many mails are kept. Above that number, each new mail replaces the oldest.
const MAILS_MAX: usize = 1_000;

/// An accepted mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mail {
    /// The message id that was returned to the sender.
    pub id: String,
    /// The recipient. Several recipients are separated by a comma and a space.
    pub to: String,
    /// The sender.
    pub from: String,
    /// The subject.
    pub subject: String,
    /// The plain text, empty when the mail has none.
    pub text: String,
    /// The HTML, empty when the mail has none.
    pub html: String,
    /// When the mail was accepted, by the stack's clock: RFC 3339, UTC, milliseconds.
    pub sent_at: String,
    /// The tags that SES would publish with the mail's events.
    #[serde(skip)]
    pub tags: BTreeMap<String, String>,
    /// The SES configuration set that the request named.
    #[serde(skip)]
    pub configuration_set: Option<String>,
}

/// A simulated failure of SES, for tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Responds with an error of SES.
    Refuse {
        /// The HTTP status, such as 400, 429 or 500.
        status: u16,
        /// SES's error code, such as `MessageRejected` or `TooManyRequestsException`.
        code: String,
        /// SES's error message.
        message: String,
    },
    /// Keeps the connection open and never responds.
    Silence {
        /// Whether the mail is accepted, and so appears in the mailbox.
        accepted: bool,
    },
}

impl Fault {
    /// SES rejects the content or an address with 400. A retry would fail too.
    #[must_use]
    pub fn message_rejected() -> Self {
        Self::refuse(400, "MessageRejected", "Email address is not verified.")
    }

    /// SES responds with 429, because the account sends too fast.
    #[must_use]
    pub fn too_many_requests() -> Self {
        Self::refuse(
            429,
            "TooManyRequestsException",
            "Too many requests have been made to the operation.",
        )
    }

    /// SES responds with 500.
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

/// The mails of one stack. Clones share the mails.
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
    /// How many more send requests meet the fault; `None` means all of them.
    fault_count: Option<u32>,
}

impl Mailbox {
    /// An empty mailbox that takes its times from `clock`.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            state: Arc::default(),
        }
    }

    /// All mails, newest first.
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        self.state().mails.iter().cloned().collect()
    }

    /// The newest mail whose only recipient is this address, ignoring case.
    #[must_use]
    pub fn latest_to(&self, address: &str) -> Option<Mail> {
        let state = self.state();
        state
            .mails
            .iter()
            .find(|mail| mail.to.eq_ignore_ascii_case(address))
            .cloned()
    }

    /// The mail with this id.
    pub(crate) fn mail(&self, id: &str) -> Option<Mail> {
        self.state().mails.iter().find(|mail| mail.id == id).cloned()
    }

    /// The number of `SendEmail` requests so far, including those that failed.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.state().attempts
    }

    /// Deletes all mails.
    pub fn clear(&self) {
        self.state().mails.clear();
    }

    /// Makes every send request from now on meet this fault; `None` ends the fault.
    pub fn set_fault(&self, fault: impl Into<Option<Fault>>) {
        let mut state = self.state();
        state.fault = fault.into();
        state.fault_count = None;
    }

    /// Makes the next `count` send requests meet this fault. Retries by an SDK count as requests.
    pub fn fault_next(&self, count: u32, fault: Fault) {
        let mut state = self.state();
        state.fault = (count > 0).then_some(fault);
        state.fault_count = Some(count);
    }

    /// The router of the SES v2 endpoint, `POST /v2/email/outbound-emails`.
    pub fn ses(&self) -> Router {
        ses::router(self.clone())
    }

    /// The router of the pages: `/_local/mailbox`, `/_local/mailbox.json` and the HTML of one mail.
    pub fn pages(&self) -> Router {
        page::router(self.clone())
    }

    /// Serves [`Mailbox::ses`] on a free loopback port.
    ///
    /// # Errors
    /// When no port is available.
    pub async fn start(&self) -> io::Result<MailboxServer> {
        let serving = loopback::serve(loopback::bind(0).await?, self.ses())?;
        Ok(MailboxServer {
            endpoint: serving.url(),
            serving,
        })
    }

    /// Counts a send request and returns the fault that it meets.
    fn count_attempt(&self) -> Option<Fault> {
        let mut state = self.state();
        state.attempts += 1;
        let fault = state.fault.clone();
        if let Some(remaining) = state.fault_count.as_mut() {
            *remaining = remaining.saturating_sub(1);
            if *remaining == 0 {
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
        // A poisoned lock is safe to use: no code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A mailbox's SES endpoint on its own loopback port. Dropping the value stops the server.
#[derive(Debug)]
pub struct MailboxServer {
    /// `http://127.0.0.1:<port>`, the endpoint URL for AWS clients.
    pub endpoint: String,
    serving: Serving,
}

impl MailboxServer {
    /// Stops the server. Running requests have one second to finish.
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
    fn only_the_newest_thousand_mails_are_kept() {
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
    fn a_fault_with_a_count_ends_after_that_many_requests() {
        let mailbox = Mailbox::new(Clock::system());
        mailbox.fault_next(2, Fault::too_many_requests());
        assert!(mailbox.count_attempt().is_some());
        assert!(mailbox.count_attempt().is_some());
        assert!(mailbox.count_attempt().is_none());
        mailbox.fault_next(0, Fault::too_many_requests());
        assert!(mailbox.count_attempt().is_none());
        assert_eq!(mailbox.attempts(), 4);
    }
}
