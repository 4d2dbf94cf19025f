//! The running program in a real, headless Chromium.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use support::webdriver::{Browser, Driver};
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
fn a_person_signs_in_counts_ends_another_device_and_leaves_nothing_behind() {
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
    assert_eq!(laptop.run("return document.cookie"), "", "no script sees the token");

    for expected in ["1\nkept", "2\nkept"] {
        laptop.click(".counter button");
        laptop.wait_for(expected);
    }
    assert_eq!(cookie.get("expiry"), None, "it is forgotten with the browser");

    // Where they were going is where they arrive.
    sign_in(&mut phone, &format!("{url}profile"), PASSWORD);
    phone.wait_for("\"name\":\"ada\"");
    phone.open(&url);
    phone.wait_for("Hello, ada");
    phone.screenshot("phone-dark");

    laptop.reload();
    laptop.wait_for("Sign out the others");
    laptop.screenshot("two-devices");
    laptop.click(".devices li form button");
    laptop.wait_until_gone("Sign out the others");
    laptop.wait_for("That session was ended.");
    laptop.screenshot("flash");
    laptop.reload();
    laptop.wait_for("Hello, ada");
    assert!(!laptop.text().contains("That session was ended."), "it is told once");
    // Its page was open, and hears of it by itself.
    phone.wait_for("Username");
    assert!(!phone.text().contains("Hello"), "the other device was signed out");
    phone.screenshot("ended");

    laptop.click(".bar form button");
    laptop.wait_for("Username");
    assert!(laptop.cookies().is_empty());
    for _ in 0..3 {
        laptop.back();
        laptop.wait_for("Sign in");
        let shown = laptop.text();
        assert!(!shown.contains("Hello") && !shown.contains("kept in"), "Back shows: {shown}");
    }
    laptop.screenshot("back-after-sign-out");
}

/// Remembered, asked once more, and kept in step: what a browser has to see to do its part.
#[test]
fn a_person_is_remembered_proves_it_again_and_changes_the_password() {
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

    // A page hears of a change that another client of the session makes.
    sign_in(&mut phone, &url, PASSWORD);
    phone.wait_for("Hello, ada");
    let mut script = app.client();
    let token = phone.cookies()[0]["value"].as_str().unwrap().to_owned();
    script.jar.insert("session_id".into(), token);
    assert_eq!(script.post("/counter").json()["counter"], 1);
    phone.wait_for("1\nkept");

    // A password that was given long ago is asked for again, and the way goes on.
    laptop.wait_until_refused("/password");
    laptop.open(&format!("{url}password"));
    laptop.wait_for("Your password, once more");
    laptop.screenshot("reauthenticate");
    laptop.fill("#password", "wrong");
    laptop.click("main button.main");
    laptop.wait_for("Wrong username or password");
    laptop.fill("#password", PASSWORD);
    laptop.click("main button.main");
    laptop.wait_for("Change your password");
    laptop.screenshot("password");
    laptop.fill("#new", "another horse");
    laptop.fill("#again", "another horse");
    laptop.click("main button.main");
    laptop.wait_for("Password changed. 1 other session was ended.");
    laptop.screenshot("password-changed");
    // The phone's page was open: its WebSocket was closed, and it shows the form to sign in with.
    phone.wait_for("Username");

    // A form whose token is gone is refused, and nothing is done.
    laptop.open(&url);
    laptop.wait_for("Hello, ada");
    assert!(csrf_token(&laptop.source()).len() == 64);
    laptop.run("document.querySelectorAll('[name=csrf_token]').forEach(field => field.remove())");
    laptop.click(".counter button");
    laptop.wait_for("form token");
    laptop.open(&url);
    laptop.wait_for("0\nkept");
}

#[test]
fn an_administrator_sees_everybody_and_what_has_happened() {
    let app = App::start();
    let url = format!("http://{}/", app.address);
    let driver = Driver::start();
    let mut root = driver.browser(1100, 1000, false);
    let mut ada = driver.browser(500, 900, true);
    let _programs = ["ada", "bob", "bob"].map(|name| app.signed_in(name));
    sign_in(&mut ada, &url, PASSWORD);
    ada.wait_for("Hello, ada");
    ada.open(&format!("{url}admin"));
    ada.wait_for("This is for administrators");
    ada.screenshot("not-for-you");
    ada.open(&url);
    ada.wait_for("Hello, ada");

    root.open(&url);
    sign_in_here(&mut root, "root", PASSWORD);
    root.wait_for("Hello, root");
    root.open(&format!("{url}admin"));
    root.wait_for("Everybody’s sessions");
    root.screenshot("everybody");
    root.open(&format!("{url}admin?user=ada"));
    root.wait_for("Sessions of ada");
    root.screenshot("everybody-of-one");
    root.click(".actions .danger");
    root.wait_for("Sessions of ada that were ended: 2.");
    ada.wait_for("Username");
    root.open(&format!("{url}audit"));
    root.wait_for("revoked_owner");
    root.screenshot("audit");

    let mut small = driver.browser(500, 900, true);
    small.open(&url);
    sign_in_here(&mut small, "root", PASSWORD);
    small.wait_for("Hello, root");
    for (path, name) in [("admin", "everybody-small"), ("audit", "audit-small")] {
        small.open(&format!("{url}{path}"));
        small.wait_for("root");
        small.screenshot(name);
        let wide = "return document.documentElement.scrollWidth > innerWidth";
        assert_eq!(small.run(wide), false, "{path} is wider than the window");
    }
}
