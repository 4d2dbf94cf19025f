//! Requests of a browser about its binding to a device.

use std::sync::Arc;

use kvolt_session::DeviceOutcome;

use super::admission::{Denied, Reason};
use super::shared::RequestSession;
use super::slot::{Change, Slot};
use crate::device_bound::Endpoint;
use crate::error::Kind;
use crate::lookup::{Presented, Source};
use crate::store_timeout::bounded;
use crate::{Error, SessionHandle, SessionLayer};

impl<T: Send + Sync + 'static> SessionLayer<T> {
    /// Answers a registration or a refresh: no handler sees it.
    pub(super) async fn serve(
        self: Arc<Self>,
        endpoint: Endpoint,
        presented: Presented,
    ) -> Result<RequestSession<T>, Denied> {
        let inner = &self.sessions.0;
        let Some(settings) = &inner.device_bound else { return Err(Reason::Reload.into()) };
        let outcome = match &presented {
            Presented::Nothing => Ok(DeviceOutcome::Unknown),
            Presented::One(token, _) => {
                let served = settings.serve(&endpoint, &inner.manager, token);
                bounded(inner.store_timeout, served).await.map_err(Error::from)
            }
            // Another site of the same domain may have added one, and must not end the binding.
            Presented::Several(..) => {
                self.sessions.report_ambiguous();
                Err(Error(Kind::Ambiguous))
            }
        };
        Err(Reason::Answered(settings.respond(&endpoint, outcome)).into())
    }
}

impl<T: Send + Sync + 'static> Slot<T> {
    /// Whether the browser of this request is to be asked to bind the session, which it could not be
    /// at the sign-in.
    #[inline]
    pub(super) fn is_device_offer_due(&self) -> bool {
        self.device().is_own
            && self.read.as_ref().is_some_and(|session| {
                self.sessions().manager().is_device_offer_due(session)
                    && matches!(self.source(), Some(Source::Cookie(_)))
                    && self.state().change != Change::Replaced
            })
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
