//! Sessions in a store that keeps bytes: how they are written, and what becomes of what can't be read.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![cfg(feature = "json")]

#[path = "../../cache/tests/codec/values.rs"]
mod values;

use std::fmt::Debug;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use kvolt_cache::codec::{Encrypted, EncryptionKey, EncryptionKeys};
use kvolt_cache::{
    Codec, Encoded, Entry, Freshness, InsertOutcome, Key, ManualClock, MemoryStore, Target,
};
use kvolt_cache::{Namespace, NewEntry, ReplaceOutcome, Store};
use kvolt_session::{
    Binding, Device, DeviceCookie, Flash, Level, Manager, NewSession, Owner, Record, RecordJson,
    RotateOutcome, Timeouts, Token, Undecodable,
};
use pollster::block_on;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use values::{Check, Outcome};

const IDLE: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(10);

/// The documented example.
const FORMATS: &str = include_str!("../../../docs/formats.md");

type Bytes = MemoryStore<Vec<u8>>;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Old {
    name: String,
    visits: u32,
    colour: String,
}

/// A field more, a field less, in another order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct New {
    visits: u32,
    #[serde(default)]
    language: Option<String>,
    name: String,
}

/// A field that means something else now.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Changed {
    name: String,
    visits: Vec<u64>,
}

const DATA: &str = r#"{"name":"Ada","visits":3,"colour":"red"}"#;

fn ada() -> Owner {
    Owner::new("ada").unwrap()
}

fn old_device() -> Device {
    Device::new().with_user_agent("curl/8").with_address(IpAddr::from([192, 0, 2, 7]))
}

fn old() -> NewSession<Old> {
    let data = Old { name: String::from("Ada"), visits: 3, colour: String::from("red") };
    NewSession::new(data).owner("ada").device(old_device())
}

/// Whose data can't be read as [`Changed`], nor that as [`Old`].
fn changed() -> NewSession<Changed> {
    NewSession::new(Changed::default()).owner("ada")
}

fn coded<T, C: Codec<Record<T>>>(store: &Bytes, codec: C) -> Encoded<Record<T>, Bytes, C>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    Encoded::new(store.clone(), codec)
}

fn manager<T>(store: &Bytes, codec: RecordJson<T>) -> Manager<T>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    Manager::builder(coded(store, codec)).idle_timeout(IDLE).rotation_grace(GRACE).build().unwrap()
}

/// A store with a session that the old version made.
fn stored() -> (Bytes, Token) {
    let store = MemoryStore::new();
    let token = block_on(manager(&store, RecordJson::<Old>::new()).create(old())).unwrap();
    (store, token)
}

fn key_of(token: &Token) -> Key {
    token.id().key(&Namespace::new("memory").unwrap())
}

fn entry(store: &Bytes, token: &Token) -> Option<Entry<Vec<u8>>> {
    block_on(store.get(&key_of(token), Freshness::Strict)).unwrap()
}

fn text(store: &Bytes, token: &Token) -> String {
    String::from_utf8(entry(store, token).unwrap().value).unwrap()
}

/// The line of the envelope, and the data.
fn lines(store: &Bytes, token: &Token) -> (String, String) {
    let text = text(store, token);
    let (envelope, data) = text.split_once('\n').unwrap();
    (envelope.to_owned(), data.to_owned())
}

fn put(store: &Bytes, token: &Token, value: impl Into<Vec<u8>>) {
    let (key, before) = (key_of(token), entry(store, token).unwrap());
    let replaced = block_on(store.replace(Target::new(&key), before.version, value.into(), None));
    assert!(matches!(replaced.unwrap(), ReplaceOutcome::Replaced(_)));
}

/// The value of a field that is a text, taken out of the line.
fn without(line: &str, field: &str) -> (String, String) {
    let (before, after) = line.split_once(&format!("\"{field}\":\"")).unwrap();
    let (value, after) = after.split_once('"').unwrap();
    (value.to_owned(), format!("{before}\"{field}\":\"\"{after}"))
}

#[track_caller]
fn rotated(rotated: RotateOutcome) -> Token {
    match rotated {
        RotateOutcome::Token(token) => token,
        other => panic!("{other:?}"),
    }
}

/// The documented digest of a token.
fn digest(token: &Token) -> String {
    let bytes = URL_SAFE_NO_PAD.decode(token.expose()).unwrap();
    let namespace = Sha256::digest(b"kvolt namespace 1\0memory");
    let parts = [&bytes[..12], &namespace[..16], &bytes[12..]].concat();
    URL_SAFE_NO_PAD.encode(Sha256::digest(parts))
}

/// The mark that a token of the session with this seed has, as it is documented.
fn mark(token: &Token, seed: &str) -> [u8; 6] {
    let bytes = URL_SAFE_NO_PAD.decode(token.expose()).unwrap();
    let namespace = Sha256::digest(b"kvolt namespace 1\0memory");
    let seed = URL_SAFE_NO_PAD.decode(seed).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&seed).unwrap();
    for field in [b"kvolt issued 1", &namespace[..20], &bytes[..12], &bytes[12..30]] {
        mac.update(&u64::try_from(field.len()).unwrap().to_be_bytes());
        mac.update(field);
    }
    *mac.finalize().into_bytes().first_chunk().unwrap()
}

