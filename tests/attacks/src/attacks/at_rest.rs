//! Read access to the store gives no access to sessions.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use http::StatusCode;
use kvolt_cache::{Codec, Freshness, Store};
use kvolt_session::{RecordJson, Token};

use super::{rotated, sign_in};
use crate::stage::Stage;
use crate::user::{guest, signed_in};

/// Rack CVE-2019-16782: the store looks up the raw id, and its timing reveals parts of it.
/// TYPO3 CVE-2021-21339: ids are stored in plain text.
///
/// A store identifies a session by its public id, and keeps a SHA-256 digest of the token.
/// The test performs every operation on tokens, and then searches the whole store for the
/// secret part, as text, as bytes, in hexadecimal and in base64.
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
    manager.logout(&ended).await.expect("the store answers");

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
    // Proves that the dump contains these sessions, and that the search works.
    for token in [&plain, &used, &successor, &logged_in] {
        let id = token.id();
        let hex = id.to_string();
        assert!(
            contains(&dump, hex.as_bytes())
                || contains(&dump, hex.to_uppercase().as_bytes())
                || contains(&dump, id.as_bytes())
        );
    }
    assert!(contains(&dump, b"cleo") || contains(&dump, hex(b"cleo").as_bytes()));
}

/// TYPO3 CVE-2021-21339: an attacker presents stored data as a token.
///
/// Tries the id and the key in every possible form, combined with the other values of the
/// record: the digest of the token, the namespace's tag, the seed.
pub async fn a_stored_key_presented_as_a_token_is_refused(stage: &Stage) {
    let mut victim = stage.one.client();
    victim.post("/login/ada").await;
    let token = victim.token().expect("it is signed in");
    let namespace = stage.one.store.namespace();
    let (id, key) = (token.id(), token.id().key(namespace));
    let (hex, record) = (id.to_string(), record(stage, &token).await);
    let digest = field(&record, "secret");
    let mut stored = vec![
        hex.clone(),
        hex.to_uppercase(),
        hex.repeat(2),
        key.to_string(),
        STANDARD.encode(key.as_bytes()),
        URL_SAFE_NO_PAD.encode(key.as_bytes()),
        URL_SAFE_NO_PAD.encode(&hex),
        digest.clone(),
        format!("{digest}AAAAA"),
    ];
    let digest = URL_SAFE_NO_PAD.decode(digest).expect("it is base64");
    let seed = URL_SAFE_NO_PAD.decode(field(&record, "seed")).expect("it is base64");
    let tag = namespace.tag();
    let secrets = [
        &digest[..24],
        &digest[8..],
        &[&tag[..], &[0; 4]].concat(),
        &[&seed[..], &[0; 8]].concat(),
    ];
    for secret in secrets {
        let made = URL_SAFE_NO_PAD.encode([id.as_bytes(), secret].concat());
        assert!(Token::parse(&made).is_some(), "this one has the form of a token");
        stored.push(made);
    }
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

/// Returns the session's record as bytes in the store.
async fn record(stage: &Stage, token: &Token) -> String {
    let key = token.id().key(stage.one.store.namespace());
    let bytes = match &stage.one.bytes {
        Some(bytes) => {
            let entry = bytes.get(&key, Freshness::Strict).await.expect("the store answers");
            entry.expect("it is there").value
        }
        None => {
            let entry = stage.one.store.get(&key, Freshness::Strict).await;
            let entry = entry.expect("the store answers").expect("it is there");
            RecordJson::new().encode(&key, &entry.value).expect("it can be encoded")
        }
    };
    String::from_utf8(bytes).expect("it is text")
}

/// Returns a text field of the record's envelope.
fn field(record: &str, name: &str) -> String {
    let (_, rest) = record.split_once(&format!("\"{name}\":\"")).expect("it has one");
    rest.split('"').next().unwrap_or_default().to_owned()
}

/// Returns the possible encodings of a token and of its secret part. The id is not secret.
fn forms(token: &Token) -> Vec<Vec<u8>> {
    let text = token.expose().as_bytes();
    let bytes = URL_SAFE_NO_PAD.decode(text).expect("it is base64");
    // 12 bytes of id, 16 characters.
    let (secret_text, secret) = (&text[16..], &bytes[12..]);
    vec![
        secret_text.to_vec(),
        secret.to_vec(),
        hex(secret_text).into_bytes(),
        hex(secret_text).to_uppercase().into_bytes(),
        hex(secret).into_bytes(),
        hex(secret).to_uppercase().into_bytes(),
        STANDARD_NO_PAD.encode(secret).into_bytes(),
        STANDARD_NO_PAD.encode(text).into_bytes(),
        STANDARD_NO_PAD.encode(secret_text).into_bytes(),
        URL_SAFE.encode(text).into_bytes(),
        // Even a part of the secret must not be stored.
        secret_text[..12].to_vec(),
        secret_text[secret_text.len() - 12..].to_vec(),
        secret[..9].to_vec(),
        secret[9..].to_vec(),
        hex(&secret[..9]).into_bytes(),
        hex(&secret[9..]).into_bytes(),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn contains(dump: &[u8], part: &[u8]) -> bool {
    dump.windows(part.len()).any(|window| window == part)
}
