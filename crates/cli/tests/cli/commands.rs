//! Every command on every store.

use crate::support::{
    DATA, Folder, NAMESPACE, Server, command, create, ended, entries, kvolt, manager, open, secrets,
};
use kvolt::cache::codec::{Encrypted, EncryptionKey, EncryptionKeys};
use kvolt::cache::{Expiry, Key, NewEntry, Store};
use kvolt::{Encoded, Manager, NewSession, RecordJson, SessionId};
use serde_json::{Value, json};
use std::time::Duration;

/// A record of a session that is bound to a device and in an impersonation, in the documented format.
const BOUND: &str = r#"{"v":2,"secret":"M_D42gSZEsFVnYPxrdveOBqZeCs06FZziJkH3qdwM0Q","owner":"ada","created":1767225600000,"ends":4102444800000,"seed":"AAAAAAAAAAAAAAAAAAAAAA","rare":{"binding":"the hash of a password","previous":[{"secret":"sBQFhsE5_AdiZOGsy2omWlOIywgXLL9X2HhYwAnE3Ws","until":1767225700000}],"impersonator":{"owner":"root","session":"000102030405060708090a0b"},"device_binding":{"id":"AAAAAAAAAAAAAAAAAAAAAg","key":"A2sX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKW","challenge":"AAECAwQFBgcICQoLDA0ODw","challenged":1767226081000,"since":1767225601000,"proved":1767226081000,"current":{"digest":"DwBzhbb51LfusnSGBa_hqYSgo7-j8BTQnip4TOnlzRo","until":1767226683000}}}}
{"text":"the application's secret"}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_work_on_every_store() {
    for server in Server::all() {
        let url = server.url();
        let store = open(&url).await;
        let manager = manager(&store);
        let mut tokens = Vec::new();
        for number in 0..30 {
            tokens.push(create(&manager, number).await);
        }
        let bound: SessionId = "0102030405060708090a0b0c".parse().expect("an id");
        let expiry = Expiry::idle_within(Duration::from_secs(600), Duration::from_secs(6_000));
        let entry = NewEntry::new(BOUND.as_bytes().to_vec(), expiry)
            .owner(kvolt::Owner::new("ada").expect("a name"));
        let _ = store.insert(bound.key(store.namespace()), entry).await.expect("it is inserted");
        // An entry of a cache in the same namespace is no session.
        let entry = NewEntry::new(b"cached".to_vec(), expiry);
        let _ = store.insert(Key::of("a name"), entry).await.expect("it is inserted");

        let all = entries(&store).await;
        let mut secret = secrets(all.values());
        assert!(secret.len() > 60);
        secret.extend(tokens.iter().map(|token| token.expose().to_owned()));
        secret.extend(server.password());
        let with_data = secret.clone();
        secret.push(DATA.to_owned());
        let run = |args: &[&str]| {
            let mut all = vec![args[0], &url, "-n", NAMESPACE];
            all.extend(&args[1..]);
            kvolt(&all)
        };

        // list
        let listed = run(&["list", "--json"]).has_status(0).has_none_of(&secret).json();
        let ids: Vec<String> = all.keys().map(|key| SessionId::from_key(key).to_string()).collect();
        let listed_ids: Vec<&str> =
            listed.iter().map(|one| one["id"].as_str().expect("an id")).collect();
        assert_eq!(listed_ids, ids, "in the order of the ids");
        let table = run(&["list"]).has_status(0).has_none_of(&secret);
        assert_eq!(table.stdout.lines().count(), 32);
        assert!(
            table.stdout.contains("anonymous") && table.stdout.contains("impersonation, bound")
        );
        assert!(!table.stdout.contains('\u{1b}'), "a user agent controls the terminal");

        // pages
        let (mut paged, mut after) = (Vec::new(), None::<String>);
        loop {
            let mut args = vec!["list", "--json", "--limit", "10"];
            args.extend(after.iter().flat_map(|after| ["--after", after]));
            let page = run(&args).has_status(0);
            paged.extend(page.json());
            after = page.stderr.split("--after ").nth(1).map(|cursor| cursor.trim().to_owned());
            if after.is_none() {
                break;
            }
        }
        assert_eq!(paged.len(), 31);

        // list of an owner
        let owned = run(&["list", "--json", "--owner", "user-4"]).has_status(0).json();
        assert_eq!(owned.len(), 1);
        assert_eq!(owned[0]["owner"], "user-4");
        assert_eq!(owned[0]["levels"].as_object().map(serde_json::Map::len), Some(1));
        assert!(run(&["list", "--json", "--owner", "grace"]).has_status(0).json().is_empty());

        // show
        let id = tokens[5].id().to_string();
        let shown = &run(&["show", &id, "--json"]).has_status(0).has_none_of(&secret).json()[0];
        assert_eq!(shown["kind"], "signed_in");
        assert_eq!(shown["address"], "192.0.2.7");
        assert_eq!(shown.get("data"), None);
        let session =
            manager.find(tokens[5].id()).await.expect("it is available").expect("it is live");
        let millis = session.created().as_millis();
        let (seconds, millis) = (millis / 1_000 % 86_400, millis % 1_000);
        let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
        let time = format!("T{hours:02}:{minutes:02}:{:02}.{millis:03}Z", seconds % 60);
        assert!(shown["created"].as_str().expect("a time").ends_with(&time), "{shown}");
        let text = run(&["show", &id]).has_status(0).has_none_of(&secret);
        assert!(text.stdout.contains("user-5") && !text.stdout.contains('\u{1b}'));
        let data = &run(&["show", &id, "--json", "--data"]).has_none_of(&with_data).json()[0];
        assert_eq!(data["data"], json!({ "number": 5, "text": DATA }));
        let text = run(&["show", &id, "--data"]).has_none_of(&with_data);
        assert!(text.stdout.contains(DATA));
        let shown = &run(&["show", &bound.to_string(), "--json"]).has_none_of(&secret).json()[0];
        assert_eq!((&shown["kind"], &shown["owner"]), (&json!("impersonation"), &json!("ada")));
        assert_eq!(
            (&shown["impersonator"], &shown["device_bound"]),
            (&json!("root"), &json!(true))
        );
        assert_eq!((&shown["account_bound"], &shown["previous_tokens"]), (&json!(true), &json!(1)));
        run(&["show", "ffffffffffffffffffffffff"]).has_status(3);

        // count
        assert_eq!(run(&["count", "--json"]).has_status(0).json(), [json!({ "sessions": 32 })]);

        // info
        let info = &run(&["info", "--json"]).has_status(0).has_none_of(&secret).json()[0];
        assert_eq!(info["namespace"], NAMESPACE);
        assert!(info["server"].as_object().expect("facts").len() > 2, "{info}");
        run(&["info"]).has_status(0).has_none_of(&secret);

        // revoke
        let one = tokens[0].id().to_string();
        run(&["revoke", &one]).has_status(0).has_none_of(&secret);
        assert!(manager.get(&tokens[0]).await.expect("it is available").is_none());
        run(&["revoke", &one]).has_status(3);
        let [two, three] = [2, 3].map(|index| tokens[index].id().to_string());
        run(&["revoke", &two, &three]).has_status(2);
        assert!(
            manager.peek(&tokens[2]).await.expect("it is available").is_some(),
            "it did not ask"
        );
        let revoked = run(&["revoke", &two, &three, &one, "--yes", "--json"]).has_status(3).json();
        assert_eq!(revoked, [json!({ "revoked": [two, three], "not_found": [one] })]);
        assert!(manager.get(&tokens[2]).await.expect("it is available").is_none());

        // revoke-owner
        run(&["revoke-owner", "user-4"]).has_status(2);
        assert!(
            manager.peek(&tokens[4]).await.expect("it is available").is_some(),
            "it did not ask"
        );
        let revoked = run(&["revoke-owner", "user-4", "--yes", "--json"]).has_status(0).json();
        assert_eq!(revoked, [json!({ "owner": "user-4", "revoked": 1 })]);
        assert!(manager.get(&tokens[4]).await.expect("it is available").is_none());
        run(&["revoke-owner", "user-4", "--yes"]).has_status(3);

        // The owner of anonymous sessions, as `list` shows it.
        let shown = run(&["list"]).stdout;
        let (_, group) = shown.split_once("\\u{1}").expect("a group");
        let (group, _) = group.split_once("  ").expect("another column");
        let group = format!("\\u{{1}}{group}");
        let group = run(&["list", "--json", "--owner", &group]).has_status(0).json();
        assert!(!group.is_empty(), "{url} {shown}");
        assert_eq!(group[0]["kind"], "anonymous", "{url} {shown}");

        // check
        let checked = run(&["check", "--json"]).has_none_of(&secret);
        let findings = checked.json();
        let errors: Vec<_> =
            findings.iter().filter(|finding| finding["level"] == "error").collect();
        assert!(errors.is_empty(), "{errors:?}");
        assert!(findings.iter().any(|one| one["check"] == "access" && one["level"] == "ok"));
        run(&["check"]).has_none_of(&secret);
        assert_eq!(entries(&store).await.len(), 27, "check has left nothing");
    }
}

