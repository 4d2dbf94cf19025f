//! Hashing and checking passwords, with a bound on what that takes.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Argon2, Block, Params};
use tokio::sync::Semaphore;

/// The hash of a password: Argon2id, with the library's parameters and a salt of its own.
pub(crate) fn hash(password: &str) -> Result<PasswordHash, String> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map_err(|error| format!("can't hash a password: {error}"))
}

/// Checks passwords, at most as many at once as there are cores.
///
/// A check takes a core and 19 megabytes. The memory is kept for the next one: the allocator
/// would put small things into what is given back, take 19 more each time, and let a flood of
/// sign-ins have half a gigabyte in spite of the bound.
pub(crate) struct Checker {
    permits: Arc<Semaphore>,
    /// Never more than there are permits.
    free: Arc<Mutex<Vec<Memory>>>,
}

type Memory = Vec<Block>;

impl Checker {
    pub(crate) fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self { permits: Arc::new(Semaphore::new(cores)), free: Arc::default() }
    }

    /// Whether that is the hash of the password. It takes as long when it is not.
    pub(crate) async fn check(&self, password: String, hash: PasswordHash) -> bool {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return false };
        let free = Arc::clone(&self.free);
        let check = tokio::task::spawn_blocking(move || {
            // Held until the work is done, also where nobody waits for it any more.
            let _permit = permit;
            let kept = free.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut memory = kept.unwrap_or_else(memory);
            let right = is_right(&password, &hash, &mut memory);
            free.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
            right
        });
        check.await.unwrap_or(false)
    }
}

fn memory() -> Memory {
    vec![Block::new(); Argon2::default().params().block_count()]
}

fn is_right(password: &str, hash: &PasswordHash, memory: &mut Memory) -> bool {
    let (Some(salt), Some(expected)) = (&hash.salt, &hash.hash) else { return false };
    let mut computed = [0; Params::DEFAULT_OUTPUT_LEN];
    let done = Argon2::default().hash_password_into_with_memory(
        password.as_bytes(),
        salt,
        &mut computed,
        memory,
    );
    // Outputs are compared in constant time.
    done.is_ok() && Output::new(&computed).is_ok_and(|computed| computed == *expected)
}

#[cfg(test)]
mod tests {
    use argon2::PasswordVerifier;

    use super::*;

    #[tokio::test]
    async fn memory_that_was_used_before_changes_no_answer() {
        let checker = Checker::new();
        let hashes = ["secret", "other", ""].map(|password| (password, hash(password).unwrap()));
        for _ in 0..3 {
            for (right, hash) in &hashes {
                for (password, _) in &hashes {
                    let answer = checker.check((*password).to_owned(), hash.clone()).await;
                    assert_eq!(answer, password == right, "{password:?} for {right:?}");
                    let library = Argon2::default().verify_password(password.as_bytes(), hash);
                    assert_eq!(answer, library.is_ok(), "{password:?} for {right:?}");
                }
            }
        }
        assert_eq!(checker.free.lock().unwrap().len(), 1, "one was enough for one at a time");
    }

    #[test]
    fn the_hash_is_of_argon2id_and_salted() {
        let (one, other) = (hash("secret").unwrap(), hash("secret").unwrap());
        assert_eq!(one.algorithm.to_string(), "argon2id");
        assert_ne!((&one.salt, &one.hash), (&other.salt, &other.hash));
    }
}
