//! Passwords: Argon2id (RFC 9106), with a bound on how many are hashed at once.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::Semaphore;

use crate::error::Error;
use crate::models::user::PasswordHash;
use crate::secret::Secret;

/// Memory of one hash in KiB: 19 MiB, with two passes and one lane, as OWASP's cheat sheet has it.
const MEMORY_KIB: u32 = 19 * 1024;
/// Hashes at once in one process: each holds its memory and a core.
const HASHES_MAX: usize = 2;
/// Those that wait for their turn: more would wait longer than a request may take.
const WAITING_MAX: usize = 128;
/// The hash of no password: verifying against it takes as long as against any.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5LW5vYm9keQ$Wq5UhTgJjh0s3iC0fY0f5yqkR4eCqvC2m5p8n0Xw1dE";

/// Hashes and verifies passwords.
#[derive(Clone, Debug)]
pub struct Passwords {
    room: Arc<Semaphore>,
    queue: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            room: Arc::new(Semaphore::new(HASHES_MAX)),
            queue: Arc::new(Semaphore::new(WAITING_MAX)),
        }
    }
}

fn argon2id() -> Result<Argon2<'static>, Error> {
    let params = Params::new(MEMORY_KIB, 2, 1, None).map_err(|error| Error::Internal(format!("argon2: {error}")))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Whether a new password is of a permitted length, 8 to 128 characters.
pub fn check_strength(password: &Secret) -> Result<(), Error> {
    match password.expose().chars().count() {
        8..=128 => Ok(()),
        _ => Err(Error::WeakPassword),
    }
}

impl Passwords {
    /// Hashes a password.
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

    /// Whether `password` is the one of `hash`. Without a hash it takes as long, and the answer is no.
    pub async fn verify(&self, password: &Secret, hash: Option<&PasswordHash>) -> Result<bool, Error> {
        let password = password.clone();
        let known = hash.is_some();
        let hash = hash.map_or_else(|| NOBODY.to_owned(), |hash| hash.0.clone());
        self.run(move || {
            let parsed = Phc::new(&hash).map_err(|error| Error::Internal(format!("password hash: {error}")))?;
            Ok(argon2id()?
                .verify_password(password.expose().as_bytes(), &parsed)
                .is_ok()
                && known)
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let place = self
            .queue
            .try_acquire()
            .map_err(|_| Error::Unavailable("too many passwords wait to be hashed".to_owned()))?;
        let room = Arc::clone(&self.room)
            .acquire_owned()
            .await
            .map_err(|error| Error::Internal(format!("password hashing: {error}")))?;
        drop(place);
        let hashing = move || {
            // Held until the hash is made, even when nobody waits for it any more: it takes its memory and core to the end.
            let _room = room;
            work()
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
    async fn a_hash_knows_its_password_and_nobodys_knows_none() {
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
    async fn a_queue_has_an_end_and_a_hash_keeps_its_room_until_it_is_made() {
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
            // Dropped once it is under way: whoever asked is gone.
            let under_way = passwords.run(work());
            assert!(
                tokio::time::timeout(std::time::Duration::ZERO, under_way)
                    .await
                    .is_err()
            );
        }
        assert_eq!(passwords.room.available_permits(), 0);
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
        assert_eq!(passwords.queue.available_permits(), WAITING_MAX);
    }

    #[tokio::test]
    async fn nobodys_hash_is_refused_for_its_password_alone() {
        // Refused for anything else it would be refused at once, and the time would tell who has an account.
        let parsed = Phc::new(NOBODY).unwrap();
        let refused = argon2id()
            .unwrap()
            .verify_password(b"password123", &parsed)
            .unwrap_err();
        assert_eq!(refused, argon2::password_hash::Error::PasswordInvalid);
        let somebodys = Passwords::default().hash(&Secret::new("password123")).await.unwrap();
        let cost = |hash: &Phc| Params::try_from(hash).unwrap();
        assert_eq!(cost(&parsed), cost(&Phc::new(&somebodys.0).unwrap()));
    }

    #[test]
    fn strength_is_length() {
        for (length, permitted) in [(7, false), (8, true), (128, true), (129, false)] {
            assert_eq!(check_strength(&Secret::new("ü".repeat(length))).is_ok(), permitted);
        }
    }
}
