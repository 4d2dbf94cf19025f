/// Why a session was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// The user signed out.
    Logout,
    /// The client signed in again, which replaced the session.
    NewLogin,
    /// The owner, or the anonymous visitors together, reached the limit of sessions.
    Limit,
    /// It was revoked by its id.
    Revoked,
    /// The owner's other sessions were revoked.
    RevokedOthers,
    /// All of the owner's sessions were revoked.
    RevokedOwner,
    /// The owner's credentials were changed.
    CredentialsChanged,
    /// All sessions of all users were revoked.
    RevokedEveryone,
    /// A previous token was used after its grace.
    Reuse,
    /// Its data could not be decoded.
    Undecodable,
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalReason {
    /// No session has the token: it was made up, or its session has ended.
    Unknown,
    /// A previous token was used after its grace.
    Reuse,
    /// A token was used that was replaced a short time ago and is no longer accepted.
    Replaced,
    /// The account's credentials were changed after the session was created.
    CredentialsChanged,
    /// The owner, or the anonymous visitors together, reached the limit of sessions.
    Limit,
    /// The action requires a more recent or a stronger authentication.
    StepUp,
    /// Another site made the browser send the request.
    CrossOrigin,
    /// The form token is missing or invalid.
    Csrf,
    /// The request has several different tokens, so none is trusted.
    Ambiguous,
    /// The store was unavailable.
    Unavailable,
    /// The session is bound to a device, and the request has no bound cookie that is accepted.
    DeviceUnproven,
    /// A browser must sign a challenge: it has sent no proof.
    DeviceProofMissing,
    /// The proof of a device has signed another challenge than the current one, such as one that was
    /// used. Browsers do it after a lost answer.
    DeviceProofOutdated,
    /// The proof of a device is malformed, or not signed by the session's key.
    DeviceProofInvalid,
    /// The session is bound already, and a browser tried to register a key.
    DeviceAlreadyBound,
}

impl EndReason {
    /// A short name for logs, metric labels and audits.
    ///
    /// ```
    /// use kvolt_session::EndReason;
    ///
    /// assert_eq!(EndReason::NewLogin.name(), "new_login");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::NewLogin => "new_login",
            Self::Limit => "limit",
            Self::Revoked => "revoked",
            Self::RevokedOthers => "revoked_others",
            Self::RevokedOwner => "revoked_owner",
            Self::CredentialsChanged => "credentials_changed",
            Self::RevokedEveryone => "revoked_everyone",
            Self::Reuse => "reuse",
            Self::Undecodable => "undecodable",
        }
    }
}

impl RefusalReason {
    /// A short name for logs, metric labels and audits.
    ///
    /// ```
    /// use kvolt_session::RefusalReason;
    ///
    /// assert_eq!(RefusalReason::CrossOrigin.name(), "cross_origin");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Reuse => "reuse",
            Self::Replaced => "replaced",
            Self::CredentialsChanged => "credentials_changed",
            Self::Limit => "limit",
            Self::StepUp => "step_up",
            Self::CrossOrigin => "cross_origin",
            Self::Csrf => "csrf",
            Self::Ambiguous => "ambiguous",
            Self::Unavailable => "unavailable",
            Self::DeviceUnproven => "device_unproven",
            Self::DeviceProofMissing => "device_proof_missing",
            Self::DeviceProofOutdated => "device_proof_outdated",
            Self::DeviceProofInvalid => "device_proof_invalid",
            Self::DeviceAlreadyBound => "device_already_bound",
        }
    }
}
