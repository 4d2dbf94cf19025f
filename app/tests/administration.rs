//! Administration on the running program.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::collections::HashSet;

use support::remote::StoreServer;
use support::{App, Client};

#[test]
fn administration_is_for_administrators() {
    let app = App::start();
    let mut ada = app.browser();
    ada.sign_in("ada", "");
    for path in ["/admin", "/audit"] {
        let page = ada.get(path);
        assert_eq!(page.status, 403, "{path}");
        assert!(page.text.contains("This page is for administrators only."));
        let answer = app.signed_in("ada").get(path);
        assert_eq!((answer.status, &answer.json()["error"]), (403, &"forbidden".into()));
        assert_eq!(app.client().get(path).status, 401);
        assert_eq!(app.browser().get(path).header("location").unwrap(), format!("/?next={path}"));
    }
    let id = ada.get("/sessions").json()[0]["id"].as_str().unwrap().to_owned();
    let mut bob = app.signed_in("bob");
    for path in [&*format!("/admin/sessions/{id}/end"), "/admin/users/1/end", "/admin/end-everyone"]
    {
        assert_eq!(bob.post(path).status, 403, "{path}");
    }
    assert_eq!(ada.get("/profile").status, 200);
    assert!(!ada.get("/").text.contains("href=\"/admin\""));
}

/// Lists, limits, revocation and the audit log.
fn administrators_see_and_end_all_sessions(store: &StoreServer) {
    let app = store.instance(&[]);
    let mut clients: Vec<Client> =
        (0..60).map(|number| app.signed_in(if number % 6 == 0 { "bob" } else { "ada" })).collect();
    let mut root = app.signed_in("root");
    let mut seen = HashSet::new();
    let mut path = String::from("/admin");
    let mut pages = 0;
    loop {
        let page = root.get(&path).json();
        for row in page["sessions"].as_array().unwrap() {
            assert!(seen.insert(row["id"].as_str().unwrap().to_owned()), "each once: {row}");
        }
        pages += 1;
        match page["next"].as_str() {
            Some(next) => path = format!("/admin?after={next}"),
            None => break,
        }
    }
    // Ada signed in 50 times, and may have 20 sessions.
    assert_eq!((seen.len(), pages), (20 + 10 + 1, 1));
    assert_eq!(root.get("/admin?after=x").status, 400);
    assert!(root.get("/admin?user=nobody").json()["sessions"].as_array().unwrap().is_empty());
    let of_bob = root.get("/admin?user=bob").json();
    let of_bob = of_bob["sessions"].as_array().unwrap();
    assert!(of_bob.len() == 10 && of_bob.iter().all(|row| row["user"] == "bob"));

    let id = of_bob[0]["id"].as_str().unwrap();
    assert_eq!(root.post(&format!("/admin/sessions/{id}/end")).json()["ended"], 1);
    assert_eq!(root.post(&format!("/admin/sessions/{id}/end")).status, 404);
    assert_eq!(root.post("/admin/users/2/end").json()["ended"], 9);
    let bobs = clients.iter_mut().step_by(6);
    assert!(bobs.into_iter().all(|bob| bob.get("/profile").status == 401));
    let ada = clients.last_mut().unwrap();
    assert_eq!(ada.get("/profile").status, 200);

    let audit = root.get("/audit").json();
    let audit = audit.as_array().unwrap();
    let has = |event: &str, reason: &str, user: &str| {
        let fits = |row: &&serde_json::Value| {
            row["event"] == event && row["reason"] == reason && row["user"] == user
        };
        audit.iter().filter(fits).count()
    };
    assert_eq!(has("signed_in", "", "ada"), 50);
    assert_eq!(has("ended", "limit", "ada"), 30);
    assert_eq!((has("ended", "revoked", "bob"), has("ended", "revoked_owner", "bob")), (1, 9));
    let by_root = audit.iter().filter(|row| row["actor"] == "root");
    assert!(by_root.clone().all(|row| row["user"] == "bob") && by_root.count() == 10);
    let ada = clients.last().unwrap();
    assert!(audit.iter().all(|row| !row.to_string().contains(ada.token())), "no token");

    assert_eq!(root.post("/admin/end-everyone").json()["signed_out"], true);
    assert!(root.jar.is_empty());
    assert!(clients.iter_mut().all(|client| client.get("/profile").status == 401));
    let mut root = app.signed_in("root");
    assert_eq!(root.get("/admin").json()["sessions"].as_array().unwrap().len(), 1);
}

mod all_sessions_are_listed_and_ended {
    use super::*;

    #[test]
    fn memory() {
        administrators_see_and_end_all_sessions(&StoreServer::memory());
    }