/// The token of the documented session.
fn documented_token() -> Token {
    let mut bytes: Vec<u8> = (0..36).collect();
    let unmarked = Token::parse(URL_SAFE_NO_PAD.encode(&bytes)).unwrap();
    bytes[30..].copy_from_slice(&mark(&unmarked, &URL_SAFE_NO_PAD.encode([0; 16])));
    Token::parse(URL_SAFE_NO_PAD.encode(&bytes)).unwrap()
}

#[test]
fn session_is_read_back_whole() {
    let time = ManualClock::new();
    let store = Bytes::builder().clock(time.clock()).build();
    let builder = Manager::builder(coded(&store, RecordJson::<Old>::new()));
    let manager = builder.build().unwrap();
    let token = block_on(manager.create(old())).unwrap();
    let session = block_on(manager.get(&token)).unwrap().unwrap();
    assert_eq!(session.name, "Ada");
    assert_eq!(session.owner(), Some(&ada()));
    assert_eq!(session.created(), time.clock().now());
    assert_eq!(session.device(), &old_device());
    assert_eq!(block_on(manager.list(&ada())).unwrap().sessions.len(), 1);
}

#[test]
fn session_is_written_as_documented() {
    let time = ManualClock::new();
    let store = Bytes::builder().clock(time.clock()).build();
    let builder = Manager::builder(coded(&store, RecordJson::<Old>::new()));
    let manager = builder.build().unwrap();
    let token = block_on(manager.create(old())).unwrap();
    let (envelope, data) = lines(&store, &token);
    assert_eq!(data, DATA);
    let (secret, envelope) = without(&envelope, "secret");
    assert_eq!(secret, digest(&token));
    let (seed, envelope) = without(&envelope, "seed");
    assert_eq!(seed.len(), 22, "128 bits");
    assert_eq!(URL_SAFE_NO_PAD.decode(token.expose()).unwrap()[30..], mark(&token, &seed));
    assert_eq!(
        envelope,
        "{\"v\":1,\"secret\":\"\",\"owner\":\"ada\",\"created\":1767225600000,\
         \"ends\":1767268800000,\"proved\":{\"1\":1767225600000},\"seed\":\"\",\
         \"device\":{\"user_agent\":\"curl/8\",\"address\":\"192.0.2.7\"}}"
    );
}

#[test]
fn documented_session_is_read_by_the_documented_token() {
    let (seed, token) = (URL_SAFE_NO_PAD.encode([0; 16]), documented_token());
    for documented in [token.expose(), &token.id().to_string(), &key_of(&token).to_string()] {
        assert!(FORMATS.contains(documented), "{documented}");
    }

    let mut lines = FORMATS.lines().skip_while(|line| !line.starts_with("{\"v\":1,"));
    let (envelope, data) = (lines.next().unwrap(), lines.next().unwrap());
    assert!(envelope.contains(&digest(&token)) && envelope.contains(&seed), "{}", digest(&token));
    let time = ManualClock::new();
    let store = Bytes::builder().clock(time.clock()).build();
    let expiry = kvolt_cache::Expiry::after(IDLE);
    let new = NewEntry::new(format!("{envelope}\n{data}").into_bytes(), expiry).owner(ada());
    assert!(matches!(
        block_on(store.insert(key_of(&token), new)),
        Ok(InsertOutcome::Inserted { .. })
    ));
    let builder = Manager::builder(coded(&store, RecordJson::<Old>::new()));
    let manager = builder.build().unwrap();
    let session = block_on(manager.get(&token)).unwrap().unwrap();
    assert_eq!((session.visits, session.device()), (3, &old_device()));
    // Written again, it is the same.
    assert!(block_on(manager.flash(&token, Flash::new("info", "saved"))).unwrap());
    assert_eq!(block_on(manager.take_flashes(&token)).unwrap().len(), 1);
    assert_eq!(text(&store, &token), format!("{envelope}\n{data}"));
}

#[test]
fn documented_binding_is_read_and_written() {
    let mut lines = FORMATS.lines().skip_while(|line| !line.starts_with("{\"v\":1,"));
    let (envelope, data) = (lines.next().unwrap(), lines.next().unwrap());
    let rare = lines.find(|line| line.starts_with("\"rare\":{\"device_binding\"")).unwrap();
    let time = ManualClock::new();
    let (store, token) = (Bytes::builder().clock(time.clock()).build(), documented_token());
    let bound = format!("{},{rare}}}\n{data}", envelope.strip_suffix('}').unwrap());
    let expiry = kvolt_cache::Expiry::after(IDLE);
    let new = NewEntry::new(bound.clone().into_bytes(), expiry).owner(ada());
    assert!(matches!(
        block_on(store.insert(key_of(&token), new)),
        Ok(InsertOutcome::Inserted { .. })
    ));
    let manager = Manager::builder(coded(&store, RecordJson::<Old>::new())).build().unwrap();
    let mut session = block_on(manager.get(&token)).unwrap().unwrap();
    let after = |millis| Some(session.created().saturating_add(Duration::from_millis(millis)));
    assert_eq!((session.device_bound(), session.device_proved()), (after(1_000), after(481_000)));

    let checks = [(481, true, true), (602, true, true), (603, true, false), (1_083, false, false)];
    for (seconds, is_current_good, is_previous_good) in checks {
        let now = session.created().saturating_add(Duration::from_secs(seconds));
        for (text, is_good) in [("A", is_current_good), ("B", is_previous_good), ("C", false)] {
            let cookie = DeviceCookie::parse(text.repeat(DeviceCookie::LEN));
            assert_eq!(session.check_device(cookie.as_ref(), now), is_good, "{text} {seconds}");
        }
    }
    // Written again, it is the same.
    assert!(block_on(manager.flash(&token, Flash::new("info", "saved"))).unwrap());
    assert_eq!(block_on(manager.take_flashes(&token)).unwrap().len(), 1);
    assert_eq!(text(&store, &token), bound);
}

