use serde_json::Value;

/// A cookie in a browser's jar.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cookie {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Its `Path`.
    pub path: String,
    /// Its `SameSite`: `Lax`, `Strict` or `None`.
    pub same_site: String,
    /// Whether scripts can't read it.
    pub http_only: bool,
    /// Whether it is sent over HTTPS only.
    pub secure: bool,
    /// When it expires, in seconds since 1970. `None`: with the browser.
    pub expiry: Option<i64>,
}

impl Cookie {
    pub(super) fn read(from: &Value) -> Self {
        let text = |name: &str| from[name].as_str().unwrap_or_default().to_owned();
        Self {
            name: text("name"),
            value: text("value"),
            path: text("path"),
            same_site: text("sameSite"),
            http_only: from["httpOnly"] == true,
            secure: from["secure"] == true,
            expiry: from["expiry"].as_i64(),
        }
    }
}
