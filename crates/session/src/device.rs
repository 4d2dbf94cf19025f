use std::net::IpAddr;

/// Where a session was signed in from, as the application tells it: shown in
/// lists of devices, and never used to decide anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Device {
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    user_agent: Option<Box<str>>,
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    address: Option<IpAddr>,
}

impl Device {
    /// The longest user agent that is kept, in bytes; a longer one is cut.
    pub const MAX_USER_AGENT_LEN: usize = 512;

    /// A device about which nothing is known.
    pub const fn new() -> Self {
        Self { user_agent: None, address: None }
    }

    /// Sets the `User-Agent` header (RFC 9110, section 10.1.5).
    #[must_use]
    pub fn with_user_agent(mut self, user_agent: &str) -> Self {
        self.user_agent = Some(crate::flash::cut(user_agent, Self::MAX_USER_AGENT_LEN).into());
        self
    }

    /// Sets the network address.
    #[must_use]
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
    fn a_long_user_agent_is_cut_between_characters() {
        let device = Device::new().with_user_agent(&"é".repeat(400));
        assert_eq!(device.user_agent().map(str::len), Some(512));
        let device = Device::new().with_user_agent(&format!("a{}", "é".repeat(400)));
        assert_eq!(device.user_agent().map(str::len), Some(511));
    }
}