#[cfg(feature = "device-bound")]
#[test]
fn challenge_of_a_registration_is_as_documented() {
    let time = ManualClock::new();
    let store = Bytes::builder().clock(time.clock()).build();
    let manager = manager(&store, RecordJson::<Old>::new());
    let mut session = old();
    let offer = manager.offer_device(&mut session).unwrap();
    let token = block_on(manager.create(session)).unwrap();
    let (seed, _) = without(&lines(&store, &token).0, "seed");
    let challenge = |seed: &[u8]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(seed).unwrap();
        for field in [&b"kvolt device offer 1"[..], b"1767225600000"] {
            mac.update(&u64::try_from(field.len()).unwrap().to_be_bytes());
            mac.update(field);
        }
        let mac = mac.finalize().into_bytes();
        format!("1767225600000.{}", URL_SAFE_NO_PAD.encode(mac))
    };
    assert_eq!(offer, challenge(&URL_SAFE_NO_PAD.decode(seed).unwrap()));
    assert!(FORMATS.contains(&challenge(&[0; 16])));
}

#[test]
fn full_record_is_written_as_documented() {
    let time = ManualClock::new();
    let store = Bytes::builder().clock(time.clock()).build();
    let builder = Manager::builder(coded(&store, RecordJson::<Old>::new()));
    let manager = builder.rotation_grace(GRACE).build().unwrap();
    let new = old().level(Level::Two).remember(true).bound_to(7);
    let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3_600));
    let new = new.idle_timeout(minute).lifetime(hour);
    let first = block_on(manager.create(new)).unwrap();
    let changed = block_on(manager.change_credentials(&first, Some(Binding::from(8)))).unwrap();
    let second = rotated(changed.0);
    time.advance(Duration::from_secs(5));
    let third = rotated(block_on(manager.reauthenticate(&second, Level::One)).unwrap());
    assert!(block_on(manager.flash(&third, Flash::new("info", "saved\n"))).unwrap());

    let (envelope, data) = lines(&store, &third);
    assert_eq!(data, DATA);
    let (seed, envelope) = without(&envelope, "seed");
    let digests = [&third, &first, &second].map(digest);
    assert_eq!(
        envelope,
        format!(
            "{{\"v\":1,\"secret\":\"{}\",\"epoch\":1,\"owner\":\"ada\",\
             \"created\":1767225600000,\"ends\":1767229205000,\
             \"proved\":{{\"1\":1767225605000,\"2\":1767225600000}},\
             \"rotated\":1767225605000,\"seed\":\"\",\"remembered\":true,\
             \"device\":{{\"user_agent\":\"curl/8\",\"address\":\"192.0.2.7\"}},\
             \"rare\":{{\"binding\":\"8\",\"previous\":[\
             {{\"secret\":\"{}\",\"proved\":{{\"2\":1767225600000}},\"until\":1767225610000}},\
             {{\"secret\":\"{}\",\"proved\":{{\"2\":1767225600000}},\"until\":1767225615000,\
             \"accepted\":true}}],\
             \"flashes\":[{{\"kind\":\"info\",\"text\":\"saved\\n\"}}],\
             \"idle\":60000,\"lifetime\":3600000}}}}",
            digests[0], digests[1], digests[2]
        )
    );
    for token in [&first, &second, &third] {
        assert_eq!(URL_SAFE_NO_PAD.decode(token.expose()).unwrap()[30..], mark(token, &seed));
    }

    let session = block_on(manager.get(&third)).unwrap().unwrap();
    assert_eq!(session.authenticated_at(Level::Two), Some(session.created()));
    assert_eq!(session.authenticated(), Some(time.clock().now()));
    assert_eq!(session.rotated(), time.clock().now());
    assert!(session.is_remembered());
    assert_eq!(session.timeouts(), Timeouts::new(minute, hour));
    assert_eq!(session.binding().map(Binding::as_str), Some("8"));
    assert_eq!(session.flashes(), [Flash::new("info", "saved\n")]);
    let before = block_on(manager.get(&second)).unwrap().expect("it is in its grace");
    assert_eq!(before.authenticated(), Some(session.created()), "with the rights that it had");
    assert!(block_on(manager.get(&first)).unwrap().is_none(), "credentials were changed");
}

/// The administrator's record names the impersonation, and the other way round.
#[test]
fn impersonation_is_written_as_documented() {
    let time = ManualClock::new();
    let store = Bytes::builder().clock(time.clock()).build();
    let builder = Manager::builder(coded(&store, RecordJson::<Old>::new()));
    let manager = builder.build().unwrap();
    let own = block_on(manager.create(old().owner("root"))).unwrap();
    let token = block_on(manager.impersonate(&own, old())).unwrap().unwrap();
    let rare = |token: &Token| {
        let (envelope, _) = lines(&store, token);
        envelope.split_once(",\"rare\":").unwrap().1.to_owned()
    };
    assert_eq!(rare(&own), format!("{{\"impersonation\":\"{}\"}}}}", token.id()));
    let by = format!("{{\"owner\":\"root\",\"session\":\"{}\"}}", own.id());
    let times = "\"idle\":1800000,\"lifetime\":1800000";
    assert_eq!(rare(&token), format!("{{{times},\"impersonator\":{by}}}}}"));
    let (envelope, data) = lines(&store, &token);
    assert!(envelope.contains("\"owner\":\"ada\"") && !envelope.contains("\"proved\""));
    assert_eq!(data, DATA);
    let session = block_on(manager.get(&token)).unwrap().unwrap();
    assert_eq!(session.acting_for(), Some(&ada()));
    assert_eq!(entry(&store, &token).unwrap().owner, Some(ada()));
}

