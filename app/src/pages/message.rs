/// A message on the sign-in form. A client without a session has no flash messages, so an address
/// names it; only these texts can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    SignInToContinue,
    SignedOut,
    SignedOutEverywhere,
    EveryoneSignedOut,
    SessionEnded,
}

impl Message {
    const ALL: [Self; 5] = [
        Self::SignInToContinue,
        Self::SignedOut,
        Self::SignedOutEverywhere,
        Self::EveryoneSignedOut,
        Self::SessionEnded,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::SignInToContinue => "sign-in",
            Self::SignedOut => "signed-out",
            Self::SignedOutEverywhere => "signed-out-everywhere",
            Self::EveryoneSignedOut => "everyone-signed-out",
            Self::SessionEnded => "session-ended",
        }
    }

    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::SignInToContinue => "Sign in to continue.",
            Self::SignedOut => "You are signed out.",
            Self::SignedOutEverywhere => "You are signed out on all devices.",
            Self::EveryoneSignedOut => "All users are signed out.",
            Self::SessionEnded => {
                "Your session has ended, or you were signed out on another device."
            }
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|message| message.name() == name)
    }

    /// The address of the sign-in form with this message.
    pub(crate) fn path(self) -> String {
        format!("/?message={}", self.name())
    }
}
