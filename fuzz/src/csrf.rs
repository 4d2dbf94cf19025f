use std::sync::OnceLock;

use kvolt_cache::MemoryStore;
use kvolt_session::{CsrfToken, Manager, SessionSnapshot};
use pollster::block_on;

/// The bytes are changes to a good form token, two for each: where, and what is put there;
/// past its end it is added, and from 192 on so many characters are cut off.
///
/// Only the exact token is accepted, and arbitrary bytes are not.
///
/// # Panics
///
/// If that does not hold.
pub fn csrf(data: &[u8]) {
    static SESSION: OnceLock<SessionSnapshot<()>> = OnceLock::new();
    let session = SESSION.get_or_init(session);
    assert!(!session.verifies_csrf(data), "nobody has made that");
    let good = session.csrf_token().expect("there is randomness");
    let mut token = good.as_str().as_bytes().to_vec();
    for change in data.chunks_exact(2) {
        match usize::from(change[0]) {
            192.. => token.truncate(token.len().saturating_sub(change[1].into())),
            at => match token.get_mut(at) {
                Some(character) => *character = change[1],
                None => token.push(change[1]),
            },
        }
    }
    assert_eq!(session.verifies_csrf(&token), token == good.as_str().as_bytes());
    assert_eq!(good.as_str().len(), CsrfToken::LEN);
    let other = self::session();
    assert!(!other.verifies_csrf(&token) && !other.verifies_csrf(good.as_str()));
}

fn session() -> SessionSnapshot<()> {
    let manager = Manager::new(MemoryStore::new());
    let token = block_on(manager.create(())).expect("it is in memory");
    block_on(manager.get(&token)).expect("it is in memory").expect("it was just made")
}