/// More tokens than are kept, in one grace: what was dropped is no sign of a theft.
#[test]
fn end_of_the_quiet_time_is_kept() {
    let time = ManualClock::new();
    let store = Bytes::builder().clock(time.clock()).build();
    let builder = Manager::builder(coded(&store, RecordJson::<Old>::new()));
    let manager = builder.rotation_grace(GRACE).build().unwrap();
    let mut token = block_on(manager.create(old())).unwrap();
    for _ in 0..17 {
        token = rotated(block_on(manager.rotate(&token)).unwrap());
    }
    let (envelope, _) = lines(&store, &token);
    assert_eq!(envelope.matches("\"accepted\":true").count(), 16);
    assert!(envelope.ends_with("}],\"quiet_until\":1767225620000}}"), "{envelope}");
    assert!(block_on(manager.flash(&token, Flash::new("info", "saved"))).unwrap());
    assert!(lines(&store, &token).0.contains("\"quiet_until\":1767225620000,\"flashes\""));
}

/// Checks that a session whose envelope can't be read stays as it is.
#[track_caller]
fn check_unreadable_envelope(store: &Bytes, token: &Token, what: &str) {
    let before = entry(store, token).unwrap();
    for undecodable in [Undecodable::Keep, Undecodable::End] {
        let builder = Manager::builder(coded(store, RecordJson::<Old>::new()));
        let manager = builder.undecodable(undecodable).build().unwrap();
        let errors = [
            block_on(manager.get(token)).unwrap_err(),
            block_on(manager.peek(token)).unwrap_err(),
            block_on(manager.update(token, |_| ())).unwrap_err(),
            block_on(manager.logout(token)).unwrap_err(),
            block_on(manager.rotate(token)).unwrap_err(),
            block_on(manager.find(token.id())).unwrap_err(),
        ];
        for error in errors {
            assert!(error.is_corrupt(), "{what}: {error}");
            assert!(error.to_string().contains(&token.id().to_string()), "{what}: {error}");
        }
        let listing = block_on(manager.list(&ada())).unwrap();
        assert_eq!((listing.sessions.len(), listing.unreadable), (1, vec![token.id()]), "{what}");
        // No secret of it can be verified, so a login does not end it either.
        let new = block_on(manager.login(Some(token), old().owner("bob"))).unwrap();
        assert!(block_on(manager.get(&new)).unwrap().is_some(), "{what}");
    }
    let after = entry(store, token).unwrap();
    assert_eq!(after.version, before.version, "{what}");
    assert_eq!((after.value, after.deadlines), (before.value, before.deadlines), "{what}");
}

/// A store with two sessions of one owner, and the token of the first.
fn two_stored() -> (Bytes, Token) {
    let (store, token) = stored();
    let _ = block_on(manager(&store, RecordJson::<Old>::new()).create(old())).unwrap();
    (store, token)
}

#[test]
fn damaged_envelope_is_an_error_without_effect() {
    let (store, token) = two_stored();
    let (envelope, data) = lines(&store, &token);
    let secrets = ["secret", "seed"].map(|field| without(&envelope, field).0);
    let replaced = |from: &str, to: &str| {
        let damaged = envelope.replacen(from, to, 1);
        assert_ne!(damaged, envelope, "{from}");
        format!("{damaged}\n{data}")
    };
    let quoted = |text: &str| format!("\"{text}\"");
    let mut all = vec![
        String::new(),
        String::from("\n"),
        envelope.clone(),
        data.clone(),
        format!("\n{data}"),
        format!("{data}\n{data}"),
        format!("{data}\n{envelope}"),
        format!("{}\n{data}", &envelope[..envelope.len() - 1]),
        format!("{envelope}}}\n{data}"),
        format!("[{envelope}]\n{data}"),
        replaced("\"v\":1", "\"v\":0"),
        replaced("\"v\":1", "\"v\":\"1\""),
        replaced("\"v\":1", "\"v\":-1"),
        replaced("\"v\":1,", ""),
        replaced("\"v\":1,", "\"v\":1,\"v\":1,"),
        replaced(",\"created\":", ",\"made\":"),
        replaced(",\"ends\":", ",\"end\":"),
        replaced(",\"secret\":", ",\"secrets\":"),
        replaced(",\"seed\":", ",\"seeds\":"),
        replaced("\"proved\":{\"1\"", "\"proved\":{\"x\""),
        replaced("\"proved\":{\"1\"", "\"proved\":{\"256\""),
        replaced("\"192.0.2.7\"", "\"192.0.2.700\""),
        replaced("\"curl/8\"", "8"),
        replaced("\"owner\":\"ada\"", "\"owner\":\"a\\u0000\""),
        replaced("\"owner\":\"ada\"", "\"owner\":7"),
        replaced("\"owner\":", "\"epoch\":4294967296,\"owner\":"),
        replaced("\"owner\":", "\"rotated\":-1,\"owner\":"),
        replaced("\"owner\":", "\"remembered\":1,\"owner\":"),
        replaced("\"owner\":", "\"rare\":{\"binding\":7},\"owner\":"),
        replaced("\"owner\":", "\"rare\":{\"previous\":[{}]},\"owner\":"),
        replaced("\"owner\":", "\"rare\":{\"quiet_until\":1.5},\"owner\":"),
        replaced("\"owner\":", "\"rare\":{\"flashes\":[{\"kind\":\"info\"}]},\"owner\":"),
    ];
    for secret in &secrets {
        let short = &secret[..secret.len() - 2];
        for bad in [short, &format!("{secret}A"), &format!("{short}=="), &format!("{short}+/"), ""]
        {
            all.push(replaced(&quoted(secret), &quoted(bad)));
        }
        all.push(replaced(&quoted(secret), "null"));
        // A secret at another's place, where serde would quote it.
        all.push(replaced("\"owner\":", &format!("\"epoch\":{},\"owner\":", quoted(secret))));
    }
    for damaged in all {
        put(&store, &token, &*damaged);
        check_unreadable_envelope(&store, &token, &damaged);
        let manager = manager(&store, RecordJson::<Old>::new());
        let error = block_on(manager.get(&token)).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!secrets.iter().any(|secret| shown.contains(&**secret)), "{shown}");
        assert!(!shown.contains("Ada"), "{shown}");
    }
    put(&store, &token, vec![0xff; 300]);
    check_unreadable_envelope(&store, &token, "no text");
    put(&store, &token, format!("{envelope}\n{data}"));
    assert!(block_on(manager(&store, RecordJson::<Old>::new()).get(&token)).unwrap().is_some());
}

