use std::fmt;
use std::io::ErrorKind;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// Where to listen: `HOST:PORT`, by address or by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenAddress {
    text: String,
    /// At least one. IPv4 comes first: clients that are given a name try it too.
    addresses: Vec<SocketAddr>,
}

impl ListenAddress {
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The host as it was written: an address or a name.
    pub(crate) fn host(&self) -> &str {
        let host = self.text.rsplit_once(':').map_or(&*self.text, |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Whether only programs on this machine can connect.
    pub(super) fn is_loopback(&self) -> bool {
        self.addresses.iter().all(|address| address.ip().is_loopback())
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let resolved = text.to_socket_addrs().map_err(|error| match error.kind() {
            ErrorKind::InvalidInput => {
                String::from("write HOST:PORT, such as localhost:8080 or 0.0.0.0:80")
            }
            _ => error.to_string(),
        })?;
        let mut addresses: Vec<_> = resolved.collect();
        addresses.sort_by_key(SocketAddr::is_ipv6);
        if addresses.is_empty() {
            return Err(String::from("the host name has no address"));
        }
        Ok(Self { text: text.to_owned(), addresses })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_is_resolved() {
        let address: ListenAddress = "localhost:0".parse().unwrap();
        assert!(address.is_loopback() && !address.addresses().is_empty());
        assert_eq!((&*address.to_string(), address.host()), ("localhost:0", "localhost"));
        assert_eq!("[::1]:0".parse::<ListenAddress>().unwrap().host(), "::1");
        assert!(!"0.0.0.0:0".parse::<ListenAddress>().unwrap().is_loopback());
    }

    #[test]
    fn an_address_without_a_port_is_refused_with_the_form() {
        for text in ["here", "localhost", "localhost:http", "127.0.0.1"] {
            let error = text.parse::<ListenAddress>().unwrap_err();
            assert!(error.contains("HOST:PORT"), "{text}: {error}");
        }
    }
}
