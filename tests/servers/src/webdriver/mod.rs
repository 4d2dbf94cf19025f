//! Drives a real, headless Chromium by the W3C WebDriver protocol.
//!
//! ```no_run
//! use kvolt_servers::webdriver::Driver;
//!
//! let driver = Driver::start();
//! let mut browser = driver.browser().window(375, 812).start();
//! browser.open("http://localhost:8080/");
//! browser.fill("#username", "ada");
//! browser.click("button.main");
//! browser.wait_for("Hello, ada");
//! assert_eq!(browser.cookies()[0].name, "session_id");
//! ```
//!
//! As with the servers, all calls block, and failures panic. `cargo xtask test --only "browser
//! programs" --install` installs Chromium and its driver.

mod authenticator;
mod browser;
mod builder;
mod cookie;
mod device_log;
mod driver;
mod picture;

pub use authenticator::VirtualAuthenticator;
pub use browser::Browser;
pub use builder::BrowserBuilder;
pub use cookie::Cookie;
pub use device_log::DeviceLog;
pub use driver::Driver;