#[test]
fn unreadable_envelope_can_be_revoked() {
    type Revoke = fn(&Manager<Old>, &Token) -> bool;
    let all: [(Revoke, usize); 4] = [
        (|manager, token| block_on(manager.revoke_owned(&ada(), token.id())).unwrap(), 1),
        (|manager, token| block_on(manager.revoke(token.id())).unwrap(), 1),
        (|manager, _| block_on(manager.revoke_owner(&ada())).unwrap() == 2, 0),
        (|manager, _| block_on(manager.revoke_everyone()).is_ok(), 0),
    ];
    for (revoke, left) in all {
        let (store, token) = two_stored();
        put(&store, &token, "damaged");
        let manager = manager(&store, RecordJson::<Old>::new());
        let bob = Owner::new("bob").unwrap();
        assert!(!block_on(manager.revoke_owned(&bob, token.id())).unwrap(), "it is not his");
        assert!(revoke(&manager, &token));
        assert!(entry(&store, &token).is_none());
        assert_eq!(store.len(), left);
    }
}

#[test]
fn newer_format_is_named_and_left_alone() {
    let (store, token) = two_stored();
    let (envelope, data) = lines(&store, &token);
    for newer in [
        format!("{}\n{data}", envelope.replace("\"v\":1", "\"v\":3")),
        String::from("{\"v\":3,\"everything\":\"else\"}\n\u{1}\u{2}"),
    ] {
        put(&store, &token, &*newer);
        check_unreadable_envelope(&store, &token, &newer);
        let manager = manager(&store, RecordJson::<Old>::new());
        let text = block_on(manager.get(&token)).unwrap_err().to_string();
        assert!(text.contains("format 3") && text.contains("up to 2"), "{text}");
        assert!(text.contains("run the newer version"), "{text}");
    }
}

#[test]
fn unknown_fields_are_passed_over() {
    let (store, token) = stored();
    let newer = text(&store, &token).replacen("\"v\":1,", "\"v\":1,\"later\":{\"a\":[1]},", 1);
    put(&store, &token, newer);
    assert!(block_on(manager(&store, RecordJson::<Old>::new()).get(&token)).unwrap().is_some());
}

/// A level that a newer version writes gives no rights here.
#[test]
fn unknown_level_counts_for_nothing() {
    let (store, token) = stored();
    let newer = text(&store, &token);
    let newer = newer.replace("\"proved\":{\"1\":", "\"proved\":{\"0\":9,\"9\":");
    put(&store, &token, newer);
    let session = block_on(manager(&store, RecordJson::<Old>::new()).get(&token)).unwrap().unwrap();
    assert_eq!((session.level(), session.is_anonymous()), (None, true));
}

#[test]
fn changed_fields_sign_no_user_out() {
    let (store, token) = stored();
    let manager = manager(&store, RecordJson::<New>::new());
    let session = block_on(manager.get(&token)).unwrap().unwrap();
    assert_eq!(*session, New { visits: 3, language: None, name: String::from("Ada") });
    let updated = block_on(manager.update(&token, |data| data.visits += 1)).unwrap().unwrap();
    assert_eq!(updated.visits, 4);
}