    #[test]
    fn redis() {
        administrators_see_and_end_all_sessions(&StoreServer::redis());
    }

    #[test]
    fn postgres() {
        administrators_see_and_end_all_sessions(&StoreServer::postgres());
    }

    #[test]
    fn mariadb() {
        administrators_see_and_end_all_sessions(&StoreServer::mariadb());
    }

    #[test]
    fn sqlite() {
        administrators_see_and_end_all_sessions(&StoreServer::sqlite());
    }
}

/// An administrator acts for a user: the banner, the lists of both, the audit log, and the way back.
fn administrators_act_for_a_user_who_sees_it(store: &StoreServer) {
    let app = store.instance(&[]);
    let mut root = app.browser();
    root.sign_in("root", "");
    let mut ada = app.signed_in("ada");
    let own = root.token().to_owned();
    let button = "action=\"/admin/users/1/act\"";
    assert!(root.get("/admin?user=ada").text.contains(button));
    assert!(!root.get("/admin?user=root").text.contains("/act\""), "an administrator");
    let begun = root.submit("/admin?user=ada", "/admin/users/1/act", "");
    assert_eq!((begun.status, begun.header("location").as_deref()), (303, Some("/")));

    let page = root.get("/");
    for text in
        ["Hello, ada", "root acting for ada", "action=\"/acting/end\"", "in at most 30 minutes"]
    {
        assert!(page.text.contains(text), "{text}: {}", page.text);
    }
    assert!(!page.text.contains("href=\"/admin\"") && !page.text.contains("href=\"/password\""));
    assert_eq!(root.get("/profile").json()["name"], "ada");
    for path in ["/password", "/admin", "/audit"] {
        assert_eq!(root.get(path).status, 403, "{path}");
    }
    // The user sees both sessions, and which of them is the administrator's.
    let sessions = ada.get("/sessions").json();
    let sessions = sessions.as_array().unwrap();
    let acting: Vec<_> = sessions.iter().map(|row| &row["administrator"]).collect();
    assert!(acting.len() == 2 && acting.contains(&&"root".into()), "{sessions:?}");
    let id = sessions.iter().find(|row| row["administrator"] == "root").unwrap()["id"].clone();

    let back = root.submit("/", "/acting/end", "");
    assert_eq!((back.status, back.header("location").as_deref()), (303, Some("/")));
    assert!(root.get("/").text.contains("Hello, root") && root.token() != own);
    assert_eq!(ada.get("/sessions").json().as_array().unwrap().len(), 1);

    // The user ends it.
    root.submit("/admin?user=ada", "/admin/users/1/act", "");
    assert_eq!(root.get("/profile").json()["name"], "ada");
    assert_eq!(ada.post("/sessions/revoke-others").json()["ended"], 1);
    assert_eq!(root.get("/sessions").status, 303, "to the sign-in form");

    let mut root = app.signed_in("root");
    let audit = root.get("/audit").json();
    let audit = audit.as_array().unwrap();
    let began = audit.iter().find(|row| row["event"] == "impersonated" && row["session"] == id);
    let began = began.unwrap();
    assert_eq!((&began["user"], &began["acting_for"]), (&"root".into(), &"ada".into()));
    assert_eq!(root.post("/admin/users/3/act").status, 403, "itself");
    assert_eq!(root.post("/admin/users/99/act").status, 404);
    assert_eq!(ada.post("/admin/users/2/act").status, 403, "for administrators");
}

mod acting_for_a_user {
    use super::*;

    #[test]
    fn memory() {
        administrators_act_for_a_user_who_sees_it(&StoreServer::memory());
    }

    #[test]
    fn redis() {
        administrators_act_for_a_user_who_sees_it(&StoreServer::redis());
    }

    #[test]
    fn sqlite() {
        administrators_act_for_a_user_who_sees_it(&StoreServer::sqlite());
    }
}

#[test]
fn forms_of_an_administrator_s_pages_work() {
    let app = App::start();
    let mut root = app.browser();
    root.sign_in("root", "");
    let (mut ada, mut bob) = (app.signed_in("ada"), app.signed_in("bob"));
    let id = ada.get("/sessions").json()[0]["id"].as_str().unwrap().to_owned();
    let ended = root.submit("/admin", &format!("/admin/sessions/{id}/end"), "");
    assert_eq!((ended.status, ended.header("location").as_deref()), (303, Some("/admin")));
    assert!(root.get("/admin").text.contains("The session was ended."));
    assert_eq!(ada.get("/profile").status, 401);
    root.submit("/admin?user=bob", "/admin/users/2/end", "");
    assert!(root.get("/admin").text.contains("bob was signed out. Ended sessions: 1."));
    assert_eq!(bob.get("/profile").status, 401);
    let audit = root.get("/audit").text;
    for text in ["<td>ended</td>", "<td>bob</td>", "<td>127.0.0.1</td>"] {
        assert!(audit.contains(text), "{text}: {audit}");
    }
    let ended = root.submit("/admin", "/admin/end-everyone", "");
    assert!(root.jar.is_empty());
    let to = ended.header("location").unwrap();
    assert!(root.get(&to).text.contains("All users are signed out."));
}

