//! Listing, showing, counting and ending sessions.

use kvolt::cache::{AnyStore, Cursor, Entry, Freshness, Namespace, Store};
use kvolt::{Encoded, Manager, Owner, RecordJson, SessionId};
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::{ListArgs, RevokeArgs, RevokeOwnerArgs, ShowArgs, StoreArgs};
use crate::failure::{Done, Failure, usage};
use crate::output::{Output, Table, confirm, note, printable};
use crate::session::SessionView;
use crate::store::{Opened, copy_mark, open};

/// How many sessions are read at once.
const PAGE: usize = 1_000;

/// A session that the store itself can't read, with the fields that `--json` prints.
#[derive(Serialize)]
struct Damaged {
    id: String,
    kind: &'static str,
}

pub(crate) async fn list(args: ListArgs, output: &mut Output) -> Result<Done, Failure> {
    let after = args.after.as_deref().map(parse_cursor).transpose()?;
    let owner = args.owner.as_deref().map(parse_owner).transpose()?;
    let (_, opened) = open(&args.at).await?;
    let store = opened.bytes;
    let mut lister = Lister {
        namespace: store.namespace().clone(),
        table: Table::new(SessionView::TITLES),
        rest: args.limit.unwrap_or(usize::MAX),
        damaged: 0,
    };
    if let Some(owner) = owner {
        let listed = store.list(&owner).await?;
        lister.entries(&listed.entries, &listed.unreadable, output)?;
        return Ok(Done::unless(lister.damaged > 0));
    }
    let mut after = after;
    loop {
        let page = store.scan(after.as_ref(), PAGE.min(lister.rest)).await?;
        let mut entries = page.listing.entries;
        entries.sort_unstable_by_key(|entry| *entry.key.as_bytes());
        lister.entries(&entries, &page.listing.unreadable, output)?;
        output.flush()?;
        after = page.next;
        match &after {
            Some(after) if lister.rest == 0 => {
                note(&format!("there may be more: --after {}", cursor(after)));
                break;
            }
            Some(_) => {}
            None => break,
        }
    }
    Ok(Done::unless(lister.damaged > 0))
}

struct Lister {
    namespace: Namespace,
    table: Table,
    rest: usize,
    damaged: usize,
}

impl Lister {
    fn entries(
        &mut self,
        entries: &[Entry<Vec<u8>>],
        unreadable: &[kvolt::cache::Key],
        output: &mut Output,
    ) -> Result<(), Failure> {
        for entry in entries.iter().filter(|entry| entry.key.is_in(&self.namespace)) {
            if self.rest == 0 {
                break;
            }
            self.rest -= 1;
            let view = SessionView::of(entry, false);
            match output.is_json {
                true => output.json(&view)?,
                false => self.table.row(view.cells()),
            }
        }
        for key in unreadable.iter().filter(|key| key.is_in(&self.namespace)) {
            self.damaged += 1;
            let damaged = Damaged { id: SessionId::from_key(key).to_string(), kind: "damaged" };
            match output.is_json {
                true => output.json(&damaged)?,
                false => self.table.row(vec![damaged.id, "-".to_owned(), "damaged".to_owned()]),
            }
        }
        match output.is_json {
            true => Ok(()),
            false => self.table.print(output),
        }
    }
}

pub(crate) async fn show(args: ShowArgs, output: &mut Output) -> Result<Done, Failure> {
    let id = parse_id(&args.id)?;
    let (_, opened) = open(&args.at).await?;
    let key = id.key(opened.bytes.namespace());
    let Some(entry) = opened.bytes.get(&key, Freshness::Strict).await? else {
        note(&format!("there is no session {id}"));
        return Ok(Done::WithFindings);
    };
    let view = SessionView::of(&entry, args.data);
    if output.is_json {
        output.json(&view)?;
    } else {
        for (name, value) in view.lines() {
            output.line(&format!("{name:<16} {value}"))?;
        }
    }
    Ok(Done::unless(view.kind == "unreadable"))
}

