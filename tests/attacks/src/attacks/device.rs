//! Attackers with copies of the cookies of a session that is bound to a device.

use std::time::Duration;

use http::Method;
use kvolt_middleware::Sessions;
use kvolt_testkit::device::DeviceKey;

use crate::application::router;
use crate::browser::{BOUND, Browser};
use crate::client::Client;
use crate::deployment::{CopyLifetime, Deployment, Server};

/// Of the bound cookie, with the time for requests that are under way.
const LIFETIME: Duration = Duration::from_secs(602);

impl Deployment {
    /// Asserts that both servers accept a browser.
    async fn lets_in(&self, browser: &Browser, name: &str) {
        for server in self.servers() {
            let answer = browser.at(server).client.get("/profile").await;
            assert_eq!((answer.status.as_u16(), &*answer.text), (200, name));
        }
    }

    /// Asserts that both servers refuse a client: with near caches, at every request that starts
    /// after the bound.
    async fn keeps_out(&self, thief: &Browser) {
        let since = CopyLifetime::begin(self);
        for server in self.servers() {
            for (method, path) in [
                (Method::GET, "/profile"),
                (Method::POST, "/count"),
                (Method::GET, "/poll"),
                (Method::GET, "/strict/profile"),
                (Method::POST, "/rotate"),
                (Method::POST, "/account/fresh"),
            ] {
                loop {
                    let last = since.is_over();
                    let answer = thief.at(server).client.send(method.clone(), path, &[]).await;
                    if answer.status == 401 {
                        break;
                    }
                    since.retry_or_panic(last).await;
                }
            }
        }
    }
}

/// A copy of the browser's whole jar.
pub async fn stolen_cookies_are_worthless_after_their_lifetime(deployment: &Deployment) {
    let [one, other] = deployment.servers();
    let mut owner = Browser::bound(one, "ada", 1).await;
    let thief = owner.stolen();
    deployment.lets_in(&thief, "ada").await;
    owner.age(other, LIFETIME).await;
    deployment.keeps_out(&thief).await;
    // It goes on after the owner's next refresh, and whatever the thief sends to it.
    for server in [other, one] {
        assert_eq!(thief.at(server).try_refresh().await, 403);
        owner = owner.at(server);
        owner.refresh().await;
        deployment.keeps_out(&thief).await;
        deployment.lets_in(&owner, "ada").await;
    }
    // A thief that claims to be a browser without a connection gets in nowhere.
    let skipped = [("secure-session-skipped", "unreachable")];
    for mut thief in [thief.without(BOUND), thief] {
        assert_eq!(thief.client.send(Method::GET, "/profile", &skipped).await.status, 503);
    }
}

/// As from a log, a backup or a proxy: by the cookie, and by a header at another application of the
/// same manager.
pub async fn session_cookie_alone_is_worthless(deployment: &Deployment) {
    let owner = Browser::bound(&deployment.one, "ada", 1).await;
    deployment.keeps_out(&owner.stolen().without(BOUND)).await;
    let token = owner.token().expose().to_owned();
    for server in deployment.servers() {
        let manager = server.manager();
        let sessions =
            Sessions::builder(manager.clone()).lookup("header:x-id".parse().expect("valid"));
        let mut program = Client::new(router(sessions.build().expect("valid settings")));
        let mut plain = Client::new(router(Sessions::new(manager)));
        plain.jar = owner.client.jar.without(BOUND);
        for client in [&mut program, &mut plain] {
            let answer = client.send(Method::GET, "/strict/profile", &[("x-id", &token)]).await;
            assert_eq!(answer.status, 401);
        }
    }
    deployment.lets_in(&owner, "ada").await;
}

/// The thief of a session that is not bound yet would lock its owner out.
pub async fn thief_binds_no_session_of_another(deployment: &Deployment) {
    let [one, other] = deployment.servers();
    let owner = Browser::signed_in(one, "ada", 1).await;
    // Its own offer, and what it can make up.
    let mut thief = Browser::signed_in(other, "eve", 99).await;
    let own = thief.offer.clone();
    thief.client.jar = owner.client.jar.clone();
    let (time, _) = owner.offer.split_once('.').expect("a time");
    for offer in ["", &own, &format!("{time}."), &format!("{time}.AAAAAAAAAAAAAAAAAAAAAA")] {
        assert_eq!(thief.register(offer).await.status, 400, "{offer}");
    }
    // The owner's, too late; and once it is bound.
    if deployment.is_in_memory() {
        deployment.advance(Duration::from_secs(60)).await;
        assert_eq!(thief.register(&owner.offer).await.status, 400);
    }
    let mut owner = Browser::signed_in(one, "ada", 1).await;
    let offer = owner.offer.clone();
    assert_eq!(owner.register(&offer).await.status, 200);
    assert_eq!(owner.stolen().at(other).register(&offer).await.status, 409);
    owner.age(one, LIFETIME).await;
    owner.refresh().await;
    deployment.lets_in(&owner, "ada").await;
}

