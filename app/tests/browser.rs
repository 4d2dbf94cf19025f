//! Tests the program with a real, headless Chromium.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use serde_json::json;
use support::webdriver::{Browser, Driver, dark_flag};
use support::{App, PASSWORD, csrf_token};

fn sign_in(browser: &mut Browser, url: &str, password: &str) {
    browser.open(url);
    sign_in_here(browser, "ada", password);
}

fn sign_in_here(browser: &mut Browser, name: &str, password: &str) {
    browser.fill("#username", name);
    browser.fill("#password", password);
    browser.click("button.main");
}

#[test]
fn a_user_signs_in_counts_ends_another_device_and_signs_out() {
    let app = App::start();
    let url = format!("http://{}/", app.address);
    let driver = Driver::start();
    let mut laptop = driver.browser(1100, 900, false);
    let mut phone = driver.browser(500, 900, true);

    sign_in(&mut laptop, &url, "wrong");
    laptop.wait_for("Wrong username or password");
    laptop.screenshot("wrong-password");
    sign_in(&mut laptop, &url, PASSWORD);
    laptop.wait_for("Hello, ada");

    let [cookie] = &laptop.cookies()[..] else { panic!("one cookie") };
    assert_eq!((&cookie["name"], &cookie["httpOnly"]), (&"session_id".into(), &true.into()));
    assert_eq!((&cookie["sameSite"], &cookie["path"]), (&"Lax".into(), &"/".into()));
    assert_eq!(laptop.run("return document.cookie"), "", "scripts can't read the token");

    for expected in ["1\ncounted", "2\ncounted"] {
        laptop.click(".counter button");
        laptop.wait_for(expected);
    }
    assert_eq!(cookie.get("expiry"), None, "a session cookie");

    // After the sign-in, the browser goes to the page that needed it.
    phone.open(&format!("{url}profile"));
    phone.wait_for("Sign in to continue.");
    sign_in_here(&mut phone, "ada", PASSWORD);
    phone.wait_for("\"name\":\"ada\"");
    phone.open(&url);
    phone.wait_for("Hello, ada");
    phone.screenshot("phone-dark");

    laptop.reload();
    laptop.wait_for("Sign out all others");
    laptop.screenshot("two-devices");
    laptop.click(".rows li form button");
    laptop.wait_until_gone("Sign out all others");
    laptop.wait_for("The session was ended.");
    laptop.screenshot("flash");
    laptop.reload();
    laptop.wait_for("Hello, ada");
    assert!(!laptop.text().contains("The session was ended."), "a message is shown once");
    // The open page of the other device leaves by itself, and says why.
    phone.wait_for("Your session has ended");
    assert!(!phone.text().contains("Hello"), "the other device was signed out");
    phone.screenshot("ended");

    laptop.click(".bar form button");
    laptop.wait_for("You are signed out.");
    laptop.screenshot("signed-out");
    assert!(laptop.cookies().is_empty());
    for _ in 0..3 {
        laptop.back();
        laptop.wait_for("Sign in");
        let shown = laptop.text();
        assert!(!shown.contains("Hello") && !shown.contains("counted in"), "Back shows: {shown}");
    }
    laptop.screenshot("back-after-sign-out");
}

/// By the printed flags, it trusts the certificate and binds the session to its key.
#[test]
fn a_copy_of_the_cookies_is_refused_after_their_lifetime() {
    let app = App::start_with(&["--dev-https", "--bound-lifetime", "5s"]);
    let driver = Driver::start();
    let mut browser = driver.browser_with(1100, 900, app.flags());
    sign_in(&mut browser, &app.url(), PASSWORD);
    browser.wait_for("Hello, ada");
    browser.reload_until("bound to its device");
    assert_eq!(browser.run("return [isSecureContext, document.cookie]"), json!([true, ""]));

    let mut thief = app.client();
    let cookies = browser.cookies();
    for cookie in &cookies {
        assert_eq!((&cookie["secure"], &cookie["httpOnly"]), (&true.into(), &true.into()));
        let text = |field: &str| cookie[field].as_str().unwrap().to_owned();
        thief.jar.insert(text("name"), text("value"));
    }
    let mut names: Vec<_> = thief.jar.keys().cloned().collect();
    names.sort();
    assert_eq!(names, ["__Host-session_bound", "__Host-session_id"]);
    let refused = thief.get_while("/profile", 200);
    assert_eq!((refused.status, &refused.json()["error"]), (401, &"device_proof".into()));

    browser.click(".counter button");
    browser.wait_for("1\ncounted");
    browser.screenshot("bound");
    let log = app.signed_in("root").get("/audit").json().to_string();
    assert!(log.contains("device_bound") && !log.contains("device_proved"), "{log}");
    browser.click(".bar form button");
    browser.wait_for("You are signed out.");
    // A proof that was under way may still have set the other cookie, which is worthless now.
    assert!(browser.cookies().iter().all(|cookie| cookie["name"] != "__Host-session_id"));
}