#[tokio::test]
async fn encrypted_session_is_listed_and_revoked_without_its_key() {
    let folder = Folder::new();
    let url = folder.url("sessions.db");
    let store = open(&url).await;
    let key: EncryptionKey = "0f".repeat(32).parse().expect("a key");
    let codec = Encrypted::new(RecordJson::<Value>::new(), EncryptionKeys::new(key));
    let manager: Manager<Value> = Manager::new(Encoded::new(store.clone(), codec));
    let session = NewSession::new(json!({})).owner("ada");
    let token = manager.create(session).await.expect("it is created");
    let id = token.id().to_string();
    let listed = kvolt(&["list", &url, "-n", NAMESPACE, "--json"]).has_status(0).json();
    assert_eq!((&listed[0]["kind"], &listed[0]["owner"]), (&json!("encrypted"), &json!("ada")));
    assert!(listed[0]["created"].is_string() && listed[0]["last_used"].is_string());
    kvolt(&["show", &url, "-n", NAMESPACE, &id, "--data"]).has_status(0);
    kvolt(&["revoke", &url, "-n", NAMESPACE, &id]).has_status(0);
    assert!(manager.get(&token).await.expect("it is available").is_none());
}

#[test]
fn missing_file_is_not_created() {
    let folder = Folder::new();
    let url = folder.url("missing.db");
    for command in ["list", "count", "info"] {
        kvolt(&[command, &url, "-n", NAMESPACE]).has_status(1);
    }
    kvolt(&["check", &url, "-n", NAMESPACE]).has_status(3);
    assert!(!folder.path().join("missing.db").exists());
}

