use crate::{Binding, Device, Error, Level, Owner, Result};

/// A session to be made: the application's data, and whose and where from it is.
///
/// Data alone is one too: `manager.create(user)`.
#[derive(Debug)]
pub struct NewSession<T> {
    pub(crate) data: T,
    pub(crate) owner: Result<Option<Owner>>,
    pub(crate) device: Device,
    pub(crate) level: Option<Level>,
    pub(crate) remembered: bool,
    pub(crate) binding: Option<Binding>,
}

impl<T> NewSession<T> {
    /// A session with this data.
    pub const fn new(data: T) -> Self {
        Self {
            data,
            owner: Ok(None),
            device: Device::new(),
            level: Some(Level::One),
            remembered: false,
            binding: None,
        }
    }

    /// Sets the owner, usually an account's id: what the session is listed and revoked by.
    ///
    /// A name, a number or an [`Owner`]. A name that is no owner's makes the call that is given
    /// this session an error ([`Error::is_misconfigured`]).
    #[must_use]
    pub fn owner<O>(mut self, owner: O) -> Self
    where
        O: TryInto<Owner, Error: std::error::Error + Send + Sync + 'static>,
    {
        self.owner = owner.try_into().map(Some).map_err(Error::invalid_owner);
        self
    }

    /// Sets where it was signed in from.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Sets how strongly its user has proved who they are. Defaults to [`Level::One`].
    #[must_use]
    pub fn level(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }

    /// Sets whether the client is to keep its token when it is closed: "remember me".
    ///
    /// How long the session lives is the server's business in any case
    /// ([`ManagerBuilder::remembered_timeouts`](crate::ManagerBuilder::remembered_timeouts)).
    #[must_use]
    pub fn remember(mut self, remember: bool) -> Self {
        self.remembered = remember;
        self
    }

    /// Whether the client is to keep its token when it is closed.
    pub fn is_remembered(&self) -> bool {
        self.remembered
    }

    /// Binds it to a value such as the version of the account's credentials: see
    /// [`ManagerBuilder::bound_to`](crate::ManagerBuilder::bound_to).
    ///
    /// Give the value that was read together with what the credentials were checked
    /// against, so that a change in between is noticed.
    #[must_use]
    pub fn bound_to(mut self, value: impl Into<Binding>) -> Self {
        self.binding = Some(value.into());
        self
    }
}

impl<T> From<T> for NewSession<T> {
    fn from(data: T) -> Self {
        Self::new(data)
    }
}
