use std::fmt;
use std::sync::Arc;

use kvolt_cache::AtLimit;

use crate::Timeouts;

/// How sessions of visitors who have not signed in are kept: a basket, a language, a draft.
///
/// Set it with [`Builder::anonymous`](crate::Builder::anonymous); without it, no such
/// session is made. Anybody can make them, so there is a bound on how many there are, and
/// there can be one on what each holds.
///
/// ```
/// use kvolt_session::Anonymous;
///
/// #[derive(Clone)]
/// struct Shop {
///     user: Option<u64>,
///     basket: Vec<u64>,
/// }
///
/// let anonymous = Anonymous::new(100_000)
///     .size_max(50, |shop: &Shop| shop.basket.len())
///     .carry_over(|visitor, user| user.basket.extend(&visitor.basket));
/// ```
pub struct Anonymous<T> {
    pub(crate) sessions_max: u32,
    pub(crate) at_limit: AtLimit,
    pub(crate) timeouts: Option<Timeouts>,
    pub(crate) size: Option<(usize, Size<T>)>,
    pub(crate) carry_over: Option<CarryOver<T>>,
}

type Size<T> = Arc<dyn Fn(&T) -> usize + Send + Sync>;
/// The visitor's data, and what the login was given.
type CarryOver<T> = Arc<dyn Fn(&T, &T) -> T + Send + Sync>;

/// Into how many groups anonymous sessions are divided. One group would be one place in
/// the store that every visitor waits for.
pub(crate) const GROUPS: u32 = 16;

impl<T> Anonymous<T> {
    /// At most this many at once, by all servers together; for one more, an old one ends.
    ///
    /// The bound holds exactly. It is divided among 16 groups into which visitors fall
    /// by chance, so that somewhat fewer may be there when the first has to go.
    pub const fn new(sessions_max: u32) -> Self {
        Self {
            sessions_max,
            at_limit: AtLimit::RemoveOldest,
            timeouts: None,
            size: None,
            carry_over: None,
        }
    }

    /// What happens at the limit. The oldest of a group ends unless set.
    #[must_use]
    pub fn at_limit(mut self, at_limit: AtLimit) -> Self {
        self.at_limit = at_limit;
        self
    }

    /// When they end. As other sessions unless set.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = Some(timeouts);
        self
    }

    /// How much one may hold, in whatever `size` counts; more is an error that
    /// [says so](crate::Error::is_too_large). A store that encodes has a limit of its own besides.
    #[must_use]
    pub fn size_max(
        mut self,
        size_max: usize,
        size: impl Fn(&T) -> usize + Send + Sync + 'static,
    ) -> Self {
        self.size = Some((size_max, Arc::new(size)));
        self
    }

    /// What is carried over at a login: from the visitor's data into the data of the
    /// session that is being made. Nothing unless set.
    ///
    /// It may be called several times for one login, each time with what the login was
    /// given. It is not called for the session of somebody who had signed in before:
    /// nothing of one user's ever gets to another.
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

    pub(crate) fn groups(&self) -> u32 {
        GROUPS.min(self.sessions_max)
    }

    pub(crate) fn takes(&self, data: &T) -> bool {
        self.size.as_ref().is_none_or(|(max, size)| size(data) <= *max)
    }
}

impl<T> fmt::Debug for Anonymous<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Anonymous")
            .field("sessions_max", &self.sessions_max)
            .field("at_limit", &self.at_limit)
            .field("timeouts", &self.timeouts)
            .field("size_max", &self.size.as_ref().map(|(max, _)| max))
            .finish_non_exhaustive()
    }
}
