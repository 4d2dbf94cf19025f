use std::fmt;
use std::sync::Arc;

use kvolt_cache::{AtLimit, Owner, OwnerLimit};

use crate::{Error, Result, SessionId, Timeouts};

/// How sessions of visitors who have not signed in are kept: a basket, a language, a draft.
///
/// Set it with [`ManagerBuilder::anonymous`](crate::ManagerBuilder::anonymous); without it, no such
/// session is made. Anybody can make them, so there is a bound on how many there are, and
/// there can be one on what each holds.
///
/// ```
/// use kvolt_session::AnonymousSessions;
///
/// #[derive(Clone)]
/// struct Shop {
///     user: Option<u64>,
///     basket: Vec<u64>,
/// }
///
/// let anonymous = AnonymousSessions::new(100_000)
///     .max_size(50, |shop: &Shop| shop.basket.len())
///     .carry_over(|visitor, user| user.basket.extend(&visitor.basket));
/// ```
pub struct AnonymousSessions<T> {
    pub(crate) max_sessions: u32,
    pub(crate) at_limit: AtLimit,
    pub(crate) timeouts: Option<Timeouts>,
    pub(crate) size: Option<(usize, Size<T>)>,
    pub(crate) carry_over: Option<CarryOver<T>>,
}

type Size<T> = Arc<dyn Fn(&T) -> usize + Send + Sync>;
/// The visitor's data, and what the login was given.
type CarryOver<T> = Arc<dyn Fn(&T, &T) -> T + Send + Sync>;

impl<T> AnonymousSessions<T> {
    /// At most this many at once, by all servers together; for a further one, an old one ends.
    ///
    /// The bound is never exceeded. It is divided among groups of at most 64, into which visitors
    /// fall by chance, so that one more visitor costs the same however many there are. A group may
    /// be full while others have room: in large numbers the first session ends early from some
    /// 80 % of the bound on.
    pub const fn new(max_sessions: u32) -> Self {
        Self {
            max_sessions,
            at_limit: AtLimit::RemoveOldest,
            timeouts: None,
            size: None,
            carry_over: None,
        }
    }

    /// What happens at the limit. Defaults to [`AtLimit::RemoveOldest`], within the group.
    #[must_use]
    pub fn at_limit(mut self, at_limit: AtLimit) -> Self {
        self.at_limit = at_limit;
        self
    }

    /// When they end. Defaults to the timeouts of other sessions.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = Some(timeouts);
        self
    }

    /// How much one may hold, in whatever `size` counts; more is an error that
    /// [says so](crate::Error::is_too_large). A store that encodes has a limit of its own besides.
    #[must_use]
    pub fn max_size(
        mut self,
        max_size: usize,
        size: impl Fn(&T) -> usize + Send + Sync + 'static,
    ) -> Self {
        self.size = Some((max_size, Arc::new(size)));
        self
    }

    /// What is carried over at a login: from the visitor's data into the data of the
    /// session that is being made. Defaults to nothing.
    ///
    /// It may be called several times for one login, each time with the data that the login was
    /// given. It is not called for the session of a user who had signed in: nothing of one user's
    /// ever gets to another.
    #[must_use]
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
        // A store may set others of its bytes, to file the group's sessions together.
        let [a, b, c, d, ..] = *id;
        let group = u32::from_le_bytes([a, b, c, d]) % groups;
        let owner = Owner::reserved(&format!("anonymous {group}")).map_err(Error::store)?;
        Ok((owner, OwnerLimit::new(self.max_sessions / groups, self.at_limit)))
    }

    pub(crate) fn check_size(&self, data: &T) -> Result<()> {
        match &self.size {
            Some((max, size)) if size(data) > *max => Err(Error::too_large()),
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
