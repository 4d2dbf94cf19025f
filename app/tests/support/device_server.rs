use std::time::Duration;

use kvolt_device_tests::{Client, Server, alternate};
use kvolt_servers::http::Answer;
use kvolt_servers::webdriver::Browser;

use super::remote::StoreServer;
use super::{App, PASSWORD};

/// Instances of the program over HTTPS, which take turns.
#[derive(Debug)]
pub struct DeviceServer {
    origin: String,
    trusted_keys: String,
    /// A link that signs in, once. It is that of one instance.
    link: Option<String>,
    _apps: Vec<App>,
}

/// Short: the clock of the program can't be moved.
const LIFETIME: Duration = Duration::from_secs(5);

impl DeviceServer {
    /// So many instances on a store.
    pub fn start(store: &StoreServer, instances: usize, options: &[&str]) -> Self {
        let settings = ["--dev-https", "--bound-lifetime", "5s", "--sign-in-link", "ada"];
        // All checks are of one user, at the same time.
        let limits = ["--sessions-per-user", "unlimited", "--failed-sign-ins", "1000"];
        let options = [&settings[..], &limits, options].concat();
        let apps: Vec<_> = (0..instances).map(|_| store.instance(&options)).collect();
        let ports: Vec<_> = apps.iter().map(|app| app.address.port()).collect();
        let origin = format!("https://localhost:{}", alternate(&ports));
        let keys: Vec<_> = apps.iter().map(|app| app.key_hash().unwrap()).collect();
        let link = match &apps[..] {
            [app] => app.greeting.lines().find_map(|line| line.split_once("/login/link")),
            _ => None,
        };
        let link = link.map(|(_, code)| format!("/login/link{code}"));
        Self { origin, trusted_keys: keys.join(","), link, _apps: apps }
    }
}

impl Server for DeviceServer {
    fn origin(&self) -> &str {
        &self.origin
    }

    fn trusted_key(&self) -> &str {
        &self.trusted_keys
    }

    fn lifetime(&self) -> Duration {
        LIFETIME
    }

    fn protected(&self) -> &str {
        "/profile"
    }

    fn greeting(&self) -> &str {
        "\"name\":\"ada\""
    }

    fn change(&self, client: &Client) -> Answer {
        client.post("/counter", &[])
    }

    fn rotate(&self) -> Option<&str> {
        None
    }

    fn step_up(&self) -> Option<&str> {
        None
    }

    fn callback(&self) -> Option<&str> {
        self.link.as_deref()
    }

    fn sign_in(&self, client: &Client) -> Answer {
        client.submit("/login", &format!("username=ada&password={PASSWORD}"))
    }

    fn sign_in_by_browser(&self, browser: &mut Browser) {
        browser.open(&format!("{}/", self.origin));
        let body = format!("new URLSearchParams({{ username: 'ada', password: '{PASSWORD}' }})");
        browser.run(&format!("return fetch('/login', {{ method: 'POST', body: {body} }}).then()"));
        browser.open(&format!("{}/profile", self.origin));
        browser.wait_for(self.greeting());
    }

    fn sign_out_by_browser(&self, browser: &mut Browser) {
        browser.open(&format!("{}/", self.origin));
        browser.click(".bar form button");
        browser.wait_for("You are signed out.");
    }
}
