//! A logout on one server applies to all servers.

use std::time::Duration;

use http::StatusCode;
use kvolt_servers::Proxy;
use kvolt_session::Access;
use kvolt_testkit::Call;

use super::{account, sign_in};
use crate::stage::{Stage, Waiting};

/// axum_session, stores of tower-sessions: a server keeps a copy, and is never notified
/// that the session has ended on another server.
///
/// Both servers have used the session. A near cache may return it until the bound, but
/// never on a strict route.
pub async fn a_logout_on_one_server_is_one_on_the_other(stage: &Stage) {
    for path in ["/logout", "/deep/down/below/logout", "/revoke-all", "/login/bob"] {
        let mut client = stage.one.client();
        client.post("/login/ada").await;
        let mut replay = client.at(&stage.other);
        for _ in 0..20 {
            assert_eq!(client.get("/profile").await.text, "ada");
            assert_eq!(replay.get("/profile").await.text, "ada");
        }
        let token = client.token().expect("it is signed in");
        assert_eq!(client.post(path).await.status, StatusCode::OK);
        let since = Waiting::begin(stage);
        assert_eq!(replay.get("/strict/profile").await.status, StatusCode::UNAUTHORIZED, "{path}");
        let mut here = replay.at(&stage.one);
        assert_eq!(here.get("/profile").await.status, StatusCode::UNAUTHORIZED, "{path}");
        loop {
            let last = since.is_over();
            if replay.get("/profile").await.status == StatusCode::UNAUTHORIZED {
                break;
            }
            since.goes_on(last).await;
        }
        stage.is_refused(&token).await;
        assert_eq!(replay.post("/count").await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

/// The same stores: a copy is fetched while the session ends, and is stored afterwards.
pub async fn a_copy_that_is_fetched_across_a_logout_revives_nothing(stage: &Stage) {
    for round in 0..6 {
        let owner = format!("ada-{round}");
        let one = stage.one.manager();
        let token = sign_in(&one, &owner).await;
        stage.other.faults.only(&[Call::Get, Call::GetReady]);
        stage.other.faults.hold_answers();
        let fetches: Vec<_> = (0..3)
            .map(|number| {
                let (manager, token) = (stage.other.manager(), token.clone());
                let access = if number == 0 { Access::SLIDE } else { Access::PEEK };
                tokio::spawn(async move { manager.get_with(&token, access).await.is_ok() })
            })
            .collect();
        stage.other.faults.until_waiting(1).await;
        let owner = account(&owner);
        let ended = match round % 3 {
            0 => one.logout(&token).await.expect("the store answers"),
            1 => one.revoke_owned(&owner, token.id()).await.expect("the store answers"),
            _ => one.revoke_owner(&owner).await.expect("the store answers") == 1,
        };
        assert!(ended);
        if round >= 3 {
            // The pushed change has arrived, and the answer arrives after it.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stage.other.faults.release();
        for fetch in fetches {
            assert!(fetch.await.expect("it is answered"));
        }
        stage.other.faults.only(&[]);
        stage.is_refused(&token).await;
        let found = stage.other.manager().get(&token).await.expect("the store answers");
        assert!(found.is_none(), "round {round}: it is back");
    }
}

/// The same stores, without notifications: connections drop, reconnects fail, or all
/// traffic is held. A copy is used no longer than the bound; then the read is an error, not
/// a guess.
///
/// Without a near cache there are no notifications to lose.
pub async fn a_logout_that_nobody_is_told_of_is_seen_within_the_bound(stage: &Stage) {
    let (Some(bound), Some(proxy)) = (stage.bound(), stage.other.proxy()) else { return };
    let hurts: [fn(&Proxy); 3] = [Proxy::drop_connections, Proxy::cut, Proxy::blackhole];
    for (number, hurt) in hurts.into_iter().enumerate() {
        let one = stage.one.manager();
        let other = stage.other.manager();
        let token = sign_in(&one, "ada").await;
        for _ in 0..50 {
            assert!(other.get(&token).await.expect("the store answers").is_some());
        }
        hurt(proxy);
        assert!(one.logout(&token).await.expect("the store answers"));
        let since = Waiting::begin(stage);
        loop {
            let last = since.is_over();
            // A read that never completes is not an answer either.
            let asked = tokio::time::timeout(bound, other.get(&token)).await;
            match asked {
                Ok(Ok(Some(_))) => since.goes_on(last).await,
                Ok(Ok(None)) | Ok(Err(_)) | Err(_) if last => break,
                Ok(Ok(None)) | Ok(Err(_)) | Err(_) => tokio::time::sleep(bound / 20).await,
            }
        }
        proxy.restore();
        let mut seen = 0;
        while seen < 20 {
            match other.get(&token).await {
                Ok(Some(_)) => panic!("hurt {number}: it is back"),
                Ok(None) => seen += 1,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        stage.is_refused(&token).await;
    }
}
