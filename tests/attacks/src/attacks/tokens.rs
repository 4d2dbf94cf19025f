//! Tokens are unguessable.

use std::collections::HashSet;

use kvolt_session::Token;

use super::sign_in;
use crate::deployment::Deployment;

const TOKENS: usize = 2_000;

/// fiber CVE-2025-66630: ids are weak if the generator fails. nano-id RUSTSEC-2024-0343: parts of
/// the alphabet are never used.
///
/// A store may influence the ids, so each store is tested. (A generator that fails is possible only
/// in the crate's own tests: `failing_generator_makes_no_session`.)
pub async fn tokens_differ_at_every_position(deployment: &Deployment) {
    let tasks =
        deployment.servers().into_iter().cycle().take(8).enumerate().map(|(number, server)| {
            let manager = server.manager();
            tokio::spawn(async move {
                let mut tokens = Vec::new();
                for _ in 0..TOKENS / 8 {
                    tokens.push(sign_in(&manager, &format!("owner-{number}")).await);
                }
                tokens
            })
        });
    let (mut texts, mut ids) = (HashSet::new(), HashSet::new());
    let mut seen = [[false; 128]; Token::LEN];
    for task in tasks.collect::<Vec<_>>() {
        for token in task.await.expect("all of them were made") {
            for (place, character) in token.expose().bytes().enumerate() {
                seen[place][usize::from(character)] = true;
            }
            ids.insert(token.id());
            texts.insert(token.expose().to_owned());
        }
    }
    assert_eq!((texts.len(), ids.len()), (TOKENS, TOKENS));
    for (place, seen) in seen.iter().enumerate() {
        assert_eq!(seen.iter().filter(|seen| **seen).count(), 64, "place {place}");
    }
}
