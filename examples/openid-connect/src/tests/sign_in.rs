use axum::http::StatusCode;
use kvolt::Owner;
use kvolt::cache::testing::Call;
use kvolt::testing::ManualClock;
use serde_json::Value;

use super::browser::Browser;
use super::stage::{Stage, can_run};
use crate::SIGN_IN_TIME;

#[tokio::test]
async fn user_gets_a_new_session_and_the_wanted_page() {
    if !can_run() {
        return;
    }
    let stage = Stage::on_redis().await;
    let (first, second) = (stage.first(), stage.second());
    let mut ada = Browser::of("ada");
    assert_eq!(ada.get(first.at("/profile")).await.status, StatusCode::UNAUTHORIZED);

    let callback = ada.begin(first, "/profile").await;
    let visitor = ada.clone();
    let page = ada.get(callback.clone()).await;
    assert_eq!(page.next, Some(first.at("/profile")));
    for server in [first, second] {
        let page = ada.get(server.at("/profile")).await;
        assert_eq!(page.text, "the provider knows you as ada\n");
    }
    // A visitor's token, which an attacker may have planted, is no user's.
    assert_ne!(visitor.token(), ada.token());
    assert_eq!(first.data(&visitor).await, None);
    let owner = Owner::new(format!("{} ada", stage.claims()["iss"].as_str().unwrap())).unwrap();
    assert_eq!(first.manager.list(&owner).await.unwrap().sessions.len(), 1);

    // The answer is good once.
    assert_eq!(ada.get(callback).await.status, StatusCode::BAD_REQUEST);
    assert!(ada.is_signed_in(second).await);
}

#[tokio::test]
async fn tabs_sign_in_at_once() {
    if !can_run() {
        return;
    }
    let stage = Stage::in_memory().await;
    let mut ada = Browser::of("ada");
    let one = ada.begin(stage.first(), "/?tab=1").await;
    let two = ada.begin(stage.first(), "/?tab=2").await;
    assert_eq!(ada.get(two).await.next, Some(stage.first().at("/?tab=2")));
    let page = ada.get(one).await;
    assert_eq!(page.next, Some(stage.first().at("/?tab=1")), "{}", page.text);
    assert!(ada.is_signed_in(stage.first()).await);
}

#[tokio::test]
async fn answer_for_another_browser_is_refused() {
    if !can_run() {
        return;
    }
    let stage = Stage::in_memory().await;
    let (mut eve, mut ada) = (Browser::of("eve"), Browser::of("ada"));
    let of_eve = eve.begin(stage.first(), "/").await;
    assert_eq!(Browser::of("ada").get(of_eve.clone()).await.status, StatusCode::BAD_REQUEST);

    let of_ada = ada.begin(stage.first(), "/").await;
    assert_eq!(ada.get(of_eve.clone()).await.status, StatusCode::BAD_REQUEST);
    // With the state of this browser, and the code of the other one: it has another PKCE verifier.
    let mut mixed = of_eve.clone();
    let state = of_ada.query_pairs().find(|(name, _)| name == "state").unwrap().1;
    let code = of_eve.query_pairs().find(|(name, _)| name == "code").unwrap().1;
    mixed.query_pairs_mut().clear().append_pair("state", &state).append_pair("code", &code);
    assert_eq!(ada.get(mixed).await.status, StatusCode::BAD_REQUEST);
    assert!(!ada.is_signed_in(stage.first()).await);
    assert_eq!(ada.get(of_ada).await.status, StatusCode::BAD_REQUEST, "its state was used");
}