#[test]
fn a_user_is_remembered_confirms_the_password_and_changes_it() {
    let app = App::start_with(&["--fresh", "2s", "--rotation-grace", "1s"]);
    let url = format!("http://{}/", app.address);
    let driver = Driver::start();
    let (mut laptop, mut phone) =
        (driver.browser(1100, 900, false), driver.browser(500, 900, true));

    laptop.open(&url);
    laptop.click("input[name=remember]");
    laptop.screenshot("remember-me");
    sign_in_here(&mut laptop, "ada", PASSWORD);
    laptop.wait_for("this browser remembers you");
    let [cookie] = &laptop.cookies()[..] else { panic!("one cookie") };
    let now = laptop.run("return Math.floor(Date.now() / 1000)").as_i64().unwrap();
    let days = (cookie["expiry"].as_i64().unwrap() - now).div_euclid(86_400);
    assert!((29..=30).contains(&days), "the browser keeps it for {days} days");

    // A page shows a change by another client of the session.
    sign_in(&mut phone, &url, PASSWORD);
    phone.wait_for("Hello, ada");
    let mut script = app.client();
    let token = phone.cookies()[0]["value"].as_str().unwrap().to_owned();
    script.jar.insert("session_id".into(), token);
    assert_eq!(script.post("/counter").json()["counter"], 1);
    phone.wait_for("1\ncounted");

    // The password is asked for again after some time, and the browser goes on to the page.
    laptop.wait_until_refused("/password");
    laptop.open(&format!("{url}password"));
    laptop.wait_for("Confirm your password");
    laptop.screenshot("reauthenticate");
    laptop.fill("#password", "wrong");
    laptop.click("main button.main");
    laptop.wait_for("Wrong password.");
    laptop.fill("#password", PASSWORD);
    laptop.click("main button.main");
    laptop.wait_for("Change your password");
    laptop.screenshot("password");
    laptop.fill("#new", "another horse");
    laptop.fill("#again", "another horse");
    laptop.click("main button.main");
    laptop.wait_for("Password changed. 1 other session was ended.");
    laptop.screenshot("password-changed");
    // The phone's page was open: its WebSocket is closed.
    phone.wait_for("Your session has ended");

    // A form without its token is refused with a page, and nothing is changed.
    laptop.open(&url);
    laptop.wait_for("Hello, ada");
    assert!(csrf_token(&laptop.source()).len() == 64);
    laptop.run("document.querySelectorAll('[name=csrf_token]').forEach(field => field.remove())");
    laptop.click(".counter button");
    laptop.wait_for("Not allowed");
    laptop.wait_for("The form token is missing");
    laptop.screenshot("form-token");
    laptop.open(&url);
    laptop.wait_for("0\ncounted");
}

#[test]
fn an_administrator_ends_sessions_and_reads_the_audit_log() {
    let app = App::start();
    let url = format!("http://{}/", app.address);
    let driver = Driver::start();
    let mut root = driver.browser(1100, 1000, false);
    let mut ada = driver.browser(500, 900, true);
    let _programs = ["ada", "bob", "bob"].map(|name| app.signed_in(name));
    sign_in(&mut ada, &url, PASSWORD);
    ada.wait_for("Hello, ada");
    ada.open(&format!("{url}admin"));
    ada.wait_for("This page is for administrators only.");
    assert!(ada.text().contains("Sign out"), "the navigation stays");
    ada.screenshot("not-allowed");
    ada.open(&url);
    ada.wait_for("Hello, ada");

    root.open(&url);
    sign_in_here(&mut root, "root", PASSWORD);
    root.wait_for("Hello, root");
    root.open(&format!("{url}admin"));
    root.wait_for("All sessions");
    root.screenshot("all-sessions");
    root.open(&format!("{url}admin?user=ada"));
    root.wait_for("Sessions of ada");
    root.screenshot("sessions-of-ada");
    root.click(".confirm summary");
    root.wait_for("This signs the user out on all devices.");
    root.screenshot("sessions-of-ada-confirm");
    root.click(".confirm .danger");
    root.wait_for("ada was signed out. Ended sessions: 2.");
    root.wait_for("Sessions of ada");
    root.wait_for("ada is not signed in.");
    ada.wait_for("Your session has ended");
    root.open(&format!("{url}audit"));
    root.wait_for("signed in");
    root.screenshot("audit");
}

