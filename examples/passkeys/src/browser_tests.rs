//! With a real browser, which makes and uses passkeys in an authenticator in software.

use std::thread;

use kvolt::cache::Clock;
use kvolt::testing::ManualClock;
use kvolt_servers::webdriver::{Browser, Driver};
use tokio::net::TcpListener;

use super::*;

/// The application, for as long as the test runs.
struct Site {
    port: u16,
    /// A second port, as that of another program on this host: it is another origin.
    other_port: u16,
    clock: Clock,
}

impl Site {
    fn start() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let bind = || runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let (listener, other) = (bind(), bind());
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let (port, other_port) = (port(&listener), port(&other));
        let store = MemoryStore::builder().clock(ManualClock::new().clock()).build();
        let sessions = sessions(store).unwrap();
        let clock = sessions.manager().clock().clone();
        let app = app(&sessions, &format!("http://localhost:{port}")).unwrap();
        runtime.spawn(axum::serve(other, app.clone()).into_future());
        thread::spawn(move || runtime.block_on(axum::serve(listener, app).into_future()));
        Self { port, other_port, clock }
    }
}

fn open(browser: &mut Browser, port: u16) {
    browser.open(&format!("http://localhost:{port}/"));
    browser.wait_for("you are");
}

fn sign_up(browser: &mut Browser, name: &str) {
    browser.fill("#name", name);
    browser.click("#create");
    browser.wait_for(&format!("you are {name}"));
}

#[test]
fn user_signs_up_signs_in_and_adds_a_passkey() {
    let site = Site::start();
    let driver = Driver::start();
    let mut browser = driver.browser().start();
    let key = browser.add_authenticator(false);
    open(&mut browser, site.port);

    sign_up(&mut browser, "ada");
    let [passkey] = &key.credentials()[..] else { panic!("one passkey") };
    assert_eq!(passkey["isResidentCredential"], true, "it signs in without a name");
    browser.click("#logout");
    browser.wait_for("you are signed out");
    assert!(browser.cookies().is_empty());
    browser.click("#sign-in");
    browser.wait_for("you are ada, at level 3, with 1 passkey");

    // The page renews the proof. Then the browser finds that this authenticator is registered.
    site.clock.advance(Duration::from_secs(6 * 60)).unwrap();
    browser.click("#add");
    browser.wait_for("registered");
    key.remove();
    let phone = browser.add_authenticator(true);
    browser.click("#add");
    browser.wait_for("with 2 passkeys");
    assert_eq!(phone.credentials().len(), 1);

    browser.click("#logout");
    browser.wait_for("you are signed out");
    browser.click("#sign-in");
    browser.wait_for("you are ada, at level 2, with 2 passkeys");
}

#[test]
fn copied_key_is_refused_and_ends_the_session() {
    let site = Site::start();
    let driver = Driver::start();
    let mut browser = driver.browser().start();
    let key = browser.add_authenticator(false);
    open(&mut browser, site.port);
    sign_up(&mut browser, "ada");
    let copies = key.credentials();
    browser.click("#logout");
    browser.wait_for("you are signed out");
    browser.click("#sign-in");
    browser.wait_for("you are ada");
    key.remove();

    let copy = browser.add_authenticator(false);
    copies.iter().for_each(|credential| copy.add_credential(credential));
    site.clock.advance(Duration::from_secs(6 * 60)).unwrap();
    browser.click("#add");
    browser.wait_for("the passkey was not accepted");
    assert_eq!(browser.fetch("/profile"), 401);
}

/// The browser lets it use the passkeys of its host: the server must compare the origin.
#[test]
fn page_of_another_origin_is_refused() {
    let site = Site::start();
    let driver = Driver::start();
    let mut browser = driver.browser().start();
    let _key = browser.add_authenticator(false);
    open(&mut browser, site.other_port);
    browser.fill("#name", "eve");
    browser.click("#create");
    browser.wait_for("the passkey was not accepted");

    open(&mut browser, site.port);
    sign_up(&mut browser, "ada");
    open(&mut browser, site.other_port);
    browser.click("#logout");
    browser.wait_for("you are signed out");
    browser.click("#sign-in");
    browser.wait_for("the passkey was not accepted");
}
