//! Copying all sessions to another store.
//!
//! A pass reads both stores in the order of the keys and compares them, entry by entry. It has no
//! state of its own, so a pass that was killed needs no repair: the next one finds what is left. What
//! a pass decides does not depend on the order: before it removes an entry, it asks the source for
//! that entry, and it writes an entry in the place of any other one.
//!
//! | mark in the target | target may be | next |
//! |---|---|---|
//! | none | empty | a pass sets `copying` before its first entry |
//! | none | not empty | refused |
//! | `copying`, another source | anything | refused |
//! | `copying`, this source | a part of a copy | a pass; `finished` after the last one |
//! | `finished` | in use by applications | refused |

mod mark;
mod pages;
mod pass;
mod progress;

use std::time::Duration;

use kvolt::SessionId;
use serde_json::json;

use crate::args::CopyArgs;
use crate::failure::{Done, Failure, failed};
use crate::output::{Output, note};
use crate::sessions::count_of;
use crate::store::{Purpose, open_url};
use crate::url::StoreUrl;
use mark::Mark;
use pass::{Pass, Written};
use progress::Progress;

pub(crate) async fn copy(args: CopyArgs, output: &mut Output) -> Result<Done, Failure> {
    let (from, to) = (StoreUrl::parse(&args.source)?, StoreUrl::parse(&args.target)?);
    from.warn();
    to.warn();
    if from.identity() == to.identity() {
        return Err(failed("the source and the target are the same store"));
    }
    let source = open_url(&from, &args.namespace, Purpose::Operate).await?;
    let target = open_url(&to, &args.namespace, Purpose::Fill).await?;
    let mut mark = Mark::take(&target.bytes, from.identity()).await?;
    let total = count_of(&source.bytes).await?;
    let progress = Progress::new(total, output.is_json);
    let pass = Pass { source: &source, target: &target, rate: args.rate, progress: &progress };
    let written = pass.run().await?;
    if args.is_final {
        progress.restart("comparing");
        let again = pass.run().await?;
        if again.changes() > 0 {
            return Err(failed(format!(
                "the source is in use: {} sessions have changed or ended during the last pass; stop \
                 all applications that use it, and repeat the command",
                again.changes()
            )));
        }
        mark.finish(&target.bytes, written.latest_end.max(again.latest_end)).await?;
    }
    progress.finish();
    report(&written, args.is_final, output)?;
    Ok(Done::unless(!written.unreadable.is_empty()))
}

fn report(written: &Written, is_final: bool, output: &mut Output) -> Result<(), Failure> {
    let unreadable: Vec<String> =
        written.unreadable.iter().map(|key| SessionId::from_key(key).to_string()).collect();
    if output.is_json {
        return output.json(&json!({
            "final": is_final,
            "copied": written.copied,
            "updated": written.updated,
            "removed": written.removed,
            "unchanged": written.unchanged,
            "unreadable": unreadable,
        }));
    }
    output.line(&format!(
        "{} copied, {} updated, {} removed, {} unchanged",
        written.copied, written.updated, written.removed, written.unchanged
    ))?;
    for id in &unreadable {
        output.line(&format!("not copied, because the store can't read it: {id}"))?;
    }
    if is_final {
        output.line("both stores are equal now: start the applications on the target")
    } else {
        note("stop the applications and add --final for the last pass");
        Ok(())
    }
}

/// How long a mark without any session lives.
const DAY: Duration = Duration::from_secs(86_400);
