//! Tests the program with a real, headless Chromium.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use kvolt_device_tests::check_all;
use kvolt_servers::webdriver::{Browser, Driver};
use serde_json::json;
use support::device_server::DeviceServer;
use support::page_checks::PageChecks;
use support::remote::StoreServer;
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
    let mut laptop = driver.browser().window(1100, 900).start();
    let mut phone = driver.browser().window(500, 900).dark().start();

    sign_in(&mut laptop, &url, "wrong");
    laptop.wait_for("Wrong username or password");
    laptop.save_screenshot("wrong-password");
    sign_in(&mut laptop, &url, PASSWORD);
    laptop.wait_for("Hello, ada");

    let [cookie] = &laptop.cookies()[..] else { panic!("one cookie") };
    assert_eq!((&*cookie.name, cookie.http_only), ("session_id", true));
    assert_eq!((&*cookie.same_site, &*cookie.path), ("Lax", "/"));
    assert_eq!(laptop.run("return document.cookie"), "", "scripts can't read the token");

    for expected in ["1\ncounted", "2\ncounted"] {
        laptop.click(".counter button");
        laptop.wait_for(expected);
    }
    assert_eq!(cookie.expiry, None, "a session cookie");

    // After the sign-in, the browser goes to the page that needed it.
    phone.open(&format!("{url}profile"));
    phone.wait_for("Sign in to continue.");
    sign_in_here(&mut phone, "ada", PASSWORD);
    phone.wait_for("\"name\":\"ada\"");
    phone.open(&url);
    phone.wait_for("Hello, ada");
    phone.save_screenshot("phone-dark");

    laptop.reload();
    laptop.wait_for("Sign out all others");
    laptop.save_screenshot("two-devices");
    laptop.click(".rows li form button");
    laptop.wait_until_gone("Sign out all others");
    laptop.wait_for("The session was ended.");
    laptop.save_screenshot("flash");
    laptop.reload();
    laptop.wait_for("Hello, ada");
    assert!(!laptop.text().contains("The session was ended."), "a message is shown once");
    // The open page of the other device leaves by itself, and says why.
    phone.wait_for("Your session has ended");
    assert!(!phone.text().contains("Hello"), "the other device was signed out");
    phone.save_screenshot("ended");

    laptop.click(".bar form button");
    laptop.wait_for("You are signed out.");
    laptop.save_screenshot("signed-out");
    assert!(laptop.cookies().is_empty());
    for _ in 0..3 {
        laptop.back();
        laptop.wait_for("Sign in");
        let shown = laptop.text();
        assert!(!shown.contains("Hello") && !shown.contains("counted in"), "Back shows: {shown}");
    }
    laptop.save_screenshot("back-after-sign-out");
}

/// By the printed flags, it trusts the certificate and binds the session to its key.
#[test]
fn a_copy_of_the_cookies_is_refused_after_their_lifetime() {
    let app = App::start_with(&["--dev-https", "--bound-lifetime", "5s"]);
    let driver = Driver::start();
    let mut browser = driver.browser().args(app.flags()).start();
    sign_in(&mut browser, &app.url(), PASSWORD);
    browser.wait_for("Hello, ada");
    browser.reload_until("bound to its device");
    assert_eq!(browser.run("return [isSecureContext, document.cookie]"), json!([true, ""]));

    let mut thief = app.client();
    let cookies = browser.cookies();
    for cookie in &cookies {
        assert!(cookie.secure && cookie.http_only);
        thief.jar.insert(cookie.name.clone(), cookie.value.clone());
    }
    let mut names: Vec<_> = thief.jar.keys().cloned().collect();
    names.sort();
    assert_eq!(names, ["__Host-session_bound", "__Host-session_id"]);
    let refused = thief.get_while("/profile", 200);
    assert_eq!((refused.status, &refused.json()["error"]), (401, &"device_proof_too_old".into()));

    browser.click(".counter button");
    browser.wait_for("1\ncounted");
    browser.save_screenshot("bound");
    let log = app.signed_in("root").get("/audit").json().to_string();
    assert!(log.contains("device_bound") && !log.contains("device_proved"), "{log}");
    browser.click(".bar form button");
    browser.wait_for("You are signed out.");
    // A proof that was under way may still have set the other cookie, which is worthless now.
    assert!(browser.cookies().iter().all(|cookie| cookie.name != "__Host-session_id"));
}