/// An action of an administrator whose password is old: the form asks for it, and the action goes on.
#[test]
fn a_step_up_resumes_the_action() {
    let app = App::start_with(&["--fresh", "2s"]);
    let url = format!("http://{}/", app.address);
    let driver = Driver::start();
    let mut root = driver.browser(1100, 1000, false);
    root.open(&url);
    sign_in_here(&mut root, "root", PASSWORD);
    root.wait_for("Hello, root");
    // On a slow machine, the page itself may ask for the password first.
    root.open(&format!("{url}admin"));
    while root.text().contains("Confirm your password") {
        root.fill("#password", PASSWORD);
        root.click("main button.main");
    }
    root.wait_for("All sessions");
    root.wait_until_refused("/admin");
    root.click(".confirm summary");
    root.wait_for("This ends all sessions of all users");
    root.click(".confirm .danger");
    root.wait_for("Confirm your password");
    root.screenshot("confirm-password");
    root.fill("#password", PASSWORD);
    root.click("main button.main");
    root.wait_for("All users are signed out.");
}

/// Every page in both color schemes, on a desktop and on a phone of 375 pixels.
#[test]
fn every_page_is_accessible_and_fits_the_window() {
    let driver = Driver::start();
    std::thread::scope(|scope| {
        for (name, width, dark) in [
            ("light", 1100, false),
            ("dark", 1100, true),
            ("phone-light", 375, false),
            ("phone-dark", 375, true),
        ] {
            let driver = &driver;
            scope.spawn(move || visit_every_page(driver, name, width, dark));
        }
    });
}

fn visit_every_page(driver: &Driver, scheme: &str, width: u32, dark: bool) {
    let app = App::start_with(&["--dev-https"]);
    let url = app.url();
    let mut browser =
        driver.browser_with(width, 812, app.flags().into_iter().chain(dark_flag(dark)));
    let check = |browser: &mut Browser, name: &str| {
        browser.screenshot(&format!("{scheme}-{name}"));
        browser.check_accessibility(&format!("{name} ({scheme})"));
    };
    let visit = |browser: &mut Browser, path: &str, text: &str, name: &str| {
        browser.open(&format!("{url}{path}"));
        browser.wait_for(text);
        check(browser, name);
    };
    visit(&mut browser, "", "Username", "sign-in");
    visit(&mut browser, "profile", "Sign in to continue.", "sign-in-to-continue");
    visit(&mut browser, "nothing", "Page not found", "404");
    visit(&mut browser, "counter/", "Page not found", "404");
    sign_in(&mut browser, &url, "wrong");
    browser.wait_for("Wrong username or password");
    check(&mut browser, "wrong-password");

    for name in ["ada", "root"] {
        browser.open(&url);
        sign_in_here(&mut browser, name, PASSWORD);
        browser.wait_for("Hello,");
        let phone = app.browser().sign_in(name, "");
        assert_eq!(phone.status, 303);
        browser.reload_until("bound to its device");
        browser.click(".confirm summary");
        check(&mut browser, &format!("home-{name}"));
        visit(&mut browser, "password", "Change your password", "password");
        visit(&mut browser, "reauthenticate", "Confirm your password", "reauthenticate");
        visit(&mut browser, "logout", "Not available", "405");
        if name == "ada" {
            visit(&mut browser, "admin", "Not allowed", "403");
            browser.open(&url);
            browser.click(".bar form button");
            browser.wait_for("You are signed out.");
            check(&mut browser, "signed-out");
        }
    }
    visit(&mut browser, "admin", "All sessions", "all-sessions");
    browser.click(".confirm summary");
    check(&mut browser, "all-sessions-confirm");
    visit(&mut browser, "admin?user=ada", "Sessions of ada", "sessions-of-ada");
    visit(&mut browser, "admin?user=nobody", "No account has this name.", "no-account");
    visit(&mut browser, "audit", "sign in failed", "audit");
}