/// The thief binds a session of its own, and plants its cookies in the victim's browser.
pub async fn planted_session_stays_the_thief_s(deployment: &Deployment) {
    let [one, other] = deployment.servers();
    let mut thief = Browser::bound(one, "eve", 99).await;
    let mut victim = thief.at(other);
    victim.key = DeviceKey::new(1);
    let answer = victim.client.post("/login/ada").await;
    assert_eq!(answer.status, 200);
    assert_ne!(victim.token().id(), thief.token().id());
    deployment.is_refused(&thief.token()).await;
    assert_eq!(thief.try_refresh().await, 404);
    // Nor is the victim's session bound to the thief's key.
    thief.client.jar = victim.client.jar.clone();
    assert_eq!(thief.try_refresh().await, 404);
    let session = one.manager().peek(&victim.token()).await.expect("the store answers");
    assert!(session.expect("it is live").device_bound().is_none());
}

/// A new token is no way around the device.
pub async fn binding_survives_each_new_token(deployment: &Deployment) {
    let [one, other] = deployment.servers();
    let mut owner = Browser::bound(one, "ada", 1).await;
    for path in ["/rotate", "/password", "/account/prove/2", "/account/credentials"] {
        let before = owner.clone();
        owner = owner.at(other);
        assert_eq!(owner.client.post(path).await.status, 200, "{path}");
        assert_ne!(owner.token().expose(), before.token().expose());
        deployment.lets_in(&owner, "ada").await;
        deployment.keeps_out(&owner.stolen().without(BOUND)).await;
        // A refresh that the new token has overtaken ends nothing.
        assert_eq!(before.at(one).try_refresh().await, 403, "{path}");
        owner.age(one, LIFETIME).await;
        deployment.keeps_out(&owner.stolen()).await;
        owner = owner.at(one);
        owner.refresh().await;
        deployment.lets_in(&owner, "ada").await;
    }
}

/// A device proves nothing once its session has ended.
pub async fn ended_session_is_not_refreshed(deployment: &Deployment) {
    let [one, other] = deployment.servers();
    for path in ["/logout", "/revoke-all", "/login/ada"] {
        let owner = Browser::bound(one, "ada", 1).await;
        assert_eq!(owner.at(other).client.post(path).await.status, 200, "{path}");
        for server in deployment.servers() {
            assert_eq!(owner.at(server).try_refresh().await, 404, "{path}");
            assert_eq!(owner.at(server).present(None).await, 404, "{path}");
            let mut again = owner.at(server);
            assert_eq!(again.register(&owner.offer).await.status, 400, "{path}");
        }
        deployment.is_refused(&owner.token()).await;
    }
}

/// A client with all that is stored, and without the key, keeps the owner's browser busy: after four
/// refusals it would drop its key.
pub async fn hostile_refreshes_lock_no_owner_out(deployment: &Deployment) {
    let mut owner = Browser::bound(&deployment.one, "ada", 1).await;
    for round in 0..2 {
        let floods = deployment.servers().map(|server| {
            let mut thief = owner.stolen().at(server);
            tokio::spawn(async move {
                for at in 0..20 {
                    let forged = thief.key.proof(&thief.challenge);
                    let proofs = [None, Some("a.b.c"), Some(&*forged)];
                    assert_eq!(thief.present(proofs[at % 3]).await, 403);
                }
            })
        });
        let server: &Server = deployment.servers()[round];
        owner = owner.at(server);
        owner.refresh().await;
        for flood in floods {
            flood.await.expect("each is refused");
        }
        owner.refresh().await;
        deployment.lets_in(&owner, "ada").await;
    }
}

/// A proof that was seen on its way.
pub async fn proof_is_good_once_and_for_one_session(deployment: &Deployment) {
    let [one, other] = deployment.servers();
    let mut owner = Browser::bound(one, "ada", 1).await;
    let proof = owner.key.proof(&owner.challenge);
    // By both servers at once, one takes it.
    let both = [one, other].map(|server| {
        let (mut browser, proof) = (owner.at(server), proof.clone());
        tokio::spawn(async move { (browser.present(Some(&proof)).await, browser) })
    });
    let mut taken = Vec::new();
    for task in both {
        let (status, browser) = task.await.expect("an answer");
        taken.push(status);
        if status == 200 {
            owner = browser;
        }
    }
    taken.sort_unstable();
    assert_eq!(taken, [200, 403]);
    for server in deployment.servers() {
        assert_eq!(owner.at(server).present(Some(&proof)).await, 403);
    }
    // The same device in another session.
    let mut second = Browser::bound(other, "ada", 1).await;
    let proof = owner.key.proof(&owner.challenge);
    assert_eq!(second.present(Some(&proof)).await, 403);
    second.id.clone_from(&owner.id);
    assert_eq!(second.present(Some(&proof)).await, 404);
    owner.refresh().await;
    deployment.lets_in(&owner, "ada").await;
}
