/// A rule of device-bound sessions that a manager breaks on purpose, so that a test can show that it
/// would notice.
///
/// ```
/// use kvolt_cache::MemoryStore;
/// use kvolt_session::Manager;
/// use kvolt_session::testing::DeviceFault;
///
/// let broken: Manager<String> = Manager::builder(MemoryStore::new())
///     .device_fault(DeviceFault::ReusableChallenge)
///     .build()?;
/// # Ok::<(), kvolt_session::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(not(feature = "testing"), expect(unreachable_pub, reason = "only a test breaks a rule"))]
pub enum DeviceFault {
    /// Each refusal makes a new challenge: a client without the key can keep the browser from ever
    /// signing the current one.
    NewChallengeOnRefusal,
    /// A proof leaves its challenge as it was: it is good again.
    ReusableChallenge,
}
