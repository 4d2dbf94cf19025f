//! Drives a real Chromium by the W3C WebDriver protocol.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::Client;

/// The flag for pages in dark colors.
pub fn dark_flag(dark: bool) -> Option<String> {
    dark.then(|| String::from("--blink-settings=preferredColorScheme=0"))
}

/// ChromeDriver on a free port. Stops when dropped.
pub struct Driver {
    child: Child,
    port: u16,
}

impl Driver {
    pub fn start() -> Self {
        let mut child = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver: `cargo xtask test --install` installs it");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next().expect("a line with the port").unwrap();
            if let Some((_, port)) = line.rsplit_once("successfully on port ") {
                break port.trim_end_matches('.').parse().unwrap();
            }
        };
        // Further output must be read, or it would fail.
        thread::spawn(move || lines.for_each(drop));
        Self { child, port }
    }

    /// Starts a browser with an empty profile. A narrow one is emulated as a phone: windows have a
    /// minimum width.
    pub fn browser(&self, width: u32, height: u32, dark: bool) -> Browser {
        self.browser_with(width, height, dark_flag(dark))
    }

    /// The same with more flags.
    pub fn browser_with(
        &self,
        width: u32,
        height: u32,
        flags: impl IntoIterator<Item = String>,
    ) -> Browser {
        let mut args = vec![
            String::from("--headless=new"),
            String::from("--no-sandbox"),
            String::from("--disable-gpu"),
            String::from("--no-first-run"),
            String::from("--disable-background-networking"),
            String::from("--disable-component-update"),
            String::from("--disable-sync"),
            format!("--window-size={width},{height}"),
        ];
        args.extend(flags);
        let client = Client::of(([127, 0, 0, 1], self.port).into());
        let mut browser = Browser { client, session: String::new() };
        let mut options = json!({ "args": args });
        if width < 500 {
            let metrics = json!({ "width": width, "height": height, "pixelRatio": 2 });
            options["mobileEmulation"] = json!({ "deviceMetrics": metrics });
        }
        let capabilities =
            json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options } } });
        let answer = browser.call("POST", "/session", &capabilities);
        browser.session = format!("/session/{}", answer["sessionId"].as_str().unwrap());
        browser
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // A shutdown ends its browsers; a kill would leave them running.
        if !thread::panicking() {
            let address = ([127, 0, 0, 1], self.port).into();
            let mut client = Client::of(address);
            let _ = client.send("GET", "/shutdown", &[], "");
            for _ in 0..100 {
                if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                    return;
                }
                thread::sleep(Duration::from_millis(50));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A browser. Closes when dropped.
pub struct Browser {
    client: Client,
    session: String,
}

impl Browser {
    fn call(&mut self, method: &str, path: &str, body: &Value) -> Value {
        let path = format!("{}{path}", self.session);
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let json = [("content-type", "application/json")];
        let answer = self.client.send(method, &path, &json, &body);
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text);
        answer.json()["value"].take()
    }

    pub fn open(&mut self, url: &str) {
        self.call("POST", "/url", &json!({ "url": url }));
    }

    pub fn back(&mut self) {
        self.call("POST", "/back", &json!({}));
    }

    pub fn reload(&mut self) {
        self.call("POST", "/refresh", &json!({}));
    }

    /// Reloads the page until it has a text.
    pub fn reload_until(&mut self, wanted: &str) {
        for _ in 0..200 {
            self.reload();
            if self.text().contains(wanted) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("no {wanted:?} on the page: {}", self.text());
    }

    pub fn text(&mut self) -> String {
        let value = self.run("return document.body ? document.body.innerText : ''");
        value.as_str().unwrap().to_owned()
    }

    pub fn run(&mut self, script: &str) -> Value {
        self.call("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The page's current HTML.
    pub fn source(&mut self) -> String {
        let value = self.run("return document.documentElement.outerHTML");
        value.as_str().unwrap().to_owned()
    }

    /// Waits until a path of the site is answered with an error, as a program gets it.
    pub fn wait_until_refused(&mut self, path: &str) {
        let script = format!("return fetch('{path}').then(answer => !answer.ok)");
        for _ in 0..200 {
            if self.run(&script) == true {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("{path} is not refused");
    }

    fn find(&mut self, selector: &str) -> String {
        let found =
            self.call("POST", "/element", &json!({ "using": "css selector", "value": selector }));
        found.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned()
    }

    pub fn fill(&mut self, selector: &str, text: &str) {
        let element = self.find(selector);
        self.call("POST", &format!("/element/{element}/value"), &json!({ "text": text }));
    }

    pub fn click(&mut self, selector: &str) {
        let element = self.find(selector);
        self.call("POST", &format!("/element/{element}/click"), &json!({}));
    }

    pub fn cookies(&mut self) -> Vec<Value> {
        self.call("GET", "/cookie", &Value::Null).as_array().unwrap().clone()
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

    /// Saves a screenshot below the target folder.
    pub fn screenshot(&mut self, name: &str) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
        fs::create_dir_all(&folder).unwrap();
        let picture = self.call("GET", "/screenshot", &Value::Null);
        let encoded = picture.as_str().unwrap();
        fs::write(folder.join(format!("{name}.png")), decode(encoded)).unwrap();
    }
}

impl Browser {
    /// Checks the page with axe-core, and that it fits the width of the window.
    pub fn check_accessibility(&mut self, page: &str) {
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../target/axe/node_modules/axe-core/axe.min.js");
        let axe = fs::read_to_string(path).expect(
            "axe-core: `cargo xtask test --only \"browser programs\" --install` fetches it",
        );
        let found = self.run(&format!(
            "{axe}; return axe.run().then(found => found.violations.map(rule => \
             rule.impact + ' ' + rule.id + ': ' + rule.nodes.map(node => node.html).join(' ')))"
        ));
        assert_eq!(found, json!([]), "axe-core on {page}");
        let overflow =
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(self.run(overflow), 0, "{page} is wider than the window");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let path = self.session.clone();
        if !thread::panicking() {
            let _ = self.client.send("DELETE", &path, &[], "");
        }
    }
}

/// Base64 with padding, as the protocol sends pictures.
fn decode(encoded: &str) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0u32, 0);
    for character in encoded.bytes().filter(|character| *character != b'=') {
        let value = alphabet.iter().position(|known| *known == character).unwrap();
        bits = bits << 6 | value as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}
