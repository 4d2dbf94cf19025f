use kvolt_cache::Freshness;

/// How a session is read: whether that counts as use, and whether a copy may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Access {
    slides: bool,
    strict: bool,
}

impl Access {
    /// Looking only: no deadline moves.
    pub const PEEK: Self = Self { slides: false, strict: false };

    /// Use: the idle time starts again.
    pub const SLIDE: Self = Self { slides: true, strict: false };

    /// The same access, answered by the store itself and by no near cache's copy.
    ///
    /// For what must not be done on an answer that may be as old as a
    /// near cache's bound. Once strict, an access stays so.
    #[must_use]
    pub const fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    /// The same access, strict if `strict` is set or it was already.
    #[must_use]
    pub const fn strict_if(self, strict: bool) -> Self {
        Self { strict: self.strict || strict, ..self }
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
