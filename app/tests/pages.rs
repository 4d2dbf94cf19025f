//! The texts and controls of the running program's pages.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use support::{App, Client, PASSWORD, csrf_token};

#[test]
fn every_way_to_the_sign_in_form_says_why() {
    let app = App::start();
    let mut ada = app.browser();
    assert!(!ada.get("/").text.contains("role=\"status\""), "nothing to say at first");
    let to = ada.get("/profile").header("location").unwrap();
    assert!(ada.get(&to).text.contains("Sign in to continue."));
    assert!(ada.get("/login?next=/profile").text.contains("Sign in to continue."));

    for (page, path, message) in [
        ("/", "/logout", "You are signed out."),
        ("/", "/sessions/revoke-all", "You are signed out on all devices."),
    ] {
        ada.sign_in("ada", "");
        let to = ada.submit(page, path, "").header("location").unwrap();
        assert!(ada.get(&to).text.contains(message), "{path}");
    }
    // On another device.
    ada.sign_in("ada", "");
    app.signed_in("ada").post("/sessions/revoke-others");
    assert!(ada.get("/").text.contains("Your session has ended, or you were signed out"));
    // An address can't show another text.
    let forged = app.browser().get("/?message=You+won+a+prize");
    assert!(forged.status == 200 && !forged.text.contains("prize"));
}

#[test]
fn the_hint_about_the_printed_password_is_shown_only_then() {
    let hint = "The program printed the name and password";
    assert!(!App::start().browser().get("/").text.contains(hint));
    assert!(App::launch(&[], "off").browser().get("/").text.contains(hint));
}

#[test]
fn dangerous_buttons_ask_first() {
    let app = App::start();
    let mut root = app.browser();
    root.sign_in("root", "");
    for (page, path) in [
        ("/", "/sessions/revoke-all"),
        ("/admin", "/admin/end-everyone"),
        ("/admin?user=root", "/admin/users/3/end"),
    ] {
        let text = root.get(page).text;
        let (before, _) = text.split_once(&format!("action=\"{path}\"")).unwrap();
        let opened = before.rfind("<details").expect("a disclosure before the form");
        assert!(!before[opened..].contains("</details>"), "{path} is not inside: {text}");
    }
}

#[test]
fn the_current_page_is_marked_and_password_forms_name_the_user() {
    let app = App::start();
    let mut root = app.browser();
    root.sign_in("root", "");
    for path in ["/", "/password", "/admin", "/audit"] {
        let text = root.get(path).text;
        assert!(text.contains(&format!("<a href=\"{path}\" aria-current=\"page\">")), "{text}");
        assert_eq!(text.matches("aria-current").count(), 1, "{path}");
    }
    for path in ["/password", "/reauthenticate"] {
        let field = "value=\"root\" autocomplete=\"username\" hidden";
        assert!(root.get(path).text.contains(field), "{path}");
    }
}

#[test]
fn empty_lists_say_so() {
    let app = App::start();
    let mut root = app.browser();
    root.sign_in("root", "");
    assert!(root.get("/admin?user=bob").text.contains("bob is not signed in."));
    assert!(root.get("/admin?user=nobody").text.contains("No account has this name."));
}

#[test]
fn the_site_has_an_icon() {
    let app = App::start();
    let mut client = app.client();
    let icon = client.get("/favicon.ico");
    assert_eq!((icon.status, icon.header("content-type").unwrap()), (200, "image/svg+xml".into()));
    let page = client.get("/");
    assert!(page.text.contains("<link rel=\"icon\" href=\"/favicon.ico\""));
    assert!(page.header("content-security-policy").unwrap().contains("img-src 'self'"));
}

/// After its password, an interrupted action goes on, and ends on the page that it came from.
#[test]
fn a_step_up_resumes_the_interrupted_action() {
    let app = App::start_with(&["--fresh", "1s"]);
    let mut ada = app.signed_in("ada");
    let id = ada.get("/sessions").json()[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/admin/sessions/{id}/end");
    let mut root = app.browser();
    root.sign_in("root", "");
    let token = csrf_token(&root.get("/").text).to_owned();
    root.get_while("/admin", 200);

    let send = |root: &mut Client, more: &str| {
        root.post_form(&path, &format!("csrf_token={token}&next=/admin?user%3Dada{more}"))
    };
    let asked = send(&mut root, "");
    assert_eq!(asked.status, 401);
    for part in
        ["Confirm your password", &format!("action=\"{path}\""), "value=\"/admin?user=ada\""]
    {
        assert!(asked.text.contains(part), "{part}: {}", asked.text);
    }
    let wrong = send(&mut root, "&password=x");
    assert!(wrong.status == 401 && wrong.text.contains("Wrong password."), "{}", wrong.text);
    assert_eq!(ada.get("/profile").status, 200, "nothing was ended");

    let done = send(&mut root, &format!("&password={PASSWORD}"));
    assert_eq!((done.status, done.header("location").as_deref()), (303, Some("/admin?user=ada")));
    assert_eq!(ada.get("/profile").status, 401);
    assert!(root.get("/").text.contains("The session was ended."));

    // A program gets a refusal, and sends the password with the action.
    let mut program = app.signed_in("root");
    program.get_while("/admin", 200);
    let path = "/admin/users/1/end";
    assert_eq!(program.post(path).json()["error"], "insufficient_user_authentication");
    let done = program.post_form(path, &format!("password={PASSWORD}"));
    assert_eq!((done.status, &done.json()["ended"]), (200, &0.into()));
}

/// A new password must not be in a page: the form is shown again, with a message.
#[test]
fn a_step_up_before_a_password_change_says_what_to_do() {
    let app = App::start_with(&["--fresh", "1s"]);
    let mut ada = app.browser();
    ada.sign_in("ada", "");
    let token = csrf_token(&ada.get("/").text).to_owned();
    ada.get_while("/password", 200);
    let fields = format!("csrf_token={token}&new=another horse&again=another horse");
    let away = ada.post_form("/password", &fields);
    assert_eq!(away.header("location").as_deref(), Some("/reauthenticate?next=/password"));
    let form = ada.get("/reauthenticate?next=/password").text;
    assert!(form.contains("Your password is not changed yet.") && !form.contains("another horse"));
    assert_eq!(app.client().sign_in("ada", "").status, 200, "the old password is still valid");
}
