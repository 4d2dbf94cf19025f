//! Sessions in a store that keeps bytes: what a new version of the program makes of what an old one wrote.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![cfg(feature = "json")]

use std::net::IpAddr;
use std::time::Duration;

use kvolt_cache::codec::{Encrypted, EncryptionKey, EncryptionKeys};
use kvolt_cache::{Access, Codec, Coded, Key, ManualClock, MemoryStore, Store};
use kvolt_session::{
    Binding, Device, Flash, Level, Manager, NewSession, Owner, Record, RecordJson, Rotated, Token,
    Undecodable,
};
use pollster::block_on;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const IDLE: Duration = Duration::from_secs(60);

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

fn old() -> NewSession<Old> {
    let data = Old { name: String::from("Ada"), visits: 3, colour: String::from("red") };
    let device = Device::new().with_user_agent("curl/8").with_address(IpAddr::from([192, 0, 2, 7]));
    NewSession::new(data).owner("ada").device(device)
}

fn coded<T, C: Codec<Record<T>>>(store: &Bytes, codec: C) -> Coded<Record<T>, Bytes, C>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    Coded::new(store.clone(), codec)
}

fn manager<T>(store: &Bytes, codec: RecordJson<T>) -> Manager<T>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    Manager::new(coded(store, codec), IDLE)
}

/// A store with a session that the old version made.
fn stored() -> (Bytes, Token) {
    let store = MemoryStore::new();
    let token = block_on(manager(&store, RecordJson::<Old>::new()).create(old())).unwrap();
    (store, token)
}

#[test]
fn a_session_is_read_back_whole() {
    let time = ManualClock::new();
    let store = Bytes::new();
    let builder = Manager::builder(coded(&store, RecordJson::<Old>::new()));
    let manager = builder.clock(time.clock()).kind("admin").build().unwrap();
    let token = block_on(manager.create(old())).unwrap();
    let session = block_on(manager.get(&token)).unwrap().unwrap();
    assert_eq!(session.name, "Ada");
    assert_eq!(session.owner(), Some(&Owner::from("ada")));
    assert_eq!(session.created(), time.clock().now());
    assert_eq!(session.device(), &old_device());
    assert_eq!(block_on(manager.list(&Owner::from("ada"))).unwrap().len(), 1);
    let other: Manager<Old> = Manager::new(coded(&store, RecordJson::new()), IDLE);
    assert!(block_on(other.get(&token)).unwrap().is_none(), "it is of another kind");
}

fn old_device() -> Device {
    Device::new().with_user_agent("curl/8").with_address(IpAddr::from([192, 0, 2, 7]))
}

#[test]
fn a_field_added_with_a_default_removed_or_reordered_logs_nobody_out() {
    let (store, token) = stored();
    let manager = manager(&store, RecordJson::<New>::new());
    let session = block_on(manager.get(&token)).unwrap().unwrap();
    assert_eq!(*session, New { visits: 3, language: None, name: String::from("Ada") });
    let updated = block_on(manager.update(&token, |data| data.visits += 1)).unwrap().unwrap();
    assert_eq!(updated.visits, 4);
}

#[test]
fn a_stored_session_is_written_as_documented() {
    let store = Bytes::new();
    let time = ManualClock::new();
    let builder = Manager::builder(coded(&store, RecordJson::<Old>::new()));
    let manager = builder.clock(time.clock()).build().unwrap();
    let token = block_on(manager.create(old())).unwrap();
    let key = *manager.id(&token).key();
    let bytes = block_on(store.get(&key, Access::PEEK)).unwrap().unwrap().value;
    let text = String::from_utf8(bytes).unwrap();
    let (before, after) = text.split_once("\"seed\":\"").unwrap();
    let (seed, after) = after.split_once("\",").unwrap();
    assert_eq!(seed.len(), 22, "128 bits");
    assert_eq!(
        format!("{before}{after}"),
        "{\"v\":1,\"owner\":\"ada\",\"created\":1767225600000,\"authenticated\":{\"1\":1767225600000},\
         \"device\":{\"user_agent\":\"curl/8\",\"address\":\"192.0.2.7\"},\
         \"data\":{\"name\":\"Ada\",\"visits\":3,\"colour\":\"red\"}}"
    );
}

