use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use kvolt_middleware::Session;

use crate::User;

/// The name, then the number after each change of the session, until it ends.
pub(crate) fn lines(
    session: &Session<User>,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + use<> {
    let line = |text: String| Ok(Bytes::from(text + "\n"));
    let first = stream::iter([line(session.name.clone())]);
    let changes = stream::unfold(session.live(), move |mut live| async move {
        let count = live.changed().await?.count;
        Some((line(count.to_string()), live))
    });
    first.chain(changes)
}
