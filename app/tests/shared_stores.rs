//! Several deployments, and several versions, of the program on one store.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use kvolt_servers::{MariaDb, Postgres, Redis};
use support::{App, Client};

/// A server, and access to its contents.
enum Server {
    Redis(Redis),
    Postgres(Postgres),
    MariaDb(MariaDb),
}

impl Server {
    /// Runs a test on each kind of server.
    fn each(test: impl Fn(&Self)) {
        test(&Self::Redis(Redis::start()));
        test(&Self::Postgres(Postgres::builder().fsync(false).start()));
        test(&Self::MariaDb(MariaDb::builder().fsync(false).start()));
    }

    fn app(&self, namespace: &str) -> App {
        let url = match self {
            Self::Redis(redis) => redis.url(),
            Self::Postgres(postgres) => postgres.url(),
            Self::MariaDb(mariadb) => mariadb.url(),
        };
        App::start_with(&["--store", &url, "--namespace", namespace])
    }

    /// Replaces a part of the value of the session with this id, in the namespace `shop`.
    fn damage(&self, id: &str, from: &str, to: &str) {
        match self {
            Self::Redis(redis) => {
                let name = redis.cli(&["KEYS", &format!("shop:*:{id}")]);
                let value = redis.cli(&["GET", &name]);
                assert!(value.contains(from), "{value}");
                redis.cli(&["SET", &name, &value.replace(from, to), "KEEPTTL"]);
            }
            Self::Postgres(postgres) => {
                let set = format!("replace(convert_from(value, 'UTF8'), '{from}', '{to}')");
                let done = postgres.psql(&format!(
                    "UPDATE shop_sessions SET value = convert_to({set}, 'UTF8') \
                     WHERE encode(key, 'hex') LIKE '{id}%' RETURNING 1"
                ));
                assert!(done.starts_with('1'), "{done}");
            }
            Self::MariaDb(mariadb) => {
                mariadb.sql(&format!(
                    "UPDATE shop_sessions SET value = REPLACE(value, '{from}', '{to}') \
                     WHERE LOWER(HEX(`key`)) LIKE '{id}%'"
                ));
            }
        }
    }
}

/// The id of a client's session.
fn id(client: &mut Client) -> String {
    let list = client.get("/sessions").json();
    let own = list.as_array().unwrap().iter().find(|row| row["current"] == true).unwrap();
    own["id"].as_str().unwrap().to_owned()
}

/// Replacements that make a record's data unreadable, or its envelope.
const DAMAGES: [(&str, &str); 2] =
    [("\"counter\":0", "\"counter\":null"), ("\"seed\"", "\"need\"")];

/// With two versions side by side, or after a rollback, some sessions can't be decoded.
#[test]
fn unreadable_session_hides_no_other_and_can_be_ended() {
    Server::each(|server| {
        let app = server.app("shop");
        for (from, to) in DAMAGES {
            let mut laptop = app.browser();
            laptop.sign_in("ada", "");
            let mut devices = [app.signed_in("ada"), app.signed_in("ada"), app.signed_in("ada")];
            let (mut bob, mut root) = (app.signed_in("bob"), app.signed_in("root"));
            let lost = [0, 1].map(|at| id(&mut devices[at]));
            for id in &lost {
                server.damage(id, from, to);
            }
            for device in &mut devices[..2] {
                assert_eq!(device.get("/profile").status, 500, "its session can't be decoded");
            }
            let mut phone = devices[2].clone();
            assert_eq!((phone.get("/profile").status, laptop.get("/profile").status), (200, 200));
            let list = phone.get("/sessions").json();
            let list = list.as_array().unwrap();
            let unreadable: Vec<_> = list.iter().filter(|row| row["unreadable"] == true).collect();
            assert_eq!((list.len(), unreadable.len()), (4, 2), "{list:?}");
            let page = laptop.get("/");
            assert_eq!(page.status, 200);
            let all = root.get("/admin");
            assert_eq!(all.status, 200);
            assert_eq!(all.json()["sessions"].as_array().unwrap().len(), 4 + 2);
            for id in &lost {
                assert!(page.text.contains(id) && all.text.contains(id), "{id}");
                let path = format!("/sessions/{id}");
                assert_eq!(
                    bob.send("DELETE", &path, &[], "").status,
                    404,
                    "it belongs to another user"
                );
            }

            // Ended by its user on the page, by an administrator, and with the others.
            let ended = laptop.submit("/", &format!("/sessions/{}/end", lost[0]), "");
            assert_eq!(ended.status, 303, "{}", ended.text);
            assert!(laptop.get("/").text.contains("The session was ended."));
            let path = format!("/admin/sessions/{}/end", lost[1]);
            assert_eq!(root.post(&path).json()["ended"], 1);
            for device in &mut devices[..2] {
                assert_eq!(device.get("/profile").status, 401, "it has ended");
            }
            assert_eq!(phone.get("/sessions").json().as_array().unwrap().len(), 2);
            server.damage(&id(&mut phone), from, to);
            assert!(laptop.submit("/", "/sessions/revoke-others", "").status == 303);
            assert_eq!(phone.get("/profile").status, 401, "it has ended");
            assert_eq!(root.post("/admin/end-everyone").status, 200);
            assert_eq!(laptop.get("/profile").status, 303);
        }
    });
}

