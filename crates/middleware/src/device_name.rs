use kvolt_session::Device;

/// What people call the device of a session: `Firefox on Windows`, `Safari on iPhone`, `curl`;
/// `None` if its user agent is not known.
///
/// It is plain text of a fixed English vocabulary, in which nothing is that the client sent:
/// letters, digits, spaces and hyphens of ASCII, and at most 64 bytes. It says what the client
/// says of itself: show it in a list of devices, and decide nothing by it.
///
/// The first call of a process takes some 70 milliseconds of a processor: call
/// [`prepare_device_names`] at start-up, and no request waits for it. Then a call takes some
/// 5 microseconds, and 20 for the slowest user agent that was found. The choice of the parser is
/// argued in `kvolt-device-names`.
///
/// ```
/// use kvolt_middleware::device_name;
/// use kvolt_session::Device;
///
/// let device = Device::new().with_user_agent(
///     "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:141.0) Gecko/20100101 Firefox/141.0",
/// );
/// assert_eq!(device_name(&device).as_deref(), Some("Firefox on Windows"));
/// assert_eq!(device_name(&Device::new().with_user_agent("EvilBot/1.0")), None);
/// assert_eq!(device_name(&Device::new()), None);
/// ```
pub fn device_name(device: &Device) -> Option<String> {
    kvolt_device_names::name(device.user_agent()?).map(|name| name.to_string())
}

/// Makes ready for [`device_name`], which else its first call does.
///
/// It takes some 70 milliseconds of a processor, and some 11 MB for as long as the process lives.
pub fn prepare_device_names() {
    kvolt_device_names::prepare();
}
