//! Parsing the URL of a database server.

use std::net::IpAddr;
use std::str::FromStr;

use kvolt_cache::{Error, Result};

/// A URL with only the parameters that the driver knows.
pub(crate) struct Url<'a> {
    text: String,
    /// The other parameters, with their values.
    unknown: Vec<(&'a str, &'a str)>,
}

impl<'a> Url<'a> {
    /// Splits the query, because the driver would log the values of parameters that it does not know.
    ///
    /// # Errors
    ///
    /// Returns an error if the scheme is not one of `schemes`, or if a parameter asks for security
    /// that the driver can't provide ([`Error::is_misconfigured`]).
    pub(crate) fn parse(url: &'a str, schemes: &[&str], known: &str) -> Result<Self> {
        if !url.split_once(':').is_some_and(|(scheme, _)| schemes.contains(&scheme)) {
            let expected = schemes.join(": or ");
            return Err(Error::misconfigured(format!("the URL does not begin with {expected}:")));
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut text, mut unknown) = (base.to_owned(), Vec::new());
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            // Without the name, which may be part of a password that was not encoded.
            if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.[]%".contains(&byte)) {
                return Err(Error::misconfigured("the URL's query is not made of NAME=VALUE"));
            }
            if known.split(' ').any(|known| known == name) || name.starts_with("options[") {
                text.push(if text.len() == base.len() { '?' } else { '&' });
                text.push_str(parameter);
            } else if is_security(name) && !is_off(value) {
                return Err(Error::misconfigured(format!(
                    "this store does not support the URL's parameter {name}: remove it"
                )));
            } else {
                unknown.push((name, value));
            }
        }
        Ok(Self { text, unknown })
    }

    /// Removes a parameter that the driver does not know, and returns its value.
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

/// Whether a parameter is about encryption or authentication.
fn is_security(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let about = ["ssl", "tls", "channel", "gssenc", "require", "verif", "%"];
    about.iter().any(|about| name.contains(about))
}

/// Whether the value of such a parameter asks for no security.
fn is_off(value: &str) -> bool {
    let none = ["", "0", "false", "off", "no", "disable", "disabled", "prefer", "allow"];
    none.contains(&value.to_ascii_lowercase().as_str())
}

/// Warns of a connection over a network that may be plain text.
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
            "the server, or an attacker between it and this program, can make the connection plain text: set {set}"
        );
    }
}
