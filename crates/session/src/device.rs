use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The device that signed in, as the application describes it. It is for lists of devices; no
/// decision depends on it.
///
/// ```
/// use kvolt_session::Device;
///
/// let device = Device::new()
///     .with_user_agent("Mozilla/5.0 (X11; Linux x86_64)")
///     .with_address([192, 0, 2, 7].into());
/// assert_eq!(device.user_agent(), Some("Mozilla/5.0 (X11; Linux x86_64)"));
/// assert_eq!(device.address(), Some([192, 0, 2, 7].into()));
/// ```
#[must_use = "a device does nothing until a session receives it"]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Device {
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    user_agent: Option<Box<str>>,
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    address: Option<IpAddr>,
}

impl Device {
    /// The longest user agent, in bytes; a longer one is cut.
    pub const MAX_USER_AGENT_LEN: usize = 512;

    /// An unknown device.
    pub const fn new() -> Self {
        Self { user_agent: None, address: None }
    }

    /// Sets the `User-Agent` header (RFC 9110, section 10.1.5).
    pub fn with_user_agent(mut self, user_agent: &str) -> Self {
        self.user_agent = Some(crate::flash::cut(user_agent, Self::MAX_USER_AGENT_LEN).into());
        self
    }

    /// Sets the network address.
    pub fn with_address(mut self, address: IpAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// Returns the device with this much of its address and of its user agent, as a manager
    /// [records](crate::ManagerBuilder::address_detail) it: for an application's own logs.
    ///
    /// ```
    /// use kvolt_session::{Detail, Device};
    ///
    /// let device = Device::new().with_user_agent("curl/8.14.1").with_address([192, 0, 2, 7].into());
    /// let short = device.clone().limited(Detail::Short, Detail::Short);
    /// assert_eq!(short.address(), Some([192, 0, 2, 0].into()));
    /// assert_eq!(short.user_agent(), Some("curl/8.0.0"));
    /// assert_eq!(device.limited(Detail::None, Detail::None), Device::new());
    /// ```
    pub fn limited(self, address: Detail, user_agent: Detail) -> Self {
        Self {
            address: match address {
                Detail::Full => self.address,
                Detail::Short => self.address.map(network),
                Detail::None => None,
            },
            user_agent: match user_agent {
                Detail::Full => self.user_agent,
                Detail::Short => self.user_agent.map(|text| without_minor_versions(&text)),
                Detail::None => None,
            },
        }
    }

    /// The user agent.
    pub fn user_agent(&self) -> Option<&str> {
        self.user_agent.as_deref()
    }

    /// The network address.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }
}

/// How much of a client's address or user agent is recorded.
///
/// ```
/// use kvolt_cache::MemoryStore;
/// use kvolt_session::{Detail, Manager};
///
/// let manager: Manager<String> = Manager::builder(MemoryStore::new())
///     .address_detail(Detail::Short)
///     .user_agent_detail(Detail::None)
///     .build()?;
/// # Ok::<(), kvolt_session::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Detail {
    /// All of it.
    #[default]
    Full,
    /// Of an address, the network: the first 24 bits of an IPv4 address, and the first 48 bits of an
    /// IPv6 address. The other bits are zero.
    ///
    /// Of a user agent, everything but the minor parts of versions, which become zero
    /// (`Chrome/128.0.6613.84` becomes `Chrome/128.0.0.0`). Programs and systems can still be named
    /// from it. The model of a phone stays.
    Short,
    /// Nothing.
    None,
}

/// The network of an address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << 8)).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 80)).into(),
    }
}

/// The text with a zero in place of each number that follows a dot or an underscore.
fn without_minor_versions(text: &str) -> Box<str> {
    let (mut short, mut before, mut in_minor) = (String::with_capacity(text.len()), ' ', false);
    for char in text.chars() {
        let is_digit = char.is_ascii_digit();
        if is_digit && matches!(before, '.' | '_') {
            short.push('0');
            in_minor = true;
        } else if !(is_digit && in_minor) {
            short.push(char);
            in_minor = false;
        }
        before = char;
    }
    short.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_user_agent_is_cut_between_characters() {
        let device = Device::new().with_user_agent(&"é".repeat(400));
        assert_eq!(device.user_agent().map(str::len), Some(512));
        let device = Device::new().with_user_agent(&format!("a{}", "é".repeat(400)));
        assert_eq!(device.user_agent().map(str::len), Some(511));
    }

    #[test]
    fn short_address_is_the_network() {
        for (address, network) in [
            ("192.0.2.255", "192.0.2.0"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
            ("::ffff:192.0.2.7", "192.0.2.0"),
            ("::1", "::"),
        ] {
            let device = Device::new().with_address(address.parse().unwrap());
            let short = device.limited(Detail::Short, Detail::Full);
            assert_eq!(short.address(), Some(network.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn short_user_agent_has_no_minor_versions() {
        for (text, expected) in [
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 \
                 (KHTML, like Gecko) Chrome/128.0.6613.84 Safari/537.36",
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_0_0) AppleWebKit/537.0 \
                 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.0",
            ),
            ("Build/UP1A.231005.007", "Build/UP1A.0.0"),
            ("curl/8", "curl/8"),
            ("é.9é9 ._", "é.0é9 ._"),
            ("", ""),
        ] {
            let short = without_minor_versions(text);
            assert_eq!(&*short, expected);
            assert_eq!(without_minor_versions(&short), short, "again");
        }
    }
}