/// The browser keeps its cookie, follows live changes, and gets a new token.
#[test]
fn a_user_is_remembered_confirms_the_password_and_changes_it() {
    let app = App::start_with(&["--fresh", "2s", "--rotation-grace", "1s"]);
    let url = format!("http://{}/", app.address);
    let driver = Driver::start();
    let (mut laptop, mut phone) = (
        driver.browser().window(1100, 900).start(),
        driver.browser().window(500, 900).dark().start(),
    );

    laptop.open(&url);
    laptop.click("input[name=remember]");
    laptop.save_screenshot("remember-me");
    sign_in_here(&mut laptop, "ada", PASSWORD);
    laptop.wait_for("this browser remembers you");
    let [cookie] = &laptop.cookies()[..] else { panic!("one cookie") };
    let now = laptop.run("return Math.floor(Date.now() / 1000)").as_i64().unwrap();
    let days = (cookie.expiry.unwrap() - now).div_euclid(86_400);
    assert!((29..=30).contains(&days), "the browser keeps it for {days} days");

    // A page shows a change by another client of the session.
    sign_in(&mut phone, &url, PASSWORD);
    phone.wait_for("Hello, ada");
    let mut script = app.client();
    let token = phone.cookies()[0].value.clone();
    script.jar.insert("session_id".into(), token);
    assert_eq!(script.post("/counter").json()["counter"], 1);
    phone.wait_for("1\ncounted");

    // The password is asked for again after some time, and the browser goes on to the page.
    laptop.wait_until_refused("/password");
    laptop.open(&format!("{url}password"));
    laptop.wait_for("Confirm your password");
    laptop.save_screenshot("reauthenticate");
    laptop.fill("#password", "wrong");
    laptop.click("main button.main");
    laptop.wait_for("Wrong password.");
    laptop.fill("#password", PASSWORD);
    laptop.click("main button.main");
    laptop.wait_for("Change your password");
    laptop.save_screenshot("password");
    laptop.fill("#new", "another horse");
    laptop.fill("#again", "another horse");
    laptop.click("main button.main");
    laptop.wait_for("Password changed. 1 other session was ended.");
    laptop.save_screenshot("password-changed");
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
    laptop.save_screenshot("form-token");
    laptop.open(&url);
    laptop.wait_for("0\ncounted");
}

#[test]
fn an_administrator_ends_sessions_and_reads_the_audit_log() {
    let app = App::start();
    let url = format!("http://{}/", app.address);
    let driver = Driver::start();
    let mut root = driver.browser().window(1100, 1000).start();
    let mut ada = driver.browser().window(500, 900).dark().start();
    let _programs = ["ada", "bob", "bob"].map(|name| app.signed_in(name));
    sign_in(&mut ada, &url, PASSWORD);
    ada.wait_for("Hello, ada");
    ada.open(&format!("{url}admin"));
    ada.wait_for("This page is for administrators only.");
    assert!(ada.text().contains("Sign out"), "the navigation stays");
    ada.save_screenshot("not-allowed");
    ada.open(&url);
    ada.wait_for("Hello, ada");

    root.open(&url);
    sign_in_here(&mut root, "root", PASSWORD);
    root.wait_for("Hello, root");
    root.open(&format!("{url}admin"));
    root.wait_for("All sessions");
    root.save_screenshot("all-sessions");
    root.open(&format!("{url}admin?user=ada"));
    root.wait_for("Sessions of ada");
    root.save_screenshot("sessions-of-ada");
    root.click(".confirm summary");
    root.wait_for("This signs the user out on all devices.");
    root.save_screenshot("sessions-of-ada-confirm");
    root.click(".confirm .danger");
    root.wait_for("ada was signed out. Ended sessions: 2.");
    root.wait_for("Sessions of ada");
    root.wait_for("ada is not signed in.");
    ada.wait_for("Your session has ended");
    root.open(&format!("{url}audit"));
    root.wait_for("signed in");
    root.save_screenshot("audit");
}

/// An action of an administrator whose password is old: the form asks for it, and the action goes on.
#[test]
fn a_step_up_resumes_the_action() {
    let app = App::start_with(&["--fresh", "2s"]);
    let url = format!("http://{}/", app.address);
    let driver = Driver::start();
    let mut root = driver.browser().window(1100, 1000).start();
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
    root.save_screenshot("confirm-password");
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
    let builder = driver.browser().window(width, 812).args(app.flags());
    let mut browser = if dark { builder.dark() } else { builder }.start();
    let check = |browser: &mut Browser, name: &str| {
        browser.save_screenshot(&format!("{scheme}-{name}"));
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

/// Two instances take turns. Chromium's cookies expire after five seconds, and a thief copies them.
#[test]
fn a_browser_keeps_its_session_bound_to_its_device() {
    let store = StoreServer::sqlite();
    let server = DeviceServer::start(&store, 2, &["--near-cache", "1s"]);
    check_all(kvolt_device_tests::browser::ALL, &server, 4);
}
