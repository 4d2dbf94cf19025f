//! A flash message is shown once.

use std::collections::BTreeMap;
use std::time::Duration;

use kvolt_session::{Access, Flash, Level};

use super::{rotated, sign_in};
use crate::stage::{Server, Stage};

const READERS: usize = 30;
const MESSAGES: usize = 30;

/// Related to lost updates: two pages load concurrently, and both show the message, or
/// neither does.
///
/// Thirty messages in batches of the maximum size, each batch with thirty concurrent
/// readers.
pub async fn each_message_is_read_by_exactly_one_of_thirty_readers(stage: &Stage) {
    let managers = stage.servers().map(Server::manager);
    let token = sign_in(&managers[0], "ada").await;
    let client = stage.one.client().presenting(token.expose());
    let mut shown = BTreeMap::<String, usize>::new();
    let all: Vec<_> = (0..MESSAGES).map(|number| format!("message-{number:02}")).collect();
    for messages in all.chunks(Flash::MAX_WAITING - 1) {
        for (at, message) in messages.iter().enumerate() {
            let server = stage.servers()[at % 2];
            let answer = client.at(server).post(&format!("/account/flash/{message}")).await;
            assert_eq!(answer.text, "left");
        }
        // A reader with an outdated copy must see no message, and take none.
        stage.outlive_copies().await;
        let readers = (0..READERS).map(|reader| {
            let mut client = client.at(stage.servers()[reader % 2]);
            tokio::spawn(async move { client.get("/account/page").await.text })
        });
        let mut nothing = 0;
        for reader in readers.collect::<Vec<_>>() {
            let text = reader.await.expect("it is answered");
            nothing += usize::from(text.is_empty());
            for line in text.lines() {
                *shown.entry(line.to_owned()).or_default() += 1;
            }
        }
        assert_eq!(nothing, READERS - 1, "all that waited were there for the first");
    }
    assert_eq!(shown.keys().collect::<Vec<_>>(), all.iter().collect::<Vec<_>>());
    assert!(shown.values().all(|times| *times == 1), "{shown:?}");

    // Messages added while thirty readers run: none is lost, none is duplicated.
    let mut shown = BTreeMap::<String, usize>::new();
    let leave = {
        let (manager, own) = (managers[1].clone(), token.clone());
        let all = all.clone();
        tokio::spawn(async move {
            for message in all {
                // At most as many as may be pending: waits until the readers catch up.
                loop {
                    let session = manager.get_with(&own, Access::PEEK.strict()).await;
                    let session = session.expect("the store answers").expect("it is there");
                    if session.flashes().len() < Flash::MAX_WAITING / 2 {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                let left = manager.flash(&own, Flash::new("info", &message)).await;
                assert!(left.expect("the store answers"));
            }
        })
    };
    while !leave.is_finished() || shown.len() < MESSAGES {
        let readers = (0..READERS).map(|reader| {
            let (manager, own) = (managers[reader % 2].clone(), token.clone());
            tokio::spawn(async move { manager.take_flashes(&own).await })
        });
        for reader in readers.collect::<Vec<_>>() {
            let taken = reader.await.expect("it is answered").expect("the store answers");
            for flash in taken {
                *shown.entry(flash.text().to_owned()).or_default() += 1;
            }
        }
        if leave.is_finished() && shown.len() < MESSAGES {
            let left = managers[0].get_with(&token, Access::PEEK.strict()).await;
            let left = left.expect("the store answers").expect("it is there");
            let waiting = left.flashes().len();
            assert_eq!(shown.len() + waiting, MESSAGES, "lost: {shown:?}");
        }
    }
    leave.await.expect("all were left");
    assert!(shown.values().all(|times| *times == 1), "{shown:?}");
    // Messages survive a rotation, and end with the session.
    assert!(managers[0].flash(&token, Flash::new("info", "last")).await.expect("it answers"));
    let moved = managers[1].reauthenticate(&token, Level::Two).await.expect("it answers");
    let token = rotated(moved);
    let taken = managers[0].take_flashes(&token).await.expect("the store answers");
    assert_eq!(taken, [Flash::new("info", "last")]);
    assert!(managers[1].logout(&token).await.expect("the store answers"));
    stage.is_refused(&token).await;
    assert!(!managers[0].flash(&token, Flash::new("info", "late")).await.expect("it answers"));
}