#[test]
fn unreadable_data_error_names_the_session() {
    let (store, token) = stored();
    let before = entry(&store, &token).unwrap();
    let manager = manager(&store, RecordJson::<Changed>::new());
    let fresh = block_on(manager.create(changed())).unwrap();
    for _ in 0..2 {
        for error in [
            block_on(manager.get(&token)).unwrap_err(),
            block_on(manager.update(&token, |_| ())).unwrap_err(),
            block_on(manager.find(token.id())).unwrap_err(),
        ] {
            assert!(error.is_corrupt());
            assert!(error.to_string().contains(&token.id().to_string()), "{error}");
            assert!(!format!("{error} {error:?}").contains("Ada"), "nothing of the data: {error}");
        }
    }
    let listing = block_on(manager.list(&ada())).unwrap();
    assert_eq!(listing.unreadable, [token.id()]);
    assert_eq!(listing.sessions.iter().map(|found| found.id()).collect::<Vec<_>>(), [fresh.id()]);
    let listing = block_on(manager.list_all(None, 10)).unwrap().listing;
    assert_eq!((listing.sessions.len(), listing.unreadable), (1, vec![token.id()]));
    let after = entry(&store, &token).unwrap();
    assert_eq!((after.version, after.value), (before.version, before.value));
    let before = self::manager(&store, RecordJson::<Old>::new());
    assert!(block_on(before.get(&token)).unwrap().is_some(), "no one was signed out");
}

#[test]
fn unreadable_data_does_not_hinder_login_and_logout() {
    let (store, token) = stored();
    let manager = manager(&store, RecordJson::<Changed>::new());
    let new = block_on(manager.login(Some(&token), changed())).unwrap();
    assert!(block_on(manager.get(&new)).unwrap().is_some());
    assert!(entry(&store, &token).is_none(), "the login replaced it");

    let (store, token) = stored();
    let manager = self::manager(&store, RecordJson::<Changed>::new());
    assert!(block_on(manager.logout(&token)).unwrap());
    assert!(store.is_empty());

    let (store, token) = stored();
    let manager = self::manager(&store, RecordJson::<Changed>::new());
    assert!(block_on(manager.revoke(token.id())).unwrap());
    assert!(store.is_empty());
}

/// Its envelope can be changed, and its data stays byte for byte.
#[test]
fn rotation_writes_unreadable_data_back_unchanged() {
    for data in [DATA, "", "\n", "no JSON\n\n{", "{\"name\" : \"Ada\"} "] {
        let (store, first) = stored();
        let (envelope, _) = lines(&store, &first);
        put(&store, &first, format!("{envelope}\n{data}"));
        let manager = manager(&store, RecordJson::<Changed>::new());
        let second = rotated(block_on(manager.rotate(&first)).unwrap());
        let third = rotated(block_on(manager.reauthenticate(&second, Level::Two)).unwrap());
        assert_eq!(lines(&store, &third).1, data);
        let credentials = block_on(manager.change_credentials(&third, None)).unwrap().0;
        let last = rotated(credentials);
        assert_eq!(lines(&store, &last).1, data);
        assert!(lines(&store, &last).0.contains(&digest(&last)), "it has a new token");
        assert!(block_on(manager.logout(&last)).unwrap());
    }
}

/// A program that knows fewer fields drops none until it changes the data.
#[test]
fn envelope_change_keeps_unknown_data_fields() {
    let (store, token) = stored();
    let (envelope, _) = lines(&store, &token);
    let data = "{ \"colour\":\"red\", \"name\":\"Ada\",\"visits\":3, \"more\":[1.50] }\n";
    put(&store, &token, format!("{envelope}\n{data}"));
    let manager = manager(&store, RecordJson::<New>::new());
    assert!(block_on(manager.flash(&token, Flash::new("info", "saved"))).unwrap());
    let (envelope, same) = lines(&store, &token);
    assert!(
        envelope.contains("\"flashes\":[{\"kind\":\"info\",\"text\":\"saved\"}]"),
        "{envelope}"
    );
    assert_eq!(same, data);
    let token = rotated(block_on(manager.rotate(&token)).unwrap());
    assert_eq!(block_on(manager.take_flashes(&token)).unwrap().len(), 1);
    assert_eq!(lines(&store, &token).1, data);
    block_on(manager.update(&token, |data| data.visits += 1)).unwrap().unwrap();
    let expected = "{\"visits\":4,\"language\":null,\"name\":\"Ada\"}";
    assert_eq!(lines(&store, &token).1, expected);
}

#[test]
fn unreadable_session_is_ended_by_policy() {
    let (store, token) = stored();
    let builder = Manager::builder(coded(&store, RecordJson::<Changed>::new()));
    let manager = builder.undecodable(Undecodable::End).build().unwrap();
    // The id alone does nothing.
    let mut wrong = URL_SAFE_NO_PAD.decode(token.expose()).unwrap();
    wrong[20] ^= 1;
    let wrong = Token::parse(URL_SAFE_NO_PAD.encode(wrong)).unwrap();
    assert!(block_on(manager.get(&wrong)).unwrap().is_none());
    assert_eq!(block_on(manager.list(&ada())).unwrap().unreadable, [token.id()]);
    assert!(entry(&store, &token).is_some());
    assert!(block_on(manager.get(&token)).unwrap().is_none());
    assert!(store.is_empty());
}

#[test]
fn unreadable_data_is_migrated_where_the_application_can() {
    let (store, token) = stored();
    let codec = RecordJson::new().migrate(|data| {
        let old: Old = serde_json::from_value(data).ok()?;
        Some(Changed { name: old.name, visits: vec![old.visits.into()] })
    });
    let manager = manager(&store, codec);
    let session = block_on(manager.get(&token)).unwrap().unwrap();
    assert_eq!(session.visits, [3]);
    assert_eq!(lines(&store, &token).1, DATA, "reading writes nothing");
    let session = block_on(manager.update(&token, |data| data.visits.push(4))).unwrap().unwrap();
    assert_eq!(session.visits, [3, 4]);
    let plain = self::manager(&store, RecordJson::<Changed>::new());
    assert_eq!(block_on(plain.get(&token)).unwrap().unwrap().visits, [3, 4], "the new form stays");
}

