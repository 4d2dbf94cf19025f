use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::driver::{send, try_send};
use super::picture::decode;
use super::{Cookie, DeviceLog, VirtualAuthenticator};
use crate::wait_until;

/// A browser. Closes when dropped.
#[derive(Debug)]
pub struct Browser {
    port: u16,
    session: String,
    log: Option<DeviceLog>,
}

impl Browser {
    pub(super) fn new(port: u16, session: &str, records: bool) -> Self {
        let mut browser = Self { port, session: format!("/session/{session}"), log: None };
        if records {
            browser.log = Some(DeviceLog::default());
            let enable = json!({
                "cmd": "Network.enableDeviceBoundSessions",
                "params": { "enable": true },
            });
            browser.call("POST", "/goog/cdp/execute", &enable);
        }
        browser
    }

    #[track_caller]
    fn call(&mut self, method: &str, path: &str, body: &Value) -> Value {
        send(self.port, method, &format!("{}{path}", self.session), body)
    }

    /// Opens a page, and waits until it is loaded.
    pub fn open(&mut self, url: &str) {
        self.call("POST", "/url", &json!({ "url": url }));
    }

    /// Goes back in the history.
    pub fn back(&mut self) {
        self.call("POST", "/back", &json!({}));
    }

    /// Loads the page again.
    pub fn reload(&mut self) {
        self.call("POST", "/refresh", &json!({}));
    }

    /// Reloads the page until it has a text.
    pub fn reload_until(&mut self, wanted: &str) {
        wait_until(&format!("{wanted:?} is on the page"), || {
            self.reload();
            self.text().contains(wanted)
        });
    }

    /// The text that the page shows.
    pub fn text(&mut self) -> String {
        self.run_for_text("return document.body ? document.body.innerText : ''")
    }

    /// The page's current HTML.
    pub fn source(&mut self) -> String {
        self.run_for_text("return document.documentElement.outerHTML")
    }

    fn run_for_text(&mut self, script: &str) -> String {
        self.run(script).as_str().expect("text").to_owned()
    }

    /// Runs a script, and returns what it returns, or what its promise gives.
    #[track_caller]
    pub fn run(&mut self, script: &str) -> Value {
        self.call("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The status of a `GET` that a script of the page sends. A redirect is followed; without an
    /// answer it is 0.
    #[track_caller]
    pub fn fetch(&mut self, path: &str) -> u64 {
        let script = format!("return fetch('{path}').then(answer => answer.status, () => 0)");
        self.run(&script).as_u64().expect("a status")
    }

    /// Waits until a script's `GET` of the path is answered with an error.
    pub fn wait_until_refused(&mut self, path: &str) {
        wait_until(&format!("{path} is refused"), || !(200..300).contains(&self.fetch(path)));
    }

    fn find(&mut self, selector: &str) -> String {
        let found =
            self.call("POST", "/element", &json!({ "using": "css selector", "value": selector }));
        let mut values = found.as_object().into_iter().flatten().map(|(_, value)| value);
        values.next().and_then(Value::as_str).expect("an element").to_owned()
    }

    /// Types into a field.
    pub fn fill(&mut self, selector: &str, text: &str) {
        let element = self.find(selector);
        self.call("POST", &format!("/element/{element}/value"), &json!({ "text": text }));
    }

    /// Clicks on an element.
    pub fn click(&mut self, selector: &str) {
        let element = self.find(selector);
        self.call("POST", &format!("/element/{element}/click"), &json!({}));
    }

    /// The cookies that the page's site receives, with those that scripts can't read.
    pub fn cookies(&mut self) -> Vec<Cookie> {
        let cookies = self.call("GET", "/cookie", &Value::Null);
        cookies.as_array().into_iter().flatten().map(Cookie::read).collect()
    }

    /// Deletes one of the [`cookies`](Self::cookies), as an expiry does.
    pub fn delete_cookie(&mut self, name: &str) {
        self.call("DELETE", &format!("/cookie/{name}"), &Value::Null);
    }

    /// Deletes all [`cookies`](Self::cookies).
    pub fn delete_cookies(&mut self) {
        self.call("DELETE", "/cookie", &Value::Null);
    }

    /// Adds an authenticator of passkeys. It verifies its user; a `synced` one copies its passkeys to
    /// other devices.
    #[track_caller]
    pub fn add_authenticator(&mut self, synced: bool) -> VirtualAuthenticator {
        VirtualAuthenticator::add(self.port, &self.session, synced)
    }

    /// The reports of Chromium about device-bound sessions, until now.
    ///
    /// # Panics
    ///
    /// Panics without [`device_bound_sessions`](super::BrowserBuilder::device_bound_sessions).
    pub fn device_log(&mut self) -> &DeviceLog {
        let entries = self.call("POST", "/se/log", &json!({ "type": "performance" }));
        let log = self.log.as_mut().expect("started with `device_bound_sessions`");
        for entry in entries.as_array().into_iter().flatten() {
            log.add(entry);
        }
        log
    }

    /// Waits until the page has a text.
    pub fn wait_for(&mut self, wanted: &str) {
        for _ in 0..200 {
            if self.text().contains(wanted) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("no {wanted:?} on the page: {}", self.text());
    }

    /// Waits until the page no longer has a text.
    pub fn wait_until_gone(&mut self, unwanted: &str) {
        for _ in 0..200 {
            let text = self.text();
            if !text.is_empty() && !text.contains(unwanted) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("still {unwanted:?} on the page: {}", self.text());
    }

    /// A picture of the page, as PNG.
    pub fn screenshot(&mut self) -> Vec<u8> {
        let picture = self.call("GET", "/screenshot", &Value::Null);
        decode(picture.as_str().expect("a picture"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = try_send(self.port, "DELETE", &self.session, &Value::Null);
    }
}
