/// A browser's cookies for one host (RFC 6265bis, section 5): by name, domain and path, sent if the
/// path matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Jar(Vec<Cookie>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Cookie {
    name: String,
    value: String,
    domain: Option<String>,
    path: String,
    secure: bool,
}

impl Jar {
    /// A jar with one cookie, as an attacker plants it.
    pub fn with(name: &str, value: &str) -> Self {
        let (name, value) = (name.to_owned(), value.to_owned());
        Self(vec![Cookie { name, value, domain: None, path: "/".to_owned(), secure: true }])
    }

    /// Applies a `Set-Cookie` header of a response to this path, received over HTTPS.
    pub fn set(&mut self, request_path: &str, header: &str) {
        let mut parts = header.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
            return;
        };
        let (name, value) = (name.to_owned(), value.to_owned());
        let path = default_path(request_path).to_owned();
        let mut cookie = Cookie { name, value, domain: None, path, secure: false };
        let (mut max_age, mut expires) = (None, None);
        for attribute in parts {
            let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            match &*name.to_ascii_lowercase() {
                "path" if value.starts_with('/') => value.clone_into(&mut cookie.path),
                "domain" => cookie.domain = Some(value.to_owned()),
                "secure" => cookie.secure = true,
                "max-age" => max_age = value.parse::<i64>().ok(),
                "expires" => expires = Some(value.to_owned()),
                _ => {}
            }
        }
        let is_host = cookie.name.to_ascii_lowercase().starts_with("__host-");
        if is_host && (!cookie.secure || cookie.path != "/" || cookie.domain.is_some()) {
            return;
        }
        self.0.retain(|other| {
            (&other.name, &other.domain, &other.path)
                != (&cookie.name, &cookie.domain, &cookie.path)
        });
        // `Max-Age` takes precedence. Of dates, only the epoch is recognised.
        let is_over = match max_age {
            Some(seconds) => seconds <= 0,
            None => expires.is_some_and(|date| date.contains("1970")),
        };
        if !is_over {
            self.0.push(cookie);
        }
    }

    /// The `Cookie` header of a request for this path over HTTPS.
    pub fn header(&self, path: &str) -> Option<String> {
        let path = path.split('?').next().unwrap_or(path);
        let sent = self.0.iter().filter(|cookie| matches(&cookie.path, path));
        let pairs: Vec<_> =
            sent.map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// Whether it has no cookies.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of the cookie of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let cookie = self.0.iter().find(|cookie| cookie.name == name);
        cookie.map(|cookie| &*cookie.value)
    }

    /// The other cookies.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|cookie| cookie.name != name).cloned().collect())
    }

    /// The value of the only cookie; `None` without one.
    pub fn value(&self) -> Option<&str> {
        match &self.0[..] {
            [cookie] => Some(&cookie.value),
            _ => None,
        }
    }
}

fn default_path(request_path: &str) -> &str {
    match request_path.rfind('/') {
        None | Some(0) => "/",
        Some(end) => &request_path[..end],
    }
}

fn matches(cookie: &str, path: &str) -> bool {
    path.strip_prefix(cookie)
        .is_some_and(|rest| rest.is_empty() || cookie.ends_with('/') || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_removes_nothing_unless_its_path_is_that_of_the_cookie() {
        let mut jar = Jar::default();
        jar.set("/login", "id=1; Path=/");
        jar.set("/deep/down/logout", "id=; Max-Age=0");
        assert_eq!(jar.header("/"), Some("id=1".to_owned()));
        jar.set("/deep/down/logout", "id=; Max-Age=0; Path=/");
        assert!(jar.is_empty());
    }

    #[test]
    fn a_cookie_is_sent_below_its_path_and_nowhere_else() {
        let mut jar = Jar::default();
        jar.set("/app/login", "id=1; Secure");
        for (path, is_sent) in
            [("/app", true), ("/app/x?y=/", true), ("/apple", false), ("/", false)]
        {
            assert_eq!(jar.header(path).is_some(), is_sent, "{path}");
        }
        jar.set("/app/login", "__Host-id=1; Secure; Path=/app");
        assert_eq!(jar.value(), Some("1"), "a browser refuses the other");
    }
}
