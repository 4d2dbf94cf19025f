//! The offer of a binding with a response after the sign-in.

use kvolt_session::SessionSnapshot;

use super::slot::{Change, Slot};
use crate::SessionHandle;
use crate::lookup::Source;

impl<T: Send + Sync + 'static> Slot<T> {
    /// Whether the browser of this request must be asked to bind the session, which it could not be
    /// at the sign-in.
    #[inline]
    pub(super) fn is_device_offer_due(&self) -> bool {
        let manager = self.sessions().manager();
        let is_due = |session: &SessionSnapshot<T>| manager.is_device_offer_due(session);
        // First, since it is none where sessions are not bound.
        self.device.is_some()
            && self.read.as_ref().is_some_and(is_due)
            && self.device().is_own
            && matches!(self.source(), Some(Source::Cookie(_)))
            && self.state().change != Change::Replaced
    }
}

impl<T: Send + Sync + 'static> SessionHandle<T> {
    /// Asks the browser with the response to bind the session. If the store can't answer, a later
    /// response does.
    pub(super) async fn offer_binding(&self) {
        let slot = &self.slot;
        let Some(settings) = &slot.sessions().0.device_bound else { return };
        let Some((token, read)) = slot.current() else { return };
        let taken = self.bounded(self.manager().take_device_offer((&token, read))).await;
        match taken {
            Ok(Some(offer)) => slot.note_header(settings.offer(&offer)),
            Ok(None) => {}
            Err(error) => error.log(),
        }
    }
}
