//! A reader of the store gets no session.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use http::StatusCode;
use kvolt_cache::{Codec, Freshness, Store};
use kvolt_session::{RecordJson, Token};

use super::{rotated, sign_in};
use crate::deployment::Deployment;
use crate::user::{guest, signed_in};

/// Rack CVE-2019-16782: the store is queried for the raw id, and its timing reveals it. TYPO3
/// CVE-2021-21339: ids are stored in the clear.
///
/// A store contains the session's public id and a SHA-256 of the token. This attack searches
/// everything in the store for the secret, as text, bytes, hexadecimal digits and base64, after
/// each operation on a token.
pub async fn dump_of_the_store_contains_no_token(deployment: &Deployment) {
    let grace = Duration::from_secs(600);
    let manager = deployment.one.builder().rotation_grace(grace).build().expect("valid settings");
    let plain = sign_in(&manager, "ada").await;
    let used = sign_in(&manager, "bob").await;
    manager.get(&used).await.expect("the store answers");
    manager.update(&used, |user| user.count += 1).await.expect("the store answers");
    let former = sign_in(&manager, "cleo").await;
    let successor = rotated(manager.rotate(&former).await.expect("the store answers"));
    let visitor = manager.create(guest(String::new())).await.expect("the store answers");
    let logged_in =
        manager.login(Some(&visitor), signed_in("dora")).await.expect("the store answers");
    let ended = sign_in(&manager, "eve").await;
    manager.logout(&ended).await.expect("the store answers");

    let dump = deployment.dump();
    for token in [&plain, &used, &former, &successor, &visitor, &logged_in, &ended] {
        for form in forms(token) {
            assert!(
                !contains(&dump, &form),
                "{:?} is in the store",
                String::from_utf8_lossy(&form)
            );
        }
    }
    // The search works: it finds the ids of these sessions.
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

/// TYPO3 CVE-2021-21339: a value from the store is presented as a token.
///
/// The id and the key, in every form that could be taken for a token, with each stored value in the
/// place of the secret: the token's digest, the namespace's tag, the seed.
pub async fn stored_key_is_refused_as_a_token(deployment: &Deployment) {
    let mut victim = deployment.one.client();
    victim.post("/login/ada").await;
    let token = victim.token().expect("a token in the cookie");
    let namespace = deployment.one.store.namespace();
    let (id, key) = (token.id(), token.id().key(namespace));
    let (hex, record) = (id.to_string(), record(deployment, &token).await);
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
    let digest = URL_SAFE_NO_PAD.decode(digest).expect("valid base64");
    let seed = URL_SAFE_NO_PAD.decode(field(&record, "seed")).expect("valid base64");
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
    for server in deployment.servers() {
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
    assert_eq!(victim.get("/count").await.text, "0", "the session is unchanged");
    deployment.is_accepted(&token).await;
}

/// The session's record, as a store of bytes has it.
async fn record(deployment: &Deployment, token: &Token) -> String {
    let key = token.id().key(deployment.one.store.namespace());
    let bytes = match &deployment.one.bytes {
        Some(bytes) => {
            let entry = bytes.get(&key, Freshness::Strict).await.expect("the store answers");
            entry.expect("the session exists").value
        }
        None => {
            let entry = deployment.one.store.get(&key, Freshness::Strict).await;
            let entry = entry.expect("the store answers").expect("the session exists");
            RecordJson::new().encode(&key, &entry.value).expect("the value can be encoded")
        }
    };
    String::from_utf8(bytes).expect("valid UTF-8")
}

/// A text field of the record's envelope.
fn field(record: &str, name: &str) -> String {
    let (_, rest) = record.split_once(&format!("\"{name}\":\"")).expect("one");
    rest.split('"').next().unwrap_or_default().to_owned()
}

/// The forms in which a token, or its secret, could be stored. The id is not secret.
fn forms(token: &Token) -> Vec<Vec<u8>> {
    let text = token.expose().as_bytes();
    let bytes = URL_SAFE_NO_PAD.decode(text).expect("valid base64");
    // The id is 12 bytes, or 16 characters.
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
        // A part of the secret.
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
