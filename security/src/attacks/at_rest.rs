//! Whoever reads the store becomes nobody.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use http::StatusCode;
use kvolt_session::Token;

use super::{rotated, sign_in};
use crate::stage::Stage;
use crate::user::{guest, signed_in};

/// Rack CVE-2019-16782: a store is asked for the raw id, and how long it takes tells about it. TYPO3
/// CVE-2021-21339: ids are there in the clear.
///
/// A store knows a session by the SHA-256 of its token. A token is searched for in everything that
/// is in the store, as text, as its bytes, in hexadecimal digits and in base64, after each thing that
/// can be done with one.
pub async fn a_dump_of_the_store_holds_no_token(stage: &Stage) {
    let grace = Duration::from_secs(600);
    let manager = stage.one.builder().rotation_grace(grace).build().expect("it can work");
    let plain = sign_in(&manager, "ada").await;
    let used = sign_in(&manager, "bob").await;
    manager.get(&used).await.expect("the store answers");
    manager.update(&used, |user| user.count += 1).await.expect("the store answers");
    let former = sign_in(&manager, "cleo").await;
    let successor = rotated(manager.rotate(&former).await.expect("the store answers"));
    let visitor = manager.create(guest(String::new())).await.expect("the store answers");
    let logged_in = manager.login(Some(&visitor), signed_in("dora")).await.expect("it works");
    let ended = sign_in(&manager, "eve").await;
    manager.destroy(&ended).await.expect("the store answers");

    let dump = stage.dump();
    for token in [&plain, &used, &former, &successor, &visitor, &logged_in, &ended] {
        for form in forms(token) {
            assert!(
                !contains(&dump, &form),
                "{:?} is in the store",
                String::from_utf8_lossy(&form)
            );
        }
    }
    // It is the dump of these sessions, and is searched as it should be.
    for token in [&plain, &used, &successor, &logged_in] {
        let id = manager.id(token);
        let hex = id.to_string();
        assert!(
            contains(&dump, hex.as_bytes())
                || contains(&dump, hex.to_uppercase().as_bytes())
                || contains(&dump, id.key().as_bytes())
        );
    }
    assert!(contains(&dump, b"cleo") || contains(&dump, hex(b"cleo").as_bytes()));
}

/// TYPO3 CVE-2021-21339: what is read in the store is presented as a token.
///
/// A key, which is public as the session's id, in every form in which it could be taken for a token,
/// and one of them has exactly the form of one.
pub async fn a_stored_key_presented_as_a_token_is_refused(stage: &Stage) {
    let mut victim = stage.one.client();
    victim.post("/login/ada").await;
    let token = victim.token().expect("it is signed in");
    let id = stage.one.manager().id(&token);
    let bytes = id.key().as_bytes();
    let (hex, base64) = (id.to_string(), URL_SAFE_NO_PAD.encode(bytes));
    assert!(Token::parse(&base64).is_some(), "this one has the form of a token");
    let stored = [
        base64.clone(),
        STANDARD.encode(bytes),
        STANDARD_NO_PAD.encode(bytes),
        hex.clone(),
        hex.to_uppercase(),
        hex[..Token::LEN].to_owned(),
        URL_SAFE_NO_PAD.encode(&hex),
    ];
    for server in stage.servers() {
        for value in &stored {
            let thief = server.client().presenting(value);
            for path in ["/profile", "/poll", "/strict/profile", "/cacheable"] {
                let answer = thief.clone().get(path).await;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}: {value}");
            }
            for path in ["/count", "/rotate", "/revoke-all", "/password", "/logout", "/login/eve"] {
                thief.clone().post(path).await;
            }
        }
    }
    assert_eq!(victim.get("/count").await.text, "0", "nothing of it reached the session");
    stage.is_accepted(&token).await;
}

/// How a token could be written.
fn forms(token: &Token) -> Vec<Vec<u8>> {
    let text = token.expose().as_bytes();
    let bytes = URL_SAFE_NO_PAD.decode(text).expect("it is base64");
    vec![
        text.to_vec(),
        bytes.clone(),
        hex(text).into_bytes(),
        hex(text).to_uppercase().into_bytes(),
        hex(&bytes).into_bytes(),
        hex(&bytes).to_uppercase().into_bytes(),
        STANDARD_NO_PAD.encode(&bytes).into_bytes(),
        STANDARD_NO_PAD.encode(text).into_bytes(),
        URL_SAFE.encode(text).into_bytes(),
        // A part of it is a part too much.
        text[..16].to_vec(),
        text[Token::LEN - 16..].to_vec(),
        bytes[..12].to_vec(),
        hex(&bytes[..12]).into_bytes(),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn contains(dump: &[u8], part: &[u8]) -> bool {
    dump.windows(part.len()).any(|window| window == part)
}
