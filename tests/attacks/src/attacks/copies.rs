//! A logout on one server is a logout on all.

use std::time::Duration;

use http::StatusCode;
use kvolt_servers::Proxy;
use kvolt_session::Access;
use kvolt_testkit::Call;

use super::{account, sign_in};
use crate::deployment::{CopyLifetime, Deployment};

/// axum_session, stores of tower-sessions: a server keeps a copy, and is not notified of the end on
/// another server.
///
/// Both servers have used the session. A near cache may use its copy until the bound, and never on
/// a strict route.
pub async fn logout_on_one_server_is_a_logout_on_all(deployment: &Deployment) {
    for path in ["/logout", "/deep/down/below/logout", "/revoke-all", "/login/bob"] {
        let mut client = deployment.one.client();
        client.post("/login/ada").await;
        let mut replay = client.at(&deployment.other);
        for _ in 0..20 {
            assert_eq!(client.get("/profile").await.text, "ada");
            assert_eq!(replay.get("/profile").await.text, "ada");
        }
        let token = client.token().expect("a token in the cookie");
        assert_eq!(client.post(path).await.status, StatusCode::OK);
        let since = CopyLifetime::begin(deployment);
        assert_eq!(replay.get("/strict/profile").await.status, StatusCode::UNAUTHORIZED, "{path}");
        let mut here = replay.at(&deployment.one);
        assert_eq!(here.get("/profile").await.status, StatusCode::UNAUTHORIZED, "{path}");
        loop {
            let last = since.is_over();
            if replay.get("/profile").await.status == StatusCode::UNAUTHORIZED {
                break;
            }
            since.retry_or_panic(last).await;
        }
        deployment.is_refused(&token).await;
        assert_eq!(replay.post("/count").await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

/// The class of the above: a copy is fetched while the session ends, and kept when it arrives.
pub async fn copy_fetched_across_a_logout_is_not_used(deployment: &Deployment) {
    for round in 0..6 {
        let owner = format!("ada-{round}");
        let one = deployment.one.manager();
        let token = sign_in(&one, &owner).await;
        deployment.other.faults.only(&[Call::Get, Call::GetReady]);
        deployment.other.faults.hold_answers();
        let fetches: Vec<_> = (0..3)
            .map(|number| {
                let (manager, token) = (deployment.other.manager(), token.clone());
                let access = if number == 0 { Access::SLIDE } else { Access::PEEK };
                tokio::spawn(async move { manager.get_with(&token, access).await.is_ok() })
            })
            .collect();
        deployment.other.faults.until_waiting(1).await;
        let owner = account(&owner);
        let ended = match round % 3 {
            0 => one.logout(&token).await.expect("the store answers"),
            1 => one.revoke_owned(&owner, token.id()).await.expect("the store answers"),
            _ => one.revoke_owner(&owner).await.expect("the store answers") == 1,
        };
        assert!(ended);
        if round >= 3 {
            // The notification has arrived, and the answer of the store follows.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        deployment.other.faults.release();
        for fetch in fetches {
            assert!(fetch.await.expect("the task ends"));
        }
        deployment.other.faults.only(&[]);
        deployment.is_refused(&token).await;
        let found = deployment.other.manager().get(&token).await.expect("the store answers");
        assert!(found.is_none(), "round {round}: it is back");
    }
}

/// The class of the above without notifications: connections are closed or refused, or no data
/// arrives. A copy is used until the bound; after it, a read is an error.
///
/// Only with a near cache.
pub async fn logout_without_notification_is_seen_within_the_bound(deployment: &Deployment) {
    let (Some(bound), Some(proxy)) = (deployment.bound(), deployment.other.proxy()) else { return };
    let hurts: [fn(&Proxy); 3] = [Proxy::drop_connections, Proxy::cut, Proxy::blackhole];
    for (number, hurt) in hurts.into_iter().enumerate() {
        let one = deployment.one.manager();
        let other = deployment.other.manager();
        let token = sign_in(&one, "ada").await;
        for _ in 0..50 {
            assert!(other.get(&token).await.expect("the store answers").is_some());
        }
        hurt(proxy);
        assert!(one.logout(&token).await.expect("the store answers"));
        let since = CopyLifetime::begin(deployment);
        loop {
            let last = since.is_over();
            // A read that hangs is not an answer either.
            let asked = tokio::time::timeout(bound, other.get(&token)).await;
            match asked {
                Ok(Ok(Some(_))) => since.retry_or_panic(last).await,
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
        deployment.is_refused(&token).await;
    }
}
