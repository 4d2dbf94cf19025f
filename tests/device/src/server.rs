use std::fmt::Debug;
use std::thread;
use std::time::Duration;

use kvolt_servers::http::Answer;
use kvolt_servers::webdriver::Browser;

use crate::Client;

/// How long the server accepts a bound cookie after its lifetime.
pub(crate) const LEEWAY: Duration = Duration::from_secs(2);

/// A margin after a deadline, for servers that count in whole seconds.
pub(crate) const MARGIN: Duration = Duration::from_millis(1_100);

/// For how long a session is admitted without its bound cookie after the registration.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// When a bound cookie that was set until now is refused.
pub(crate) fn after_lifetime(server: &dyn Server) -> Duration {
    server.lifetime() + LEEWAY + MARGIN
}

/// A server whose sessions are bound to devices.
///
/// The defaults are the names and paths of the server in `tests/fixture`.
pub trait Server: Debug + Send + Sync {
    /// Its origin, such as `https://localhost:8443`. It listens on 127.0.0.1.
    fn origin(&self) -> &str;

    /// Base64 of the SHA-256 of its certificate's `SubjectPublicKeyInfo`, for the browser.
    fn trusted_key(&self) -> &str;

    /// The lifetime of a bound cookie.
    fn lifetime(&self) -> Duration;

    /// Lets time pass at the server: sleeps, or moves its clock.
    fn let_pass(&self, time: Duration) {
        thread::sleep(time);
    }

    /// Whether [`let_pass`](Self::let_pass) moves a clock that is the server's alone: the browser's
    /// cookies do not expire then.
    fn has_own_clock(&self) -> bool {
        false
    }

    /// Makes the store fail, or lets it work again. False if that can't be done here: checks of an
    /// outage do nothing then.
    fn fail_store(&self, _fail: bool) -> bool {
        false
    }

    /// Lets the store do the next change, and lose its answer. False if that can't be done here.
    fn lose_next_answer_of_store(&self) -> bool {
        false
    }

    /// Name of the session cookie.
    fn session_cookie(&self) -> &str {
        "__Host-session_id"
    }

    /// Name of the bound cookie.
    fn bound_cookie(&self) -> &str {
        "__Host-session_bound"
    }

    /// Path of the refresh endpoint. The offer has that of the registration.
    fn refresh_path(&self) -> &str {
        "/dbsc/refresh"
    }

    /// Path of a page that needs a session.
    fn protected(&self) -> &str {
        "/home"
    }

    /// A text on the protected page.
    fn greeting(&self) -> &str {
        "hello"
    }

    /// Changes the session's data.
    fn change(&self, client: &Client) -> Answer {
        client.get("/count", &[])
    }

    /// A path whose `GET` gives the session a new token. `None`: not checked.
    fn rotate(&self) -> Option<&str> {
        Some("/rotate")
    }

    /// A page that shows the greeting only soon after a proof. `None`: not checked.
    fn step_up(&self) -> Option<&str> {
        Some("/stepup")
    }

    /// A path whose `GET` signs in, even if another site has the link: the callback of an identity
    /// provider. It may work once. `None`: not checked.
    fn callback(&self) -> Option<&str> {
        Some("/sso-callback")
    }

    /// Signs in. The caller keeps the cookies of the answer.
    fn sign_in(&self, client: &Client) -> Answer {
        client.post("/login", &[])
    }

    /// Signs out.
    fn sign_out(&self, client: &Client) -> Answer {
        client.post("/logout", &[])
    }

    /// Signs in with a browser, which may have a session already.
    fn sign_in_by_browser(&self, browser: &mut Browser) {
        browser.open(&format!("{}/", self.origin()));
        browser.run("document.getElementById('login').submit()");
        browser.wait_for(self.greeting());
    }

    /// Signs out with a browser, which then has a page of the server open.
    fn sign_out_by_browser(&self, browser: &mut Browser) {
        let script = "return fetch('/logout', { method: 'POST' }).then(answer => answer.status)";
        assert_eq!(browser.run(script), 200);
    }
}