#[test]
fn wrong_command_line_has_its_own_status() {
    for args in [
        &["list"][..],
        &["list", "sqlite:a.db"],
        &["list", "ftp://a", "-n", "shop"],
        &["list", "sqlite:a.db", "-n", "Not a namespace"],
        &["list", "env:KVOLT_NO_SUCH_VARIABLE", "-n", "shop"],
        &["list", "@/no/such/file", "-n", "shop"],
        &["show", "sqlite:a.db", "-n", "shop", "no id"],
        &["copy", "sqlite:a.db", "-n", "shop"],
    ] {
        kvolt(args).has_status(2);
    }
}

#[tokio::test]
async fn url_comes_from_a_variable_or_a_file() {
    let folder = Folder::new();
    let url = folder.url("sessions.db");
    drop(open(&url).await);
    let file = folder.path().join("url");
    std::fs::write(&file, format!("{url}\n")).expect("it can be written");
    kvolt(&["count", &format!("@{}", file.display()), "-n", NAMESPACE]).has_status(0);
    let mut run = command(&["count", "env:STORE", "-n", NAMESPACE]);
    ended(run.env("STORE", &url).spawn().expect("it starts")).has_status(0);
}

#[test]
fn completions_and_manual_name_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = kvolt(&["completions", shell]).has_status(0).stdout;
        assert!(script.contains("revoke-owner"), "{shell}");
    }
    let page = kvolt(&["man"]).has_status(0).stdout.replace("\\-", "-");
    for command in ["check", "list", "show", "revoke-owner", "count", "schema", "copy", "info"] {
        assert!(page.contains(&format!(".SH KVOLT {}", command.to_uppercase())), "{command}");
        kvolt(&[command, "--help"]).has_status(0);
    }
    assert!(page.contains("--final") && page.contains("password_env"));
}

#[test]
fn closed_output_is_no_failure() {
    let mut child = command(&["completions", "bash"]).spawn().expect("it starts");
    drop(child.stdout.take());
    assert_eq!(ended(child).status, 0);
}
