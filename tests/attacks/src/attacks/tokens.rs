//! Tokens are not predictable.

use std::collections::HashSet;

use kvolt_session::Token;

use super::sign_in;
use crate::stage::Stage;

const TOKENS: usize = 2_000;

/// fiber CVE-2025-66630: ids are weak if the random generator fails. nano-id
/// RUSTSEC-2024-0343: parts of the alphabet are never used.
///
/// Tested on every store, since a store may influence which ids it accepts. (The equivalent
/// with a failing generator, which only the crate's own tests can inject, is
/// `failing_generator_makes_no_session`.)
pub async fn two_thousand_tokens_differ_and_use_the_whole_alphabet_at_every_place(stage: &Stage) {
    let tasks = stage.servers().into_iter().cycle().take(8).enumerate().map(|(number, server)| {
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
