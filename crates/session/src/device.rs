use std::net::IpAddr;

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

    /// The user agent.
    pub fn user_agent(&self) -> Option<&str> {
        self.user_agent.as_deref()
    }

    /// The network address.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }
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
}