pub(crate) async fn revoke(args: RevokeArgs, output: &mut Output) -> Result<Done, Failure> {
    let ids: Vec<SessionId> = args.ids.iter().map(|id| parse_id(id)).collect::<Result<_, _>>()?;
    let question = format!("End {} sessions?", ids.len());
    if ids.len() > 1 && !confirm(&question, args.yes)? {
        return Err(usage("nothing was ended"));
    }
    let (_, opened) = open(&args.at).await?;
    let manager = manager(&opened);
    let (mut revoked, mut missing) = (Vec::new(), Vec::new());
    for id in ids {
        match manager.revoke(id).await? {
            true => revoked.push(id.to_string()),
            false => missing.push(id.to_string()),
        }
    }
    let done = Done::unless(!missing.is_empty());
    if output.is_json {
        output.json(&json!({ "revoked": revoked, "not_found": missing }))?;
    } else {
        for id in revoked {
            output.line(&format!("revoked {id}"))?;
        }
        for id in missing {
            output.line(&format!("there is no session {id}"))?;
        }
    }
    Ok(done)
}

pub(crate) async fn revoke_owner(
    args: RevokeOwnerArgs,
    output: &mut Output,
) -> Result<Done, Failure> {
    let owner = parse_owner(&args.owner)?;
    let (_, opened) = open(&args.at).await?;
    let listed = opened.bytes.list(&owner).await?;
    let count = listed.entries.len() + listed.unreadable.len();
    if count > 0 {
        let question = format!("End {count} sessions of {}?", printable(owner.as_str()));
        if !confirm(&question, args.yes)? {
            return Err(usage("nothing was ended"));
        }
    }
    // Also without sessions: one may have been created since.
    let revoked = manager(&opened).revoke_owner(&owner).await?;
    if output.is_json {
        output.json(&json!({ "owner": owner.as_str(), "revoked": revoked }))?;
    } else {
        output.line(&format!("revoked {revoked} sessions of {}", printable(owner.as_str())))?;
    }
    Ok(Done::unless(revoked == 0))
}

pub(crate) async fn count(args: StoreArgs, output: &mut Output) -> Result<Done, Failure> {
    let (_, opened) = open(&args).await?;
    let sessions = count_of(&opened.bytes).await?;
    match output.is_json {
        true => output.json(&json!({ "sessions": sessions }))?,
        false => output.line(&sessions.to_string())?,
    }
    Ok(Done::Fully)
}

/// The number of sessions, without the mark of a copy.
pub(crate) async fn count_of(store: &AnyStore<Vec<u8>>) -> Result<u64, Failure> {
    let entries = store.count().await?;
    let mark = store.get(&copy_mark(), Freshness::Strict).await?;
    Ok(entries.saturating_sub(u64::from(mark.is_some())))
}

fn manager(opened: &Opened) -> Manager<Value> {
    Manager::new(Encoded::new(opened.bytes.clone(), RecordJson::new()))
}

fn parse_id(text: &str) -> Result<SessionId, Failure> {
    text.parse().map_err(|_| usage("a session's id has 24 hexadecimal digits, in lower case"))
}

/// The owner, or a group of anonymous visitors, whose name `list` shows with `\u{1}`.
fn parse_owner(text: &str) -> Result<Owner, Failure> {
    let stored = text.strip_prefix("\\u{1}").map(|rest| format!("\u{1}{rest}"));
    let owner = Owner::from_stored(stored.as_deref().unwrap_or(text));
    owner.ok_or_else(|| usage("the owner's name is empty, too long or has a zero byte"))
}

fn cursor(cursor: &Cursor) -> String {
    cursor.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse_cursor(text: &str) -> Result<Cursor, Failure> {
    let digit = |index: usize| text.get(index..index + 2);
    let byte = |index| u8::from_str_radix(digit(index)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(byte).collect();
    let bytes = bytes.ok_or_else(|| usage("--after is not a cursor that a list has printed"))?;
    Ok(Cursor::from_bytes(bytes))
}
