use kvolt_cache::Freshness;

/// How a session is read: whether the read counts as use, and whether a copy may answer.
///
/// ```
/// use kvolt_cache::MemoryStore;
/// use kvolt_session::{Access, Manager};
///
/// # pollster::block_on(async {
/// let manager = Manager::<String>::new(MemoryStore::new());
/// let token = manager.create(String::from("Ada")).await?;
///
/// let access = Access::PEEK.strict();
/// assert!(access.is_strict() && !access.slides());
/// let session = manager.get_with(&token, access).await?;
/// assert!(session.is_some());
/// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
/// ```
#[must_use = "an access does nothing until a read receives it"]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Access {
    slides: bool,
    strict: bool,
}

impl Access {
    /// The read does not count as use: no deadline moves.
    pub const PEEK: Self = Self { slides: false, strict: false };

    /// The read counts as use: the idle time restarts.
    pub const SLIDE: Self = Self { slides: true, strict: false };

    /// Requires the answer of the store itself, and of no near cache's copy.
    ///
    /// For actions that must not depend on an answer as old as the near cache's bound. A strict
    /// access stays strict.
    pub const fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    /// [`strict`](Self::strict) if the condition is true.
    ///
    /// ```
    /// use kvolt_session::Access;
    ///
    /// assert_eq!(Access::PEEK.strict_if(true), Access::PEEK.strict());
    /// assert_eq!(Access::PEEK.strict_if(false), Access::PEEK);
    /// ```
    pub const fn strict_if(self, condition: bool) -> Self {
        Self { strict: self.strict || condition, ..self }
    }

    /// Whether the read counts as use.
    pub const fn slides(self) -> bool {
        self.slides
    }

    /// Whether only the store itself may answer.
    pub const fn is_strict(self) -> bool {
        self.strict
    }

    pub(crate) const fn freshness(self) -> Freshness {
        if self.strict { Freshness::Strict } else { Freshness::Bounded }
    }
}
