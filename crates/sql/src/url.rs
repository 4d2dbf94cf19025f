//! What the URL of a connection asks for.

use std::net::IpAddr;
use std::str::FromStr;

use kvolt_cache::{Error, Result};

/// A URL of which only the parameters are left that the driver knows.
#[derive(Debug)]
pub(crate) struct Url<'a> {
    text: String,
    /// The others, with their values.
    unknown: Vec<(&'a str, &'a str)>,
}

impl<'a> Url<'a> {
    /// Takes the query apart: the driver would log the values of parameters that it does not know.
    ///
    /// # Errors
    ///
    /// Returns an error if the scheme is another, or if a parameter asks for security that the
    /// driver can't give ([`Error::is_misconfigured`]).
    pub(crate) fn parse(url: &'a str, schemes: &[&str], known: &str) -> Result<Self> {
        if !url.split_once(':').is_some_and(|(scheme, _)| schemes.contains(&scheme)) {
            let expected = schemes.join(": or ");
            return Err(Error::misconfigured(format!("the URL does not begin with {expected}:")));
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut text, mut unknown) = (base.to_owned(), Vec::new());
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            // Not named: it may be part of a password that was not encoded.
            if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.[]%".contains(&byte)) {
                return Err(Error::misconfigured("the URL's query is not made of NAME=VALUE"));
            }
            if known.split(' ').any(|known| known == name) || name.starts_with("options[") {
                text.push(if text.len() == base.len() { '?' } else { '&' });
                text.push_str(parameter);
            } else if is_security(name) && !is_no_wish(value) {
                return Err(Error::misconfigured(format!(
                    "the URL's parameter {name} asks for what this store can't give: \
                     take it out, or use another"
                )));
            } else {
                unknown.push((name, value));
            }
        }
        Ok(Self { text, unknown })
    }

    /// Takes a parameter out that the driver does not know, and returns its value.
    #[cfg(feature = "postgres")]
    pub(crate) fn take(&mut self, name: &str) -> Option<&'a str> {
        let index = self.unknown.iter().position(|(unknown, _)| *unknown == name)?;
        Some(self.unknown.remove(index).1)
    }

    /// The driver's options. Logs the names of the parameters that were left out.
    ///
    /// # Errors
    ///
    /// Returns an error if the driver can't parse the rest ([`Error::is_misconfigured`]).
    pub(crate) fn options<O: FromStr>(&self, database: &str, scheme: &str) -> Result<O> {
        let options = self.text.parse().map_err(|_| {
            Error::misconfigured(format!(
                "the URL is not {scheme}://USER:PASSWORD@HOST:PORT/DATABASE, \
                 with special characters percent-encoded, or a parameter has an invalid value"
            ))
        })?;
        for (parameter, _) in &self.unknown {
            tracing::warn!(database, parameter, "ignored an unknown parameter of the URL");
        }
        Ok(options)
    }
}

/// Whether a parameter is about who reads along, and who is at the other end.
fn is_security(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let about = ["ssl", "tls", "channel", "gssenc", "require", "verif", "%"];
    about.iter().any(|about| name.contains(about))
}

/// Whether the value of such a parameter asks for nothing.
fn is_no_wish(value: &str) -> bool {
    let none = ["", "0", "false", "off", "no", "disable", "disabled", "prefer", "allow"];
    none.contains(&value.to_ascii_lowercase().as_str())
}

/// Warns where a connection over a network may turn out to be plain text.
pub(crate) fn warn_of_plain_text(database: &str, host: &str, set: &str) {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_loopback = match address {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    };
    if !is_loopback {
        tracing::warn!(
            database,
            host,
            "the connection is plain text if the server or an attacker in between wants that: set {set}"
        );
    }
}
