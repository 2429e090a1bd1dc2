//! Password hashes with Argon2id (RFC 9106), and a limit on concurrent hashes.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::Semaphore;
use tracing::Span;

use crate::error::Error;
use crate::models::user::PasswordHash;
use crate::secret::Secret;

/// The memory of one hash in KiB: 19 MiB, with two passes and one lane. OWASP's cheat sheet recommends these parameters.
const MEMORY_KIB: u32 = 19 * 1024;
/// Concurrent hashes in one process: each hash occupies its memory and a core.
const HASHES_MAX: usize = 2;
/// Hashes that wait for a permit: more of them would wait longer than a request may take.
const WAITING_MAX: usize = 128;
/// A hash that no password matches. Verifying a password against it takes as long as against any other hash.
const UNMATCHABLE: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5LW5vYm9keQ$Wq5UhTgJjh0s3iC0fY0f5yqkR4eCqvC2m5p8n0Xw1dE";

/// Hashes and verifies passwords on threads of their own.
#[derive(Clone, Debug)]
pub struct Passwords {
    /// A permit for each hash that runs.
    running: Arc<Semaphore>,
    /// A permit for each hash that waits.
    waiting: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            running: Arc::new(Semaphore::new(HASHES_MAX)),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
        }
    }
}

fn argon2id() -> Result<Argon2<'static>, Error> {
    let params = Params::new(MEMORY_KIB, 2, 1, None).map_err(|error| Error::Internal(format!("argon2: {error}")))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Checks that a new password has 8 to 128 characters.
pub fn check_strength(password: &Secret) -> Result<(), Error> {
    match password.expose().chars().count() {
        8..=128 => Ok(()),
        _ => Err(Error::WeakPassword),
    }
}

impl Passwords {
    /// Hashes a password with a random salt.
    pub async fn hash(&self, password: &Secret) -> Result<PasswordHash, Error> {
        let password = password.clone();
        self.run(move || {
            let hashed = argon2id()?
                .hash_password(password.expose().as_bytes())
                .map_err(|error| Error::Internal(format!("argon2: {error}")))?;
            Ok(PasswordHash(hashed.to_string()))
        })
        .await
    }

    /// Whether `hash` is the hash of `password`. Without a hash the result is false after the same time, so that the time
    /// does not reveal whether an account exists.
    pub async fn verify(&self, password: &Secret, hash: Option<&PasswordHash>) -> Result<bool, Error> {
        let password = password.clone();
        let has_account = hash.is_some();
        let hash = hash.map_or_else(|| UNMATCHABLE.to_owned(), |hash| hash.0.clone());
        self.run(move || {
            let parsed = Phc::new(&hash).map_err(|error| Error::Internal(format!("password hash: {error}")))?;
            Ok(argon2id()?
                .verify_password(password.expose().as_bytes(), &parsed)
                .is_ok()
                && has_account)
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let waiting = self
            .waiting
            .try_acquire()
            .map_err(|_| Error::Unavailable("too many passwords wait to be hashed".to_owned()))?;
        let running = Arc::clone(&self.running)
            .acquire_owned()
            .await
            .map_err(|error| Error::Internal(format!("password hashing: {error}")))?;
        drop(waiting);
        let span = Span::current();
        let hashing = move || {
            // The permit is held until the hash is complete, even when the request has ended: the hash occupies its memory
            // and core until then.
            let _running = running;
            span.in_scope(work)
        };
        tokio::task::spawn_blocking(hashing)
            .await
            .map_err(|error| Error::Internal(format!("password hashing: {error}")))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_matches_its_own_password_only() {
        let passwords = Passwords::default();
        let hash = passwords.hash(&Secret::new("password123")).await.unwrap();
        assert!(hash.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(
            passwords
                .verify(&Secret::new("password123"), Some(&hash))
                .await
                .unwrap()
        );
        assert!(
            !passwords
                .verify(&Secret::new("password124"), Some(&hash))
                .await
                .unwrap()
        );
        assert!(!passwords.verify(&Secret::new("password123"), None).await.unwrap());
    }

    #[tokio::test]
    async fn the_queue_is_bounded_and_an_abandoned_hash_keeps_its_permit_until_it_is_complete() {
        let passwords = Passwords::default();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let ended = Arc::new(std::sync::Mutex::new(ended));
        let work = || {
            let ended = Arc::clone(&ended);
            move || {
                ended.lock().unwrap().recv().unwrap();
                Ok(())
            }
        };
        for _ in 0..HASHES_MAX {
            // The future is dropped after the hash has started, as when a client disconnects.
            let abandoned = passwords.run(work());
            assert!(
                tokio::time::timeout(std::time::Duration::ZERO, abandoned)
                    .await
                    .is_err()
            );
        }
        assert_eq!(passwords.running.available_permits(), 0);
        let mut waiting: Vec<_> = (0..=WAITING_MAX).map(|_| Box::pin(passwords.run(work()))).collect();
        for waits in &mut waiting[..WAITING_MAX] {
            assert!(futures::poll!(waits).is_pending());
        }
        assert!(matches!(waiting.pop().unwrap().await, Err(Error::Unavailable(_))));
        for _ in 0..HASHES_MAX + WAITING_MAX {
            end.send(()).unwrap();
        }
        for waits in waiting {
            waits.await.unwrap();
        }
        assert_eq!(passwords.waiting.available_permits(), WAITING_MAX);
    }

    #[tokio::test]
    async fn the_unmatchable_hash_takes_as_long_as_a_real_one() {
        // A malformed hash would be refused without hashing, and the time would reveal whether an account exists.
        let parsed = Phc::new(UNMATCHABLE).unwrap();
        let refused = argon2id()
            .unwrap()
            .verify_password(b"password123", &parsed)
            .unwrap_err();
        assert_eq!(refused, argon2::password_hash::Error::PasswordInvalid);
        let real = Passwords::default().hash(&Secret::new("password123")).await.unwrap();
        let cost = |hash: &Phc| Params::try_from(hash).unwrap();
        assert_eq!(cost(&parsed), cost(&Phc::new(&real.0).unwrap()));
    }

    #[test]
    fn a_password_has_8_to_128_characters() {
        for (length, permitted) in [(7, false), (8, true), (128, true), (129, false)] {
            assert_eq!(check_strength(&Secret::new("ü".repeat(length))).is_ok(), permitted);
        }
    }
}