#[test]
fn what_can_not_be_decoded_is_an_error_that_names_it_and_stays() {
    let (store, token) = stored();
    let manager = manager(&store, RecordJson::<Changed>::new());
    for _ in 0..2 {
        let error = block_on(manager.get(&token)).unwrap_err();
        assert!(error.is_corrupt());
        assert!(error.to_string().contains(&manager.id(&token).to_string()), "{error}");
        assert!(!error.to_string().contains("Ada"), "nothing of the data: {error}");
    }
    assert!(block_on(manager.list(&Owner::from("ada"))).unwrap_err().is_corrupt());
    let before: Manager<Old> = Manager::new(coded(&store, RecordJson::new()), IDLE);
    assert!(block_on(before.get(&token)).unwrap().is_some(), "nobody was logged out");
}

#[test]
fn whoever_signs_in_or_out_is_not_held_up_by_what_can_not_be_decoded() {
    let (store, token) = stored();
    let manager = manager(&store, RecordJson::<Changed>::new());
    let new = block_on(manager.login(Some(&token), Changed::default())).unwrap();
    assert!(block_on(manager.get(&new)).unwrap().is_some());
    assert!(block_on(manager.get(&token)).unwrap().is_none(), "the sign-in replaced it");
    let (store, token) = stored();
    let manager = self::manager(&store, RecordJson::<Changed>::new());
    assert!(block_on(manager.destroy(&token)).unwrap());
    assert!(store.is_empty());
}

#[test]
fn everything_that_a_session_may_have_is_written_as_documented_and_read_back() {
    let store = Bytes::new();
    let time = ManualClock::new();
    let manager = || {
        let builder = Manager::builder(coded(&store, RecordJson::<Old>::new()));
        let builder = builder.clock(time.clock()).rotation_grace(IDLE / 6);
        builder.kind("admin").build().unwrap()
    };
    let new = old().level(Level::Two).remember(true).bound_to(7);
    let first = block_on(manager().create(new)).unwrap();
    time.advance(Duration::from_secs(5));
    let again = block_on(manager().reauthenticate(&first, Level::One)).unwrap();
    let Rotated::Token(token) = again else { panic!("it was there") };
    assert!(block_on(manager().flash(&token, Flash::new("info", "saved"))).unwrap());
    let key = *manager().id(&token).key();
    let bytes = block_on(store.get(&key, Access::PEEK)).unwrap().unwrap().value;
    let text = String::from_utf8(bytes).unwrap();
    let (before, after) = text.split_once("\"seed\":\"").unwrap();
    let (_, after) = after.split_once("\",").unwrap();
    let (kind, before) = before.split_once(",\"owner\"").unwrap();
    assert_eq!(kind.len(), "{\"v\":1,\"kind\":\"0123456789abcdef\"".len(), "{kind}");
    assert_eq!(
        format!("{{\"owner\"{before}{after}"),
        format!(
            "{{\"owner\":\"ada\",\"created\":1767225600000,\
             \"authenticated\":{{\"1\":1767225605000,\"2\":1767225600000}},\
             \"rotated\":1767225605000,\"remembered\":true,\
             \"device\":{{\"user_agent\":\"curl/8\",\"address\":\"192.0.2.7\"}},\"binding\":\"7\",\
             \"former\":[[\"{}\",1767225605000,1767225615000,true]],\"flashes\":[[\"info\",\"saved\"]],\
             \"data\":{{\"name\":\"Ada\",\"visits\":3,\"colour\":\"red\"}}}}",
            manager().id(&first)
        )
    );
    let session = block_on(manager().get(&first)).unwrap().expect("in its grace");
    assert_eq!((session.id(), session.level()), (manager().id(&token), Some(Level::Two)));
    assert_eq!(session.authenticated_at(Level::Two), Some(session.created()));
    assert_eq!(session.authenticated(), Some(session.created()), "as it was when it was replaced");
    let now = block_on(manager().get(&token)).unwrap().expect("it is there").authenticated();
    assert_eq!(now, Some(time.clock().now()));
    assert_eq!(session.rotated(), time.clock().now());
    assert!(session.is_remembered());
    assert_eq!(session.binding().map(Binding::as_str), Some("7"));
    assert_eq!(session.flashes(), [Flash::new("info", "saved")]);
    time.advance(IDLE / 6);
    assert!(block_on(manager().get(&first)).unwrap().is_none());
    // What is over is not kept: of the next rotation there is one former name again.
    assert!(matches!(block_on(manager().rotate(&token)).unwrap(), Rotated::Token(_)));
    let page = block_on(manager().list_all(None, 10)).unwrap();
    let key = *page.sessions[0].id().key();
    let bytes = block_on(store.get(&key, Access::PEEK)).unwrap().unwrap().value;
    let text = String::from_utf8(bytes).unwrap();
    let former = format!("\"former\":[[\"{}\",null,1767225625000,true]]", manager().id(&token));
    assert!(text.contains(&former), "{text}");
}

