use serde_json::{Value, json};

use super::Browser;
use super::driver::send;

/// Device-bound sessions with keys in software, and without a quota of refreshes. Either feature
/// alone does nothing.
const DEVICE_BOUND: &str = "--enable-features=DeviceBoundSessions:RefreshQuota/false,\
                            EnableBoundSessionCredentialsSoftwareKeysForManualTesting";

/// Settings of a [`Browser`]. [`Driver::browser`](super::Driver::browser) returns it.
#[derive(Debug)]
#[must_use = "`start` starts the browser"]
pub struct BrowserBuilder {
    port: u16,
    args: Vec<String>,
    window: (u32, u32),
    records: bool,
}

impl BrowserBuilder {
    pub(super) fn new(port: u16) -> Self {
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ];
        let args = args.map(str::to_owned).into();
        Self { port, args, window: (1100, 900), records: false }
    }

    /// The size of the window; 1100 by 900 pixels by default. A window narrower than 500 pixels is
    /// emulated as a phone: real windows have a minimum width.
    pub fn window(mut self, width: u32, height: u32) -> Self {
        self.window = (width, height);
        self
    }

    /// Pages see the dark color scheme.
    pub fn dark(self) -> Self {
        self.arg("--blink-settings=preferredColorScheme=0")
    }

    /// One more argument of Chromium.
    pub fn arg(self, arg: &str) -> Self {
        self.args([arg.to_owned()])
    }

    /// More arguments of Chromium.
    pub fn args(mut self, args: impl IntoIterator<Item = String>) -> Self {
        self.args.extend(args);
        self
    }

    /// Switches on device-bound sessions, and [`Browser::device_log`]. The browser trusts servers
    /// whose certificate has this key: base64 of the SHA-256 of its `SubjectPublicKeyInfo`.
    pub fn device_bound_sessions(mut self, trusted_key: &str) -> Self {
        self.records = true;
        self.arg(DEVICE_BOUND).arg(&format!("--ignore-certificate-errors-spki-list={trusted_key}"))
    }

    /// All hosts below `.test` are this machine.
    pub fn local_test_hosts(self) -> Self {
        self.arg("--host-resolver-rules=MAP *.test 127.0.0.1")
    }

    /// Starts the browser.
    ///
    /// # Panics
    ///
    /// Panics if Chromium does not start.
    #[track_caller]
    pub fn start(mut self) -> Browser {
        let (width, height) = self.window;
        self.args.push(format!("--window-size={width},{height}"));
        let mut options = json!({ "args": self.args });
        if width < 500 {
            let metrics = json!({ "width": width, "height": height, "pixelRatio": 2 });
            options["mobileEmulation"] = json!({ "deviceMetrics": metrics });
        }
        let mut wanted = json!({ "goog:chromeOptions": options });
        if self.records {
            wanted["goog:loggingPrefs"] = json!({ "performance": "ALL" });
        }
        let capabilities = json!({ "capabilities": { "alwaysMatch": wanted } });
        let answer = send(self.port, "POST", "/session", &capabilities);
        let Value::String(session) = &answer["sessionId"] else { panic!("a session: {answer}") };
        Browser::new(self.port, session, self.records)
    }
}