/// Its client is not admitted, and can sign in and out.
#[test]
fn unreadable_session_is_replaced_by_a_sign_in() {
    Server::each(|server| {
        let app = server.app("shop");
        let (data, envelope) = (DAMAGES[0], DAMAGES[1]);
        let mut root = app.signed_in("root");
        let mut count = || root.get("/admin?user=ada").json()["sessions"].as_array().unwrap().len();
        for ((from, to), path, status, left) in [
            (data, "/logout", 200, 0),
            (data, "/login", 200, 1),
            // Its token can't be verified: it stays, and can be ended by its id.
            (envelope, "/logout", 500, 1),
            (envelope, "/login", 200, 2),
        ] {
            let mut ada = app.signed_in("ada");
            let before = ada.clone();
            server.damage(&id(&mut ada), from, to);
            let answer = match path {
                "/login" => ada.sign_in("ada", ""),
                _ => ada.post(path),
            };
            assert_eq!(answer.status, status, "{path}: {}", answer.text);
            assert_ne!(ada.jar, before.jar, "{path}: the cookie stays");
            assert_eq!(count(), left, "{path}");
            let expected = if path == "/login" { 200 } else { 401 };
            assert_eq!(ada.get("/profile").status, expected, "{path}");
            let mut other = app.signed_in("ada");
            assert_eq!(other.post("/sessions/revoke-all").status, 200);
            assert_eq!(count(), 0);
        }
        // The same by header.
        let form = format!("username=ada&password={}", support::PASSWORD);
        let login = app.client().post_form("/api/login", &form);
        let token = login.header("x-session-id").unwrap();
        let list = root.get("/admin?user=ada").json();
        server.damage(list["sessions"][0]["id"].as_str().unwrap(), data.0, data.1);
        let header = [("x-session-id", &*token)];
        assert_eq!(app.client().send("GET", "/api/profile", &header, "").status, 500);
        assert_eq!(app.client().send("POST", "/api/logout", &header, "").status, 200);
        assert_eq!(app.client().send("GET", "/api/profile", &header, "").status, 401);
    });
}

/// Two deployments on one server, whose accounts have the same ids.
#[test]
fn namespaces_on_one_server_are_separate() {
    Server::each(|server| {
        let (shop, staging) = (server.app("shop"), server.app("shop_staging"));
        let mut customer = shop.signed_in("ada");
        let mut devices = [shop.signed_in("ada"), shop.signed_in("ada")];
        let (mut admin, mut tester) = (staging.signed_in("root"), staging.signed_in("ada"));
        // A session is unknown in the other deployment, even an administrator's.
        for client in [&customer, &devices[0], &shop.signed_in("root")] {
            let mut moved = staging.moved(client);
            for path in ["/profile", "/sessions", "/admin"] {
                assert_eq!(moved.get(path).status, 401, "{path}");
            }
            assert_eq!(moved.post("/logout").status, 200);
        }
        assert_eq!(shop.moved(&admin).get("/admin").status, 401);
        // Sessions of the other deployment are not listed and can't be ended.
        assert_eq!(tester.get("/sessions").json().as_array().unwrap().len(), 1);
        assert_eq!(admin.get("/admin").json()["sessions"].as_array().unwrap().len(), 2);
        let theirs = id(&mut devices[1]);
        assert_eq!(tester.send("DELETE", &format!("/sessions/{theirs}"), &[], "").status, 404);
        assert_eq!(admin.post(&format!("/admin/sessions/{theirs}/end")).status, 404);
        assert_eq!(tester.post("/sessions/revoke-others").json()["ended"], 0);
        assert_eq!(admin.post("/admin/users/1/end").json()["ended"], 1);
        assert_eq!(tester.get("/profile").status, 401);
        assert_eq!(staging.signed_in("ada").post("/sessions/revoke-all").status, 200);
        assert_eq!(admin.post("/admin/end-everyone").status, 200);
        for client in devices.iter_mut().chain([&mut customer]) {
            assert_eq!(client.get("/profile").status, 200, "another deployment ended it");
        }
    });
}