/// What a newer version may write gives no rights here.
#[test]
fn a_level_that_is_not_known_counts_for_nothing() {
    let (store, token) = stored();
    let manager: Manager<Old> = manager(&store, RecordJson::new());
    let key = *manager.id(&token).key();
    let entry = block_on(store.get(&key, Access::PEEK)).unwrap().unwrap();
    let text = String::from_utf8(entry.value).unwrap();
    let newer = text.replace("\"authenticated\":{\"1\":", "\"authenticated\":{\"0\":9,\"9\":");
    assert_ne!(newer, text);
    let _ = block_on(store.replace(&key, entry.version, newer.into_bytes(), None)).unwrap();
    let session = block_on(manager.get(&token)).unwrap().unwrap();
    assert_eq!((session.level(), session.is_anonymous()), (None, true));
}

#[test]
fn what_can_not_be_decoded_is_ended_where_the_application_says_so() {
    let (store, token) = stored();
    let builder = Manager::builder(coded(&store, RecordJson::<Changed>::new()));
    let manager = builder.undecodable(Undecodable::End).build().unwrap();
    assert!(block_on(manager.get(&token)).unwrap().is_none());
    assert!(store.is_empty());
    let (store, _) = stored();
    let one = self::manager(&store, RecordJson::<Changed>::new());
    let good = NewSession::new(Changed::default()).owner("ada");
    let _ = block_on(one.create(good)).unwrap();
    let builder = Manager::builder(coded(&store, RecordJson::<Changed>::new()));
    let manager = builder.undecodable(Undecodable::End).build().unwrap();
    assert_eq!(block_on(manager.list(&Owner::from("ada"))).unwrap().len(), 1);
    assert_eq!(store.len(), 1);
}

#[test]
fn what_can_not_be_decoded_is_migrated_where_the_application_can() {
    let (store, token) = stored();
    let codec = RecordJson::new().migrate(|data| {
        let old: Old = serde_json::from_value(data).ok()?;
        Some(Changed { name: old.name, visits: vec![old.visits.into()] })
    });
    let manager = manager(&store, codec);
    let session = block_on(manager.update(&token, |data| data.visits.push(4))).unwrap().unwrap();
    assert_eq!(session.visits, [3, 4]);
    let plain: Manager<Changed> = Manager::new(coded(&store, RecordJson::new()), IDLE);
    assert_eq!(block_on(plain.get(&token)).unwrap().unwrap().visits, [3, 4], "the new form stays");
}

#[test]
fn what_can_not_be_read_is_dropped_where_the_application_says_so() {
    let (store, token) = stored();
    let manager = manager(&store, RecordJson::<Changed>::new().drop_unreadable());
    let session = block_on(manager.get(&token)).unwrap().unwrap();
    assert_eq!(*session, Changed { name: String::from("Ada"), visits: vec![] });
}

#[test]
fn what_a_newer_version_wrote_is_not_misread() {
    let (store, token) = stored();
    let manager: Manager<Old> = manager(&store, RecordJson::new());
    let key = *manager.id(&token).key();
    let entry = block_on(store.get(&key, Access::PEEK)).unwrap().unwrap();
    let newer = String::from_utf8(entry.value).unwrap().replace("\"v\":1", "\"v\":2");
    let _ = block_on(store.replace(&key, entry.version, newer.into_bytes(), None)).unwrap();
    let error = block_on(manager.get(&token)).unwrap_err();
    assert!(error.is_corrupt() && error.to_string().contains("format 2"), "{error}");
}