#[tokio::test]
async fn errors_of_the_provider_are_pages() {
    if !can_run() {
        return;
    }
    let stage = Stage::in_memory().await;
    let mut ada = Browser::answering("error=access_denied");
    let callback = ada.begin(stage.first(), "/").await;
    let page = ada.get(callback.clone()).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert!(page.text.contains("cancelled"), "{}", page.text);
    assert_eq!(ada.get(callback).await.status, StatusCode::BAD_REQUEST);

    let mut ada = Browser::answering("error=<script>");
    let callback = ada.begin(stage.first(), "/").await;
    let page = ada.get(callback).await;
    assert_eq!(page.status, StatusCode::BAD_GATEWAY);
    assert!(!page.text.contains("script"), "{}", page.text);
    assert_eq!(ada.get(stage.first().at("/callback")).await.status, StatusCode::BAD_REQUEST);

    // An answer that names another provider.
    let mut ada = Browser::of("ada");
    let mut callback = ada.begin(stage.first(), "/").await;
    let query = callback.query().unwrap().replace("iss=http", "iss=https");
    callback.set_query(Some(&query));
    assert_eq!(ada.get(callback).await.status, StatusCode::BAD_REQUEST);
    assert!(!ada.is_signed_in(stage.first()).await);
}

#[tokio::test]
async fn return_path_stays_on_this_site_and_is_short() {
    if !can_run() {
        return;
    }
    let stage = Stage::in_memory().await;
    let long = format!("/{}", "a".repeat(1024));
    for foreign in ["//evil.example", "https://evil.example/", "/%5Cevil.example", &long] {
        let mut ada = Browser::of("ada");
        let callback = ada.begin(stage.first(), foreign).await;
        assert_eq!(ada.get(callback).await.next, Some(stage.first().at("/")), "{foreign}");
    }
}

#[tokio::test]
async fn sign_in_expires_and_has_a_bound() {
    if !can_run() {
        return;
    }
    let clock = ManualClock::new();
    let (stage, _) = Stage::on_clock(clock.clock()).await;
    let mut ada = Browser::of("ada");
    let callback = ada.begin(stage.first(), "/").await;
    clock.advance(SIGN_IN_TIME);
    assert_eq!(ada.get(callback).await.status, StatusCode::BAD_REQUEST);

    let oldest = ada.begin(stage.first(), "/").await;
    for _ in 0..crate::MAX_SIGN_INS {
        ada.get(stage.first().at("/sign-in")).await;
    }
    let visit = stage.first().data(&ada).await.unwrap();
    assert_eq!(visit["sign_ins"].as_array().unwrap().len(), crate::MAX_SIGN_INS);
    assert_eq!(ada.get(oldest).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn sign_out_ends_the_session_here_and_at_the_provider() {
    if !can_run() {
        return;
    }
    let stage = Stage::on_redis().await;
    let mut ada = Browser::of("ada");
    ada.sign_in(stage.first()).await;
    let before = ada.clone();
    let page = ada.post(stage.first().at("/sign-out"), &[]).await;
    assert_eq!(stage.first().data(&before).await, None, "it ends here first");
    assert_eq!(ada.token(), None);

    let provider = page.next.unwrap();
    assert!(provider.query().unwrap().contains("id_token_hint="), "{provider}");
    assert_eq!(ada.sign_out_at_provider(provider).await, Some(stage.first().at("/")));
    // The provider knows no user any longer, so it asks again.
    let mut bob = ada.answering_now("as=bob");
    bob.sign_in(stage.first()).await;
    assert_eq!(stage.first().data(&bob).await.unwrap()["user"]["subject"], "bob");
}

#[tokio::test]
async fn sign_in_that_can_not_be_checked_gives_no_rights() {
    if !can_run() {
        return;
    }
    let (stage, faults) = Stage::with_faults().await;
    for call in [Call::Insert, Call::Get] {
        let mut ada = Browser::of("ada");
        let callback = ada.begin(stage.first(), "/").await;
        faults.notes.only(&[call]);
        faults.notes.fail_all(true);
        assert_eq!(ada.get(callback).await.status, StatusCode::SERVICE_UNAVAILABLE, "{call:?}");
        faults.notes.reset();
        // The browser has a session of ada's, which has no user.
        assert_eq!(stage.first().data(&ada).await.unwrap()["user"], Value::Null);
        assert!(!ada.is_signed_in(stage.second()).await);
        let profile = ada.get(stage.first().at("/profile")).await;
        assert_eq!(profile.status, StatusCode::UNAUTHORIZED);
        ada.sign_in(stage.first()).await;
    }
}
