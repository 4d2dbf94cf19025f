//! The running program in a real, headless Chromium.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use support::webdriver::{Browser, Driver};
use support::{App, PASSWORD};

fn sign_in(browser: &mut Browser, url: &str, password: &str) {
    browser.open(url);
    browser.fill("#username", "ada");
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
    phone.reload();
    phone.wait_for("Password");
    assert!(!phone.text().contains("Hello"), "the other device was signed out");
    phone.screenshot("ended");

    laptop.click(".bar form button");
    laptop.wait_for("Password");
    assert!(laptop.cookies().is_empty());
    for _ in 0..3 {
        laptop.back();
        laptop.wait_for("Sign in");
        let shown = laptop.text();
        assert!(!shown.contains("Hello") && !shown.contains("kept in"), "Back shows: {shown}");
    }
    laptop.screenshot("back-after-sign-out");
}