#[test]
fn a_session_has_a_size_and_beyond_it_nothing_is_changed() {
    let store = Bytes::new();
    let coded = Coded::new(store.clone(), RecordJson::<Vec<String>>::new()).value_size_max(1_000);
    let manager = Manager::new(coded, IDLE);
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
fn an_encrypted_session_says_nothing_to_who_reads_the_store() {
    let store = Bytes::new();
    let manager = sealed(&store, &[1]);
    let token = block_on(manager.create(old())).unwrap();
    let bytes = block_on(store.get(manager.id(&token).key(), Access::PEEK)).unwrap().unwrap().value;
    assert!(!bytes.windows(3).any(|window| window == b"Ada" || window == b"red"));
    assert_eq!(block_on(manager.get(&token)).unwrap().unwrap().name, "Ada");
}

#[test]
fn encryption_keys_are_rotated_without_logging_anybody_out() {
    let store = Bytes::new();
    let token = block_on(sealed(&store, &[1]).create(old())).unwrap();
    let both = sealed(&store, &[2, 1]);
    assert!(block_on(both.get(&token)).unwrap().is_some());
    block_on(both.update(&token, |data| data.visits += 1)).unwrap();
    let new = sealed(&store, &[2]);
    assert_eq!(block_on(new.get(&token)).unwrap().unwrap().visits, 4, "it was sealed anew");
    let error = block_on(sealed(&store, &[1]).get(&token)).unwrap_err();
    assert!(error.is_corrupt() && error.to_string().contains("encryption key"), "{error}");
}

#[test]
fn a_sealed_value_opens_only_where_and_as_it_was_sealed() {
    let codec = Encrypted::new(RecordJson::<Old>::new(), keys(&[1]));
    let store = Bytes::new();
    let manager = sealed(&store, &[1]);
    let token = block_on(manager.create(old())).unwrap();
    let key = *manager.id(&token).key();
    let bytes = block_on(store.get(&key, Access::PEEK)).unwrap().unwrap().value;
    assert!(codec.decode(&key, &bytes).is_ok());
    assert!(codec.decode(&Key::of("another"), &bytes).unwrap_err().is_corrupt());
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(codec.decode(&key, &changed).unwrap_err().is_corrupt(), "byte {at}");
        assert!(codec.decode(&key, &bytes[..at]).unwrap_err().is_corrupt(), "cut at {at}");
    }
}

#[test]
fn an_encrypted_session_is_rotated_and_updated_by_either_token() {
    let store = Bytes::new();
    let manager = sealed(&store, &[1]);
    let first = block_on(manager.create(old())).unwrap();
    let Rotated::Token(second) = block_on(manager.rotate(&first)).unwrap() else { panic!() };
    assert!(matches!(block_on(manager.rotate(&first)).unwrap(), Rotated::AlreadyRotated));
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
fn turning_encryption_on_logs_nobody_out_where_that_is_asked_for() {
    let (store, token) = stored();
    assert!(block_on(sealed(&store, &[1]).get(&token)).unwrap_err().is_corrupt());
    let codec = Encrypted::new(RecordJson::<Old>::new(), keys(&[1])).dangerous_accept_unsealed();
    let manager = Manager::new(coded(&store, codec), IDLE);
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
fn an_owner_that_is_too_long_is_refused_and_not_blamed_on_the_store() {
    let manager: Manager<()> = Manager::new(MemoryStore::new(), IDLE);
    let longest = "x".repeat(Owner::LEN_MAX - 1);
    assert!(block_on(manager.create(NewSession::new(()).owner(&*longest))).is_ok());
    let longer = "x".repeat(Owner::LEN_MAX);
    let error = block_on(manager.create(NewSession::new(()).owner(&*longer))).unwrap_err();
    assert!(error.is_misconfigured() && !error.is_of_store(), "{error}");
}
