//! Hashes and checks passwords, with bounded CPU and memory.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Argon2, Block, Params};
use tokio::sync::Semaphore;

/// Hashes a password with Argon2id, the library's parameters and a random salt.
pub(crate) fn hash(password: &str) -> Result<PasswordHash, String> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map_err(|error| format!("can't hash a password: {error}"))
}

/// Checks passwords: at most one at a time for each core.
///
/// A check takes a core and 19 megabytes. The memory is reused: a freed block would be split by
/// small allocations, and a flood of sign-ins would take half a gigabyte in spite of the limit.
pub(crate) struct Checker {
    permits: Arc<Semaphore>,
    /// At most one for each permit.
    free: Arc<Mutex<Vec<Memory>>>,
}

type Memory = Vec<Block>;

impl Checker {
    pub(crate) fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self { permits: Arc::new(Semaphore::new(cores)), free: Arc::default() }
    }

    /// Whether the hash is the password's. Takes as long for a wrong password.
    pub(crate) async fn check(&self, password: String, hash: PasswordHash) -> bool {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return false };
        let free = Arc::clone(&self.free);
        let check = tokio::task::spawn_blocking(move || {
            // Released when the work is done, even if the request was cancelled.
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
    async fn reused_memory_changes_no_answer() {
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
        assert_eq!(
            checker.free.lock().unwrap().len(),
            1,
            "sequential checks share one block of memory"
        );
    }

    #[test]
    fn the_hash_is_of_argon2id_and_salted() {
        let (one, other) = (hash("secret").unwrap(), hash("secret").unwrap());
        assert_eq!(one.algorithm.to_string(), "argon2id");
        assert_ne!((&one.salt, &one.hash), (&other.salt, &other.hash));
    }
}