#[test]
fn drop_unreadable_keeps_the_other_fields() {
    let (store, token) = stored();
    let manager = manager(&store, RecordJson::<Changed>::new().drop_unreadable());
    let session = block_on(manager.get(&token)).unwrap().unwrap();
    assert_eq!(*session, Changed { name: String::from("Ada"), visits: vec![] });
    assert_eq!(block_on(manager.list(&ada())).unwrap().sessions.len(), 1);
    put(&store, &token, format!("{}\n[1]", lines(&store, &token).0));
    assert!(block_on(manager.get(&token)).unwrap_err().is_corrupt(), "it has no fields");
}

/// Each value in a session, at its creation and in a change.
struct InSessions;

impl Check for InSessions {
    fn check<V>(&self, value: V, outcome: Outcome)
    where
        V: Serialize + DeserializeOwned + PartialEq + Debug + Clone + Send + Sync + 'static,
    {
        let store = Bytes::new();
        let manager = manager(&store, RecordJson::<Vec<V>>::new());
        let token = block_on(manager.create(Vec::new())).unwrap();
        let before = text(&store, &token);
        let created = block_on(manager.create(vec![value.clone()]));
        let updated = block_on(manager.update(&token, |data| data.push(value.clone())));
        match outcome {
            Outcome::Kept => {
                for token in [&created.unwrap(), &token] {
                    let session = block_on(manager.get(token)).unwrap().unwrap();
                    assert_eq!(session.as_slice(), std::slice::from_ref(&value));
                }
                let again = block_on(manager.update(&token, |_| ())).unwrap().unwrap();
                assert_eq!(*again, [value]);
            }
            Outcome::Refused => {
                for error in [created.unwrap_err(), updated.unwrap_err()] {
                    assert!(error.is_unencodable() && !error.is_misconfigured(), "{error}");
                }
                assert_eq!(store.len(), 1);
                assert_eq!(text(&store, &token), before);
                let session = block_on(manager.get(&token)).unwrap().unwrap();
                assert!(session.is_empty(), "{value:?}");
            }
        }
    }
}

#[test]
fn value_is_read_back_equal_or_refused() {
    values::check_all(&InSessions);
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Numbers {
    numbers: Vec<f64>,
    #[serde(default)]
    more: Vec<String>,
}

#[test]
fn rescued_data_keeps_each_bit_of_a_number() {
    let numbers = values::random_numbers(20_000);
    let bits: Vec<u64> = numbers.iter().map(|number| number.to_bits()).collect();
    let store = Bytes::new();
    let at_most = 1 << 20;
    let coded = |codec| Encoded::new(store.clone(), codec).max_value_size(at_most);
    let manager = |codec: RecordJson<Numbers>| Manager::new(coded(codec));
    let check = |manager: &Manager<Numbers>, token: &Token| {
        let read = block_on(manager.get(token)).unwrap().unwrap();
        assert!(read.numbers.iter().map(|number| number.to_bits()).eq(bits.iter().copied()));
    };
    let data = Numbers { numbers, more: vec![] };
    let token = block_on(manager(RecordJson::new()).create(data)).unwrap();
    check(&manager(RecordJson::new()), &token);
    block_on(manager(RecordJson::new()).update(&token, |_| ())).unwrap().unwrap();
    check(&manager(RecordJson::new()), &token);
    // Data that serde can't read goes through `serde_json::Value`.
    put(&store, &token, text(&store, &token).replace("\"more\":[]", "\"more\":7"));
    check(&manager(RecordJson::new().drop_unreadable()), &token);
    let migrate = |mut data: serde_json::Value| {
        data["more"] = serde_json::Value::Array(vec![]);
        serde_json::from_value(data).ok()
    };
    check(&manager(RecordJson::new().migrate(migrate)), &token);
}

#[test]
fn too_large_data_changes_nothing() {
    let store = Bytes::new();
    let coded = Encoded::new(store.clone(), RecordJson::<Vec<String>>::new()).max_value_size(1_000);
    let manager = Manager::new(coded);
    let token = block_on(manager.create(Vec::new())).unwrap();
    let fill = |text: &str, times| {
        let text = text.to_owned();
        block_on(manager.update(&token, move |data| data.extend(vec![text.clone(); times])))
    };
    assert!(fill("twenty bytes of data", 10).is_ok());
    let error = fill("twenty bytes of data", 100).unwrap_err();
    assert!(error.is_too_large() && error.to_string().contains("1000 allowed"), "{error}");
    assert_eq!(block_on(manager.get(&token)).unwrap().unwrap().len(), 10);
    assert!(block_on(manager.create(vec![String::new(); 1_000])).unwrap_err().is_too_large());
    assert_eq!(store.len(), 1);
}

fn keys(numbers: &[u8]) -> EncryptionKeys {
    let mut keys = numbers.iter().map(|number| EncryptionKey::from_bytes(&[*number; 32]));
    let first = EncryptionKeys::new(keys.next().unwrap());
    keys.fold(first, EncryptionKeys::also_opening)
}

fn sealed(store: &Bytes, numbers: &[u8]) -> Manager<Old> {
    Manager::builder(coded(store, Encrypted::new(RecordJson::new(), keys(numbers))))
        .rotation_grace(IDLE / 2)
        .build()
        .unwrap()
}

#[test]
fn encrypted_session_reveals_nothing() {
    let store = Bytes::new();
    let manager = sealed(&store, &[1]);
    let token = block_on(manager.create(old())).unwrap();
    let bytes = entry(&store, &token).unwrap().value;
    assert!(!bytes.windows(3).any(|window| window == b"Ada" || window == b"red"));
    assert!(!bytes.windows(6).any(|window| window == b"secret"));
    assert_eq!(block_on(manager.get(&token)).unwrap().unwrap().name, "Ada");
}

#[test]
fn encryption_keys_are_rotated_without_signing_anyone_out() {
    let store = Bytes::new();
    let token = block_on(sealed(&store, &[1]).create(old())).unwrap();
    let both = sealed(&store, &[2, 1]);
    assert!(block_on(both.get(&token)).unwrap().is_some());
    block_on(both.update(&token, |data| data.visits += 1)).unwrap();
    let new = sealed(&store, &[2]);
    assert_eq!(block_on(new.get(&token)).unwrap().unwrap().visits, 4, "it was sealed again");
    let error = block_on(sealed(&store, &[1]).get(&token)).unwrap_err();
    assert!(error.is_corrupt() && error.to_string().contains("encryption key"), "{error}");
}

#[test]
fn sealed_value_opens_only_in_its_place() {
    let codec = Encrypted::new(RecordJson::<Old>::new(), keys(&[1]));
    let store = Bytes::new();
    let manager = sealed(&store, &[1]);
    let token = block_on(manager.create(old())).unwrap();
    let (key, bytes) = (key_of(&token), entry(&store, &token).unwrap().value);
    assert!(codec.decode(&key, &bytes).is_ok());
    assert!(codec.decode(&Key::of("another"), &bytes).unwrap_err().is_corrupt());
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(codec.decode(&key, &changed).unwrap_err().is_corrupt(), "byte {at}");
        assert!(codec.decode(&key, &bytes[..at]).unwrap_err().is_corrupt(), "cut at {at}");
    }
}

