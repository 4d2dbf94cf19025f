use std::time::Duration;

use kvolt_servers::wait_until;
use kvolt_servers::webdriver::{Browser, Driver};

use super::other_site::link_to;
use crate::Server;

/// The owner of a session, with a browser of its own.
pub(super) struct Owner<'a> {
    pub(super) browser: Browser,
    pub(super) server: &'a dyn Server,
    requests: u32,
    // After the browser: ends it.
    _driver: Driver,
}

impl<'a> Owner<'a> {
    /// An empty browser that trusts the server.
    pub(super) fn new(server: &'a dyn Server) -> Self {
        let driver = Driver::start();
        let builder = driver.browser().local_test_hosts();
        let browser = builder.device_bound_sessions(server.trusted_key()).start();
        Self { browser, server, requests: 0, _driver: driver }
    }

    /// A browser that has signed in and registered.
    pub(super) fn bound(server: &'a dyn Server) -> Self {
        let mut owner = Self::new(server);
        owner.sign_in();
        owner
    }

    /// Signs in, and waits for the registration.
    pub(super) fn sign_in(&mut self) {
        let before = self.browser.device_log().registrations().len();
        self.server.sign_in_by_browser(&mut self.browser);
        self.wait_for_registration(before);
    }

    /// Waits for one more registration, which must succeed.
    #[track_caller]
    pub(super) fn wait_for_registration(&mut self, before: usize) {
        wait_until("a registration", || self.browser.device_log().registrations().len() > before);
        let registrations = self.browser.device_log().registrations();
        assert_eq!(registrations[before..], ["Success"], "the registration");
    }

    /// The status of the protected page, and what the browser did before the request.
    pub(super) fn request(&mut self) -> (u64, String) {
        self.requests += 1;
        let path = format!("{}?request={}", self.server.protected(), self.requests);
        let status = self.browser.fetch(&path);
        let mut usage = None;
        wait_until("a report of the request", || {
            usage = self.browser.device_log().uses(&path).pop();
            usage.is_some()
        });
        (status, usage.unwrap_or_default())
    }

    /// Loses the bound cookie, and asserts that the browser proves the device before a request.
    #[track_caller]
    pub(super) fn assert_renews_lost_cookie(&mut self) {
        self.lose_bound_cookie();
        let (status, usage) = self.request();
        assert_eq!(status, 200, "the owner: {usage}");
        // A refresh that was under way may have set it again.
        if !self.is_always_refreshing() {
            assert_eq!(usage, "Deferred", "the owner");
        }
    }

    /// Whether each request causes a refresh, and each device session does it: so Chromium treats a
    /// cookie that has less than two minutes left.
    pub(super) fn is_always_refreshing(&self) -> bool {
        self.server.lifetime() <= Duration::from_secs(120)
    }

    /// The status of the protected page.
    pub(super) fn status(&mut self) -> u64 {
        self.browser.fetch(self.server.protected())
    }

    /// The value of the bound cookie, if the browser has one.
    pub(super) fn bound_value(&mut self) -> Option<String> {
        let name = self.server.bound_cookie();
        self.browser.cookies().into_iter().find(|cookie| cookie.name == name).map(|c| c.value)
    }

    /// Deletes the bound cookie, as its expiry does.
    pub(super) fn lose_bound_cookie(&mut self) {
        self.browser.delete_cookie(self.server.bound_cookie());
    }

    /// Lets the lifetime of the bound cookie pass, at the server and in the browser.
    pub(super) fn let_lifetime_pass(&mut self) {
        self.server.let_pass(crate::server::after_lifetime(self.server));
        if self.server.has_own_clock() {
            self.lose_bound_cookie();
        }
    }

    /// Opens a page of another site, and follows its link to a path of the server.
    pub(super) fn follow_link_to(&mut self, path: &str) {
        self.browser.open(&link_to(&format!("{}{path}", self.server.origin())));
        self.browser.click("a");
    }

    /// The id of the only live device session.
    #[track_caller]
    pub(super) fn device_session(&mut self) -> String {
        let live = self.browser.device_log().live();
        let [id] = &live[..] else { panic!("one device session: {live:?}") };
        id.clone()
    }
}
