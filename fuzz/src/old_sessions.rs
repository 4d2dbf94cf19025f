use kvolt_bridge::{OldCookie, OldSession, OldSessionError};

const ID: &str = "AAECAwQFBgcICQoLDA0ODw";

/// Reads any bytes as what other libraries store: a record of tower-sessions, a state of
/// actix-session, and cookies.
///
/// What is no session of theirs is unreadable, and never an outage. A cookie that was not made with
/// the key never opens.
///
/// # Panics
///
/// If that does not hold.
pub fn old_sessions(bytes: &[u8]) {
    check(OldSession::from_tower_sessions(ID, bytes));
    check(OldSession::from_actix_session(bytes));
    if let Ok(text) = str::from_utf8(bytes) {
        let key = [7; 64];
        let open = |cookie: OldCookie| cookie.open(text);
        assert_eq!(open(OldCookie::plain("id")).as_deref(), Some(text));
        assert_eq!(open(OldCookie::signed("id", &key).expect("the key is long enough")), None);
        assert_eq!(open(OldCookie::encrypted("id", &key).expect("the key is long enough")), None);
    }
}

fn check(read: Result<OldSession, OldSessionError>) {
    match read {
        // Its values can be written, so they are those of JSON.
        Ok(session) => drop(serde_json::to_string(session.values()).expect("it is JSON")),
        Err(error) => assert!(!error.is_unavailable()),
    }
}