/// Envelope and data are sealed together, so a change of the one loses the other as well.
#[test]
fn changed_ciphertext_is_an_error_without_effect() {
    let store = Bytes::new();
    let manager = sealed(&store, &[1]);
    let token = block_on(manager.create(old())).unwrap();
    let mut bytes = entry(&store, &token).unwrap().value;
    *bytes.last_mut().unwrap() ^= 1;
    put(&store, &token, bytes.clone());
    assert!(block_on(manager.get(&token)).unwrap_err().is_corrupt());
    assert!(block_on(manager.logout(&token)).unwrap_err().is_corrupt());
    assert_eq!(entry(&store, &token).unwrap().value, bytes);
    assert_eq!(block_on(manager.list(&ada())).unwrap().unreadable, [token.id()]);
    assert!(block_on(manager.revoke_owned(&ada(), token.id())).unwrap());
}

#[test]
fn encrypted_session_is_rotated_and_updated_by_either_token() {
    let store = Bytes::new();
    let manager = sealed(&store, &[1]);
    let first = block_on(manager.create(old())).unwrap();
    let second = rotated(block_on(manager.rotate(&first)).unwrap());
    assert!(matches!(block_on(manager.rotate(&first)).unwrap(), RotateOutcome::AlreadyRotated));
    for (token, visits) in [(&first, 4), (&second, 5), (&first, 6)] {
        let updated = block_on(manager.update(token, |data| data.visits += 1)).unwrap().unwrap();
        assert_eq!(updated.visits, visits);
        assert_eq!(block_on(manager.get(&second)).unwrap().unwrap().visits, visits);
    }
    let third = block_on(manager.login(Some(&second), old())).unwrap();
    assert_eq!(block_on(manager.get(&third)).unwrap().unwrap().visits, 3);
    assert!(block_on(manager.get(&second)).unwrap().is_none());
}

#[test]
fn encryption_is_turned_on_without_signing_anyone_out() {
    let (store, token) = stored();
    assert!(block_on(sealed(&store, &[1]).get(&token)).unwrap_err().is_corrupt());
    let codec = Encrypted::new(RecordJson::<Old>::new(), keys(&[1])).dangerous_accept_unsealed();
    let manager = Manager::new(coded(&store, codec));
    assert!(block_on(manager.get(&token)).unwrap().is_some());
    block_on(manager.update(&token, |data| data.visits += 1)).unwrap();
    assert!(block_on(sealed(&store, &[1]).get(&token)).unwrap().is_some(), "it is sealed now");
}

#[test]
fn encryption_keys_show_only_their_id_and_are_parsed_strictly() {
    let key: EncryptionKey = "0F".repeat(32).parse().unwrap();
    let shown = format!("{key:?}");
    assert!(shown.starts_with("EncryptionKey(") && !shown.contains("0f0f0f"), "{shown}");
    for wrong in ["", "password", &"0f".repeat(31), &"0g".repeat(32)] {
        assert!(wrong.parse::<EncryptionKey>().is_err());
    }
}

#[test]
fn too_long_owner_is_no_store_error() {
    let manager: Manager<()> = Manager::new(MemoryStore::new());
    let longest = "x".repeat(Owner::MAX_LEN);
    assert!(block_on(manager.create(NewSession::new(()).owner(&*longest))).is_ok());
    let longer = "x".repeat(Owner::MAX_LEN + 1);
    let error = block_on(manager.create(NewSession::new(()).owner(&*longer))).unwrap_err();
    assert!(error.is_misconfigured() && !error.is_store_error(), "{error}");
}
