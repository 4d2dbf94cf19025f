//! A flash message is shown once.

use std::collections::BTreeMap;
use std::time::Duration;

use kvolt_session::{Access, Flash, Level};

use crate::attacks::{rotated, sign_in};
use crate::deployment::{Deployment, Server};

const READERS: usize = 30;
const MESSAGES: usize = 30;

/// The class of lost updates: two pages load at the same time, and both show the message, or
/// neither.
///
/// Thirty messages, in groups that fit the session, and thirty readers for each group.
pub async fn message_is_read_by_one_of_thirty_readers(deployment: &Deployment) {
    let managers = deployment.servers().map(Server::manager);
    let token = sign_in(&managers[0], "ada").await;
    let client = deployment.one.client().presenting(token.expose());
    let mut shown = BTreeMap::<String, usize>::new();
    let all: Vec<_> = (0..MESSAGES).map(|number| format!("message-{number:02}")).collect();
    for messages in all.chunks(Flash::MAX_WAITING - 1) {
        for (at, message) in messages.iter().enumerate() {
            let server = deployment.servers()[at % 2];
            let answer = client.at(server).post(&format!("/account/flash/{message}")).await;
            assert_eq!(answer.text, "left");
        }
        // A reader with an old copy would see no message.
        deployment.outlive_copies().await;
        let readers = (0..READERS).map(|reader| {
            let mut client = client.at(deployment.servers()[reader % 2]);
            tokio::spawn(async move { client.get("/account/page").await.text })
        });
        let mut nothing = 0;
        for reader in readers.collect::<Vec<_>>() {
            let text = reader.await.expect("the task ends");
            nothing += usize::from(text.is_empty());
            for line in text.lines() {
                *shown.entry(line.to_owned()).or_default() += 1;
            }
        }
        assert_eq!(nothing, READERS - 1, "all that waited were there for the first");
    }
    assert_eq!(shown.keys().collect::<Vec<_>>(), all.iter().collect::<Vec<_>>());
    assert!(shown.values().all(|times| *times == 1), "{shown:?}");

    // Messages that arrive during the reads: each is read once.
    let mut shown = BTreeMap::<String, usize>::new();
    let leave = {
        let (manager, own) = (managers[1].clone(), token.clone());
        let all = all.clone();
        tokio::spawn(async move {
            for message in all {
                // The session holds a limited number: wait until the readers have taken some.
                loop {
                    let session = manager.get_with(&own, Access::PEEK.strict()).await;
                    let session = session.expect("the store answers").expect("the session exists");
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
            let taken = reader.await.expect("the task ends").expect("the store answers");
            for flash in taken {
                *shown.entry(flash.text().to_owned()).or_default() += 1;
            }
        }
        if leave.is_finished() && shown.len() < MESSAGES {
            let left = managers[0].get_with(&token, Access::PEEK.strict()).await;
            let left = left.expect("the store answers").expect("the session exists");
            let waiting = left.flashes().len();
            assert_eq!(shown.len() + waiting, MESSAGES, "lost: {shown:?}");
        }
    }
    leave.await.expect("all were left");
    assert!(shown.values().all(|times| *times == 1), "{shown:?}");
    // A message survives a rotation, and ends with the session.
    assert!(
        managers[0].flash(&token, Flash::new("info", "last")).await.expect("the store answers")
    );
    let moved = managers[1].reauthenticate(&token, Level::Two).await.expect("the store answers");
    let token = rotated(moved);
    let taken = managers[0].take_flashes(&token).await.expect("the store answers");
    assert_eq!(taken, [Flash::new("info", "last")]);
    assert!(managers[1].logout(&token).await.expect("the store answers"));
    deployment.is_refused(&token).await;
    assert!(
        !managers[0].flash(&token, Flash::new("info", "late")).await.expect("the store answers")
    );
}
