use std::fmt;
use std::sync::Arc;

use kvolt_cache::{AtLimit, Owner, OwnerLimit};

use crate::error::Kind;
use crate::{Error, Result, SessionId, Timeouts};

/// Settings for sessions of visitors who have not signed in: a basket, a language, a draft.
///
/// Set them with [`ManagerBuilder::anonymous`](crate::ManagerBuilder::anonymous); without it, no
/// anonymous session is created. Any client can create them, so their number is bounded, and the
/// size of each can be.
///
/// ```
/// use kvolt_cache::MemoryStore;
/// use kvolt_session::{AnonymousSessions, AtLimit, Manager, Timeouts};
///
/// #[derive(Clone)]
/// struct Shop {
///     user: Option<u64>,
///     basket: Vec<u64>,
/// }
///
/// # pollster::block_on(async {
/// let anonymous = AnonymousSessions::new(100_000)
///     .at_limit(AtLimit::RemoveOldest)
///     .timeouts(Timeouts::OWASP_LOW_RISK)
///     .max_size(50, |shop: &Shop| shop.basket.len())
///     .carry_over(|visitor, user| user.basket.extend(&visitor.basket));
/// let manager = Manager::builder(MemoryStore::new()).anonymous(anonymous).build()?;
///
/// let visitor = manager.create_anonymous(Shop { user: None, basket: vec![7] }).await?;
/// let token = manager.login(Some(&visitor), Shop { user: Some(42), basket: vec![] }).await?;
/// let session = manager.get(&token).await?.expect("it was just created");
/// assert_eq!((session.user, &session.basket), (Some(42), &vec![7]));
/// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
/// ```
#[must_use = "settings do nothing until a builder receives them"]
pub struct AnonymousSessions<T> {
    pub(crate) max_sessions: u32,
    pub(crate) at_limit: AtLimit,
    pub(crate) timeouts: Option<Timeouts>,
    pub(crate) size: Option<(usize, Size<T>)>,
    pub(crate) carry_over: Option<CarryOver<T>>,
}

type Size<T> = Arc<dyn Fn(&T) -> usize + Send + Sync>;
/// From the visitor's data and the login's.
type CarryOver<T> = Arc<dyn Fn(&T, &T) -> T + Send + Sync>;

impl<T> AnonymousSessions<T> {
    /// Allows at most this many sessions at once, on all servers together. A further one ends an old
    /// one.
    ///
    /// The bound is never exceeded. It is divided among groups of at most 64, to which visitors are
    /// assigned at random, so that one more visitor costs the same however many exist. A group may
    /// be full while others have room: with many groups, the first session ends early at some 80 %
    /// of the bound.
    pub const fn new(max_sessions: u32) -> Self {
        Self {
            max_sessions,
            at_limit: AtLimit::RemoveOldest,
            timeouts: None,
            size: None,
            carry_over: None,
        }
    }

    /// Sets the behaviour at the limit. Defaults to [`AtLimit::RemoveOldest`], within the group.
    pub fn at_limit(mut self, at_limit: AtLimit) -> Self {
        self.at_limit = at_limit;
        self
    }

    /// Sets the timeouts. Defaults to the timeouts of other sessions.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = Some(timeouts);
        self
    }

    /// Sets how much a session may hold, as counted by `size`. Larger data is an error
    /// ([`Error::is_too_large`](crate::Error::is_too_large)). Defaults to the limit of the store.
    pub fn max_size(
        mut self,
        max_size: usize,
        size: impl Fn(&T) -> usize + Send + Sync + 'static,
    ) -> Self {
        self.size = Some((max_size, Arc::new(size)));
        self
    }

    /// Sets the rule that a login applies: it copies from the visitor's data into the data of the
    /// new session. Defaults to nothing.
    ///
    /// It may run several times for one login, each time on the data that the login received. It
    /// does not run for the session of a signed-in user: data of one user never reaches another.
    pub fn carry_over(mut self, rule: impl Fn(&T, &mut T) + Send + Sync + 'static) -> Self
    where
        T: Clone,
    {
        self.carry_over = Some(Arc::new(move |visitor, user| {
            let mut user = user.clone();
            rule(visitor, &mut user);
            user
        }));
        self
    }

    /// The group of the session with this id, and how many sessions it may have.
    pub(crate) fn group(&self, id: &[u8; SessionId::LEN]) -> Result<(Owner, OwnerLimit)> {
        let groups = self.max_sessions.div_ceil(OwnerLimit::MAX).max(1);
        // A store may set other bytes of the id, to keep a group's sessions together.
        let [a, b, c, d, ..] = *id;
        let group = u32::from_le_bytes([a, b, c, d]) % groups;
        let owner = Owner::reserved(&format!("anonymous {group}")).map_err(Error::store)?;
        Ok((owner, OwnerLimit::new(self.max_sessions / groups, self.at_limit)))
    }

    pub(crate) fn check_size(&self, data: &T) -> Result<()> {
        match &self.size {
            Some((max, size)) if size(data) > *max => Err(Error::new(
                Kind::TooLarge,
                "the data is larger than an anonymous session may hold",
            )),
            _ => Ok(()),
        }
    }
}

impl<T> fmt::Debug for AnonymousSessions<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let max = &self.max_sessions;
        f.debug_struct("AnonymousSessions").field("max_sessions", max).finish_non_exhaustive()
    }
}
