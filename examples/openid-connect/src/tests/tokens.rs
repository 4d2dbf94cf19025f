use std::time::Duration;

use axum::http::StatusCode;
use kvolt::cache::testing::Call;
use kvolt::testing::ManualClock;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::browser::Browser;
use super::stage::{LIMITS, Stage, can_run, until};
use crate::tokens::lease;

fn expire(visit: &mut Value) {
    visit["user"]["tokens"]["expires"] = json!(0);
}

/// Sends 50 requests at once to the two servers, and returns whether each one got its page.
async fn fifty_requests(stage: &Stage, ada: &Browser) -> bool {
    let mut requests = JoinSet::new();
    for number in 0..50 {
        let (mut ada, url) = (ada.clone(), stage.servers[number % 2].at("/profile"));
        requests.spawn(async move { ada.get(url).await });
    }
    let pages = requests.join_all().await;
    pages.iter().all(|page| page.text == "the provider knows you as ada\n")
}

async fn refresh_once(stage: Stage) {
    let mut ada = Browser::of("ada");
    ada.sign_in(stage.first()).await;
    assert!(fifty_requests(&stage, &ada).await);
    assert_eq!(stage.refreshes().await, 0);
    // Each time with the refresh token that the time before has brought: a second use of an old one
    // would end the grant.
    for round in 1..=3 {
        stage.first().edit(&ada, expire).await;
        assert!(fifty_requests(&stage, &ada).await);
        assert_eq!(stage.refreshes().await, round);
    }
}

#[tokio::test]
async fn two_servers_on_redis_refresh_once() {
    if can_run() {
        refresh_once(Stage::on_redis().await).await;
    }
}

#[tokio::test]
async fn two_servers_in_memory_refresh_once() {
    if can_run() {
        refresh_once(Stage::in_memory().await).await;
    }
}

#[tokio::test]
async fn dead_server_keeps_its_lease_and_no_longer() {
    if !can_run() {
        return;
    }
    let clock = ManualClock::new();
    let (stage, faults) = Stage::on_clock(clock.clock()).await;
    let mut ada = Browser::of("ada");
    ada.sign_in(stage.first()).await;
    let length = lease(LIMITS.provider);
    let lease = clock.clock().now().saturating_add(length).as_millis();
    let taken = |visit: &mut Value| {
        expire(visit);
        visit["user"]["tokens"]["lease"] = json!(lease);
    };
    stage.first().edit(&ada, taken).await;
    clock.advance(length - Duration::from_millis(1));

    let requests = tokio::spawn({
        let (mut ada, url) = (ada.clone(), stage.first().at("/profile"));
        async move { ada.get(url).await }
    });
    faults.sessions.answers_at_once(false); // so that reads are counted
    let reads = faults.sessions.count(Call::Get);
    until("the request waits", async || faults.sessions.count(Call::Get) > reads + 5).await;
    assert_eq!(stage.refreshes().await, 0);

    clock.advance(Duration::from_millis(1));
    assert_eq!(requests.await.unwrap().status, StatusCode::OK);
    assert_eq!(stage.refreshes().await, 1);
}

#[tokio::test]
async fn client_that_goes_away_loses_no_token() {
    if !can_run() {
        return;
    }
    let stage = Stage::in_memory().await;
    let mut ada = Browser::of("ada");
    ada.sign_in(stage.first()).await;
    stage.first().edit(&ada, expire).await;
    stage.hold_tokens().await;
    let request = tokio::spawn({
        let (mut ada, url) = (ada.clone(), stage.first().at("/profile"));
        async move { ada.get(url).await }
    });
    stage.until_held().await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    stage.release_tokens().await;

    assert!(fifty_requests(&stage, &ada).await);
    assert_eq!(stage.refreshes().await, 1);
}

#[tokio::test]
async fn outage_of_the_store_loses_no_token() {
    if !can_run() {
        return;
    }
    let (stage, faults) = Stage::with_faults().await;
    let mut ada = Browser::of("ada");
    ada.sign_in(stage.first()).await;
    stage.first().edit(&ada, expire).await;
    stage.hold_tokens().await;
    let request = ada.get(stage.first().at("/profile"));
    let outage = async {
        stage.until_held().await;
        faults.sessions.only(&[Call::Replace]);
        faults.sessions.fail_next(2);
        stage.release_tokens().await;
    };
    assert_eq!(tokio::join!(request, outage).0.status, StatusCode::OK);
    assert_eq!(stage.refreshes().await, 1);
}

#[tokio::test]
async fn provider_that_fails_is_asked_again() {
    if !can_run() {
        return;
    }
    let stage = Stage::in_memory().await;
    let mut ada = Browser::of("ada");
    ada.sign_in(stage.first()).await;
    stage.first().edit(&ada, expire).await;
    stage.refuse_tokens().await;
    let status = ada.get(stage.first().at("/profile")).await.status;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    stage.release_tokens().await;
    assert!(fifty_requests(&stage, &ada).await, "its lease has ended too");
    assert_eq!(stage.refreshes().await, 1);
}

#[tokio::test]
async fn grant_that_has_ended_ends_the_session() {
    if !can_run() {
        return;
    }
    let stage = Stage::on_redis().await;
    let mut ada = Browser::of("ada");
    ada.sign_in(stage.first()).await;
    let used = stage.first().data(&ada).await.unwrap()["user"]["tokens"]["refresh"].clone();
    stage.first().edit(&ada, expire).await;
    assert!(fifty_requests(&stage, &ada).await);
    // A second use of a refresh token, as by a thief: the provider ends the grant.
    let put_back = |visit: &mut Value| {
        expire(visit);
        visit["user"]["tokens"]["refresh"] = used.clone();
    };
    stage.first().edit(&ada, put_back).await;
    for server in &stage.servers {
        let status = ada.get(server.at("/profile")).await.status;
        assert!(status == StatusCode::FORBIDDEN || status == StatusCode::UNAUTHORIZED, "{status}");
    }
    assert_eq!(stage.second().data(&ada).await, None);
}

#[tokio::test]
async fn session_without_a_refresh_token_goes_on() {
    if !can_run() {
        return;
    }
    let stage = Stage::in_memory().await;
    let mut ada = Browser::of("ada");
    ada.sign_in(stage.first()).await;
    let lose = |visit: &mut Value| {
        expire(visit);
        visit["user"]["tokens"]["refresh"] = Value::Null;
    };
    stage.first().edit(&ada, lose).await;
    let page = ada.get(stage.first().at("/profile")).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert!(page.text.contains("You are signed in here"), "{}", page.text);
    assert!(ada.is_signed_in(stage.first()).await);
}