/// A session does not keep a role that its account has lost.
#[test]
fn a_lost_role_takes_effect_at_once() {
    let (store, folder) = (StoreServer::sqlite(), tempfile::tempdir().unwrap());
    let file = folder.path().join("accounts.json");
    let app = store.instance(&["--accounts", file.to_str().unwrap()]);
    let mut root = app.signed_in("root");
    assert_eq!(root.get("/admin").status, 200);
    let accounts = std::fs::read_to_string(&file).unwrap().replace("\"admin\"", "\"user\"");
    let new = folder.path().join("new");
    std::fs::write(&new, accounts).unwrap();
    std::fs::rename(&new, &file).unwrap();
    assert_eq!(root.get("/admin").status, 403);
    assert_eq!(root.get("/profile").status, 200);
}

#[test]
fn metrics_have_a_separate_address_and_survive_an_outage() {
    let store = StoreServer::redis();
    assert_eq!(store.instance(&[]).client().get("/metrics").status, 404);
    let app = store.instance(&["--metrics-listen", "127.0.0.1:0"]);
    let line = app.greeting.lines().find(|line| line.contains("/metrics")).unwrap();
    let address = line.split_once("http://").unwrap().1.trim_end_matches("/metrics");
    let mut prometheus = Client::of(address.parse().unwrap());
    let mut ada = app.signed_in("ada");
    let _bob = app.signed_in("bob");
    app.client().post_form("/login", "username=ada&password=x");
    ada.post("/logout");
    let text = prometheus.get("/metrics");
    assert!(text.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    for line in [
        "# HELP kvolt_sessions_active Sessions in the store",
        "# TYPE kvolt_store_seconds histogram",
        "kvolt_sessions_active 1",
        "kvolt_sessions_created_total{anonymous=\"false\"} 2",
        "kvolt_sessions_ended_total{reason=\"logout\"} 1",
        "kvolt_app_sign_ins_total{outcome=\"right\"} 2",
        "kvolt_app_sign_ins_total{outcome=\"wrong\"} 1",
        "kvolt_store_seconds_bucket{operation=\"insert\",outcome=\"ok\",le=\"+Inf\"} 2",
    ] {
        assert!(text.text.contains(line), "{line} is not in {}", text.text);
    }
    assert_eq!(app.client().get("/metrics").status, 404, "not at the application's address");
    assert_eq!(prometheus.get("/profile").status, 404, "nothing else at the address for metrics");
    store.proxy.as_ref().unwrap().blackhole();
    assert_eq!(ada.clone().sign_in("ada", "").status, 503);
    let text = prometheus.get("/metrics");
    assert_eq!(text.status, 200);
    assert!(text.text.contains("outcome=\"error\""), "{}", text.text);
}

#[test]
fn only_trusted_proxies_name_the_client_s_address() {
    let address = |options: &[&str], headers: &[(&str, &str)]| {
        let app = App::start_with(options);
        let mut ada = app.client();
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let body = format!("username=ada&password={}", support::PASSWORD);
        ada.send("POST", "/login", &[&form[..], headers].concat(), &body);
        ada.get("/sessions").json()[0]["address"].as_str().unwrap().to_owned()
    };
    let forwarded = [
        ("x-forwarded-for", "203.0.113.9, 198.51.100.7"),
        ("forwarded", "for=192.0.2.60"),
        ("x-real-ip", "192.0.2.61"),
    ];
    assert_eq!(address(&[], &forwarded), "127.0.0.1");
    assert_eq!(address(&["--trusted-proxy", "10.0.0.0/8"], &forwarded), "127.0.0.1");
    let trusted = ["--trusted-proxy", "127.0.0.1"];
    assert_eq!(address(&trusted, &forwarded), "198.51.100.7");
    let both = [&trusted[..], &["--trusted-proxy", "198.51.100.0/24"]].concat();
    assert_eq!(address(&both, &forwarded), "203.0.113.9");
    for (name, expected) in [("forwarded", "192.0.2.60"), ("X-Real-IP", "192.0.2.61")] {
        let options = [&trusted[..], &["--forwarding-header", name]].concat();
        assert_eq!(address(&options, &forwarded), expected);
    }
}
