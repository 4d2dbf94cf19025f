//! Sessions that are bound to a device: a test for each rule.
#![cfg(feature = "device-bound")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::time::Duration;

use kvolt_cache::{ManualClock, MemoryStore};
use kvolt_session::{
    DeviceAnswer, DeviceCookie, DeviceOutcome, EventKind, Level, Manager, Record, RefusalReason,
    StepUp, Token, TokenReuse,
};
use kvolt_testkit::device::DeviceKey;
use kvolt_testkit::{Call, FaultyStore};
use support::{GRACE, World, ada, rotated, world, world_with};

const LIFETIME: Duration = Duration::from_secs(300);
const LEEWAY: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(1);

/// The answer to a good proof.
struct Grant {
    id: String,
    challenge: String,
    cookie: String,
}

/// A browser with its key, its token, and what it got last.
struct Browser {
    device: DeviceKey,
    token: Token,
    offer: String,
    grant: Grant,
}

impl World {
    async fn signed_in(&self) -> (Token, String) {
        let mut session = ada();
        let offer = self.manager.offer_device(&mut session).unwrap();
        (self.manager.create(session).await.unwrap(), offer)
    }

    async fn bound(&self) -> Browser {
        let (token, offer) = self.signed_in().await;
        let device = DeviceKey::new(1);
        let proof = device.registration(&offer);
        let grant = granted(self.register(&token, &proof).await);
        Browser { device, token, offer, grant }
    }

    async fn register(&self, token: &Token, proof: &str) -> DeviceOutcome {
        self.manager.bind_device(token, proof.as_bytes(), LIFETIME).await.unwrap()
    }

    async fn refresh(&self, browser: &Browser, proof: Option<&str>) -> DeviceOutcome {
        refresh(&self.manager, browser, proof).await
    }

    async fn check(&self, browser: &Browser, cookie: Option<&str>) -> bool {
        let cookie = cookie.and_then(DeviceCookie::parse);
        let mut session = self.manager.peek(&browser.token).await.unwrap().unwrap();
        session.check_device(cookie.as_ref(), self.manager.clock().now())
    }
}

impl Browser {
    fn proof(&self) -> String {
        self.device.proof(&self.grant.challenge)
    }
}

async fn refresh(
    manager: &Manager<String>,
    browser: &Browser,
    proof: Option<&str>,
) -> DeviceOutcome {
    let (id, proof) = (browser.grant.id.as_bytes(), proof.unwrap_or_default().as_bytes());
    manager.prove_device(&browser.token, id, proof, LIFETIME).await.unwrap()
}

#[track_caller]
fn granted(outcome: DeviceOutcome) -> Grant {
    match outcome {
        DeviceOutcome::Bound(DeviceAnswer { id, challenge, cookie: Some(cookie) }) => {
            Grant { id, challenge, cookie }
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn challenged(outcome: DeviceOutcome) -> String {
    match outcome {
        DeviceOutcome::Bound(DeviceAnswer { challenge, cookie: None, .. }) => challenge,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn only_a_signed_registration_of_a_p256_key_binds() {
    let world = world();
    let (token, offer) = world.signed_in().await;
    let device = DeviceKey::new(1);
    let (header, payload) = (device.registration_header(), format!(r#"{{"jti":"{offer}"}}"#));
    let good = device.registration(&offer);
    let with = |from: &str, to: &str| {
        let changed = header.replacen(from, to, 1);
        assert_ne!(changed, header);
        device.sign(changed, &payload)
    };
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let other = DeviceKey::new(2);
    let others = other.registration(&offer);
    let (_, others_signature) = others.rsplit_once('.').unwrap();
    let y = |header: &str| header.split_once(r#""y":""#).unwrap().1[..43].to_owned();
    let bad = [
        String::new(),
        String::from("..."),
        signed.to_owned(),
        format!("{signed}."),
        format!("{good}."),
        format!("{good}="),
        format!("{good}.{signature}"),
        format!("{signed}.{others_signature}"),
        format!("{signed}.{}", &signature[..signature.len() - 4]),
        format!("{signed}.{}", "A".repeat(86)),
        with("ES256", "none"),
        with("ES256", "HS256"),
        with("ES256", "es256"),
        with("dbsc+jwt", "JWT"),
        with("P-256", "P-384"),
        with("EC", "RSA"),
        with(r#""y":""#, r#""y":"AAAA"#),
        with(r#""x":""#, r#""z":""#),
        // No point of the curve.
        with(&y(&header), &y(&other.registration_header())),
        with(&y(&header), &"A".repeat(43)),
        device.sign(r#"{"alg":"ES256","typ":"dbsc+jwt"}"#, &payload),
        device.sign(&header, "{}"),
        device.sign(&header, r#"{"jti":1}"#),
        device.sign(&header, format!(r#"{{"jti":"{offer}","jti":"{offer}"}}"#)),
        device.sign(
            &header,
            [&payload.as_bytes()[..payload.len() - 1], b",\"a\":\"\xff\"}"].concat(),
        ),
        device.sign(&header, format!("{payload}{}", " ".repeat(2_048))),
        device.registration(&format!("{offer}A")),
        device.registration(&offer.replacen('.', ":", 1)),
        device.registration(""),
        device.proof(&offer),
        other.sign(&header, &payload),
    ];
    for proof in &bad {
        let outcome = world.register(&token, proof).await;
        assert!(matches!(outcome, DeviceOutcome::Refused), "{proof}: {outcome:?}");
    }
    let session = world.manager.peek(&token).await.unwrap().unwrap();
    assert!(session.device_bound().is_none());
    granted(world.register(&token, &good).await);
}

#[tokio::test]
async fn offer_is_open_for_a_minute_and_for_its_session() {
    let world = world();
    let (token, offer) = world.signed_in().await;
    let proof = DeviceKey::new(1).registration(&offer);
    let (other, _) = world.signed_in().await;
    assert!(matches!(world.register(&other, &proof).await, DeviceOutcome::Refused));
    world.time.advance(Duration::from_secs(60) - TICK);
    let early = world.manager.clone();
    granted(early.bind_device(&token, proof.as_bytes(), LIFETIME).await.unwrap());

    let (token, offer) = world.signed_in().await;
    world.time.advance(Duration::from_secs(60));
    let proof = DeviceKey::new(1).registration(&offer);
    assert!(matches!(world.register(&token, &proof).await, DeviceOutcome::Refused));
}

#[tokio::test]
async fn visitor_and_impersonation_are_not_bound() {
    let world = world_with(|builder| builder.anonymous(kvolt_session::AnonymousSessions::new(10)));
    let visitor = world.manager.create_anonymous(String::from("basket")).await.unwrap();
    let (own, offer) = world.signed_in().await;
    let acting = world.manager.impersonate(&own, support::bob()).await.unwrap().unwrap();
    let proof = DeviceKey::new(1).registration(&offer);
    for token in [&visitor, &acting] {
        assert!(matches!(world.register(token, &proof).await, DeviceOutcome::Refused));
        assert!(world.manager.take_device_offer(token).await.unwrap().is_none());
    }
}

/// Chromium sends a registration again if its answer was lost.
#[tokio::test]
async fn registration_is_repeated_by_its_own_key_until_the_first_refresh() {
    let world = world();
    let mut browser = world.bound().await;
    let again = browser.device.registration(&browser.offer);
    let lost = browser.grant;
    browser.grant = granted(world.register(&browser.token, &again).await);
    assert_eq!(browser.grant.id, lost.id);
    assert_ne!(browser.grant.challenge, lost.challenge);
    world.time.advance(Duration::from_secs(10));
    for cookie in [&lost.cookie, &browser.grant.cookie] {
        assert!(world.check(&browser, Some(cookie)).await);
    }
    let thief = DeviceKey::new(2).registration(&browser.offer);
    assert!(matches!(world.register(&browser.token, &thief).await, DeviceOutcome::AlreadyBound));
    browser.grant = granted(world.refresh(&browser, Some(&browser.proof())).await);
    assert!(matches!(world.register(&browser.token, &again).await, DeviceOutcome::AlreadyBound));
    granted(world.refresh(&browser, Some(&browser.proof())).await);
}

#[tokio::test]
async fn bound_cookie_is_accepted_until_its_end_and_two_seconds() {
    let world = world();
    let mut browser = world.bound().await;
    let first = browser.grant.cookie.clone();
    world.time.advance(Duration::from_secs(200));
    browser.grant = granted(world.refresh(&browser, Some(&browser.proof())).await);
    let second = browser.grant.cookie.clone();
    world.time.advance(Duration::from_secs(100) + LEEWAY - TICK);
    assert!(world.check(&browser, Some(&first)).await);
    world.time.advance(TICK);
    assert!(!world.check(&browser, Some(&first)).await);
    world.time.advance(Duration::from_secs(200) - TICK);
    assert!(world.check(&browser, Some(&second)).await);
    world.time.advance(TICK);
    for cookie in [Some(&*second), Some(&*"A".repeat(DeviceCookie::LEN)), None] {
        assert!(!world.check(&browser, cookie).await);
    }
}

#[tokio::test]
async fn requests_under_way_pass_for_five_seconds_after_the_registration() {
    let world = world();
    let browser = world.bound().await;
    world.time.advance(Duration::from_secs(5) - TICK);
    assert!(world.check(&browser, None).await);
    world.time.advance(TICK);
    assert!(!world.check(&browser, None).await);
    assert!(world.check(&browser, Some(&browser.grant.cookie)).await);
    granted(world.refresh(&browser, Some(&browser.proof())).await);
    assert!(!world.check(&browser, None).await, "no second time");
}

#[tokio::test]
async fn refusals_never_change_the_challenge() {
    let world = world();
    let browser = world.bound().await;
    let current = browser.grant.challenge.clone();
    let thief = DeviceKey::new(2);
    let hostile = [
        None,
        Some(String::from("a.b.c")),
        Some(thief.proof(&current)),
        Some(thief.registration(&current)),
        Some(browser.device.registration(&current)),
        Some(browser.device.proof(&browser.offer)),
    ];
    for _ in 0..80 {
        for proof in &hostile {
            let challenge = challenged(world.refresh(&browser, proof.as_deref()).await);
            assert_eq!(challenge, current);
        }
    }
    granted(world.refresh(&browser, Some(&browser.proof())).await);
}

#[tokio::test]
async fn unused_challenge_lives_for_two_lifetimes_and_two_minutes() {
    for (lifetime, life) in [(300, 600), (10, 120)] {
        let lifetime = Duration::from_secs(lifetime);
        let world = world_with(|builder| builder.idle_timeout(support::LIFETIME));
        let browser = world.bound().await;
        let refresh = async |proof: &str| {
            let (id, proof) = (browser.grant.id.as_bytes(), proof.as_bytes());
            world.manager.prove_device(&browser.token, id, proof, lifetime).await.unwrap()
        };
        world.time.advance(Duration::from_secs(life) - TICK);
        assert_eq!(challenged(refresh("bad").await), browser.grant.challenge);
        world.time.advance(TICK);
        let next = challenged(refresh(&browser.proof()).await);
        assert_ne!(next, browser.grant.challenge);
        assert_eq!(challenged(refresh(&browser.proof()).await), next);
        granted(refresh(&browser.device.proof(&next)).await);
    }
}

/// Chromium sends a proof again if its answer was lost.
#[tokio::test]
async fn proof_is_good_once_and_its_replay_is_no_alarm() {
    let world =
        world_with(|builder| builder.rotation_grace(GRACE).token_reuse(TokenReuse::EndSession));
    let mut browser = world.bound().await;
    let used = browser.proof();
    browser.grant = granted(world.refresh(&browser, Some(&used)).await);
    world.events.kinds();
    for _ in 0..3 {
        let challenge = challenged(world.refresh(&browser, Some(&used)).await);
        assert_eq!(challenge, browser.grant.challenge);
    }
    let refused = EventKind::Refused { reason: RefusalReason::DeviceProofOutdated };
    assert_eq!(world.events.kinds(), [refused; 3]);
    granted(world.refresh(&browser, Some(&browser.proof())).await);
}

#[tokio::test]
async fn proof_of_one_session_is_no_proof_of_another() {
    let world = world();
    let (one, other) = (world.bound().await, world.bound().await);
    assert_eq!(challenged(world.refresh(&other, Some(&one.proof())).await), other.grant.challenge);
    let mixed = Browser { token: other.token.clone(), ..one };
    assert!(matches!(world.refresh(&mixed, Some(&mixed.proof())).await, DeviceOutcome::Refused));
}

#[tokio::test]
async fn ended_session_is_not_revived_by_its_device() {
    for how in ["logout", "revoke", "login", "expiry", "credentials"] {
        let world = world();
        let browser = world.bound().await;
        match how {
            "logout" => assert!(world.manager.logout(&browser.token).await.unwrap()),
            "revoke" => assert!(world.manager.revoke(browser.token.id()).await.unwrap()),
            "login" => _ = world.manager.login(Some(&browser.token), ada()).await.unwrap(),
            "expiry" => world.time.advance(support::LIFETIME),
            _ => {
                let (other, _) = world.signed_in().await;
                _ = world.manager.change_credentials(&other, None).await.unwrap();
            }
        }
        let proofs = [None, Some(browser.proof()), Some(DeviceKey::new(2).proof("x"))];
        for proof in &proofs {
            let outcome = world.refresh(&browser, proof.as_deref()).await;
            assert!(matches!(outcome, DeviceOutcome::Refused), "{how}: {outcome:?}");
        }
        let again = browser.device.registration(&browser.offer);
        let outcome = world.register(&browser.token, &again).await;
        assert!(matches!(outcome, DeviceOutcome::Refused), "{how}: {outcome:?}");
        assert!(!world.lives(&browser.token).await);
    }
}

#[tokio::test]
async fn binding_survives_whatever_changes_the_session() {
    let world = world();
    let mut browser = world.bound().await;
    world.manager.update(&browser.token, |name| name.push('!')).await.unwrap();
    browser.token = world.rotate(&browser.token).await;
    let proved = world.manager.reauthenticate(&browser.token, Level::Two).await.unwrap();
    browser.token = rotated(proved);
    let (changed, _) = world.manager.change_credentials(&browser.token, None).await.unwrap();
    browser.token = rotated(changed);
    world.time.advance(Duration::from_secs(10));
    assert!(!world.check(&browser, None).await);
    assert!(world.check(&browser, Some(&browser.grant.cookie)).await);
    granted(world.refresh(&browser, Some(&browser.proof())).await);
    assert_eq!(world.data(&browser.token).await, "ada!");
}

/// A 404 would make the browser drop its key.
#[tokio::test]
async fn refresh_that_a_rotation_has_overtaken_is_challenged() {
    for grace in [Duration::ZERO, GRACE] {
        let world = world_with(|builder| builder.rotation_grace(grace));
        let mut browser = world.bound().await;
        let new = world.rotate(&browser.token).await;
        world.time.advance(grace);
        let challenge = challenged(world.refresh(&browser, Some(&browser.proof())).await);
        assert_eq!(challenge, browser.grant.challenge);
        browser.token = new;
        granted(world.refresh(&browser, Some(&browser.proof())).await);
    }
}

#[tokio::test]
async fn stolen_token_that_was_replaced_long_ago_ends_the_session() {
    let world =
        world_with(|builder| builder.rotation_grace(GRACE).token_reuse(TokenReuse::EndSession));
    let browser = world.bound().await;
    let new = world.rotate(&browser.token).await;
    world.time.advance(2 * GRACE);
    let outcome = world.refresh(&browser, None).await;
    assert!(matches!(outcome, DeviceOutcome::Refused), "{outcome:?}");
    assert!(!world.lives(&new).await);
}

#[tokio::test]
async fn impersonation_is_bound_to_the_administrator_s_device() {
    let world = world();
    let mut own = world.bound().await;
    let token = world.manager.impersonate(&own.token, support::bob()).await.unwrap().unwrap();
    world.time.advance(Duration::from_secs(10));
    let acting = Browser {
        token,
        device: own.device.clone(),
        offer: String::new(),
        grant: Grant { cookie: String::new(), challenge: String::new(), id: own.grant.id.clone() },
    };
    assert!(!world.check(&acting, None).await);
    assert!(world.check(&acting, Some(&own.grant.cookie)).await);
    // A proof is not accepted by both.
    let challenge = challenged(world.refresh(&acting, Some(&own.proof())).await);
    let proof = own.device.proof(&challenge);
    let grant = granted(world.refresh(&acting, Some(&proof)).await);
    assert_eq!(challenged(world.refresh(&own, Some(&proof)).await), own.grant.challenge);
    own.token = rotated(world.manager.end_impersonation(&acting.token).await.unwrap());
    assert!(!world.check(&own, Some(&grant.cookie)).await);
    let next = challenged(world.refresh(&own, Some(&own.device.proof(&grant.challenge))).await);
    granted(world.refresh(&own, Some(&own.device.proof(&next))).await);
}

#[tokio::test]
async fn offer_at_a_later_response_is_taken_once_within_five_minutes() {
    let world = world();
    let later = || {
        let mut session = ada();
        world.manager.offer_device_later(&mut session);
        session
    };
    let token = world.manager.login(None::<&Token>, later()).await.unwrap();
    world.time.advance(Duration::from_secs(300) - TICK);
    let offer = world.manager.take_device_offer(&token).await.unwrap().unwrap();
    assert!(world.manager.take_device_offer(&token).await.unwrap().is_none());
    granted(world.register(&token, &DeviceKey::new(1).registration(&offer)).await);

    let late = world.manager.login(None::<&Token>, later()).await.unwrap();
    world.time.advance(Duration::from_secs(300));
    assert!(world.manager.take_device_offer(&late).await.unwrap().is_none());
}

#[tokio::test]
async fn step_up_asks_for_a_recent_proof_of_bound_sessions_only() {
    let world = world();
    let minute = StepUp::device_proved_within(Duration::from_secs(60));
    let unbound = world.manager.create(ada()).await.unwrap();
    let session = world.manager.peek(&unbound).await.unwrap().unwrap();
    assert!(session.meets(&minute, world.manager.clock().now()));

    let browser = world.bound().await;
    let cookie = DeviceCookie::parse(&browser.grant.cookie);
    let mut session = world.manager.peek(&browser.token).await.unwrap().unwrap();
    assert!(!session.meets(&minute, world.manager.clock().now()), "no request was checked");
    let mut is_met = |after: u64| {
        world.time.advance(Duration::from_secs(after));
        let now = world.manager.clock().now();
        session.check_device(cookie.as_ref(), now);
        session.meets(&minute, now)
    };
    assert!(is_met(60) && !is_met(1));
}

/// The store has done its work, and its answer is lost.
#[tokio::test]
async fn lost_answers_of_the_store_lock_no_owner_out() {
    let world = world();
    let (token, offer) = world.signed_in().await;
    let device = DeviceKey::new(1);
    world.faults.only(&[Call::Replace]);
    world.faults.lose_next_answers(1);
    let registration = device.registration(&offer);
    let lost = world.manager.bind_device(&token, registration.as_bytes(), LIFETIME).await;
    assert!(lost.unwrap_err().is_unavailable());
    let grant = granted(world.register(&token, &registration).await);
    let mut browser = Browser { device, token, offer, grant };
    for _ in 0..3 {
        let proof = browser.proof();
        let (id, bytes) = (browser.grant.id.clone(), proof.as_bytes());
        world.faults.lose_next_answers(1);
        let error = world
            .manager
            .prove_device(&browser.token, id.as_bytes(), bytes, LIFETIME)
            .await
            .unwrap_err();
        assert!(error.is_unavailable());
        browser.grant.challenge = challenged(world.refresh(&browser, Some(&proof)).await);
        browser.grant = granted(world.refresh(&browser, Some(&browser.proof())).await);
    }
}

#[tokio::test]
async fn store_that_fails_is_never_an_outcome() {
    let world = world();
    let browser = world.bound().await;
    let (token, offer) = world.signed_in().await;
    let registration = browser.device.registration(&offer);
    for call in [Call::Get, Call::Replace] {
        world.faults.only(&[call]);
        world.faults.fail_all(true);
        let bind = world.manager.bind_device(&token, registration.as_bytes(), LIFETIME).await;
        assert!(bind.unwrap_err().is_unavailable());
        let (id, proof) = (browser.grant.id.as_bytes(), browser.proof());
        let proof = proof.as_bytes();
        let prove = world.manager.prove_device(&browser.token, id, proof, LIFETIME).await;
        assert!(prove.unwrap_err().is_unavailable());
        world.faults.reset();
    }
    granted(world.refresh(&browser, Some(&browser.proof())).await);
    granted(world.register(&token, &registration).await);
}

#[tokio::test]
async fn each_call_costs_at_most_one_read_and_one_write() {
    let world = world();
    world.faults.answers_at_once(false);
    let commands = || (world.faults.count(Call::Get), world.faults.count(Call::Replace));
    let (token, offer) = world.signed_in().await;
    assert_eq!((world.faults.count(Call::Insert), world.faults.count_all()), (1, 1));
    let device = DeviceKey::new(1);
    let grant = granted(world.register(&token, &device.registration(&offer)).await);
    let browser = Browser { device, token, offer, grant };
    let reset = || {
        world.faults.reset();
        world.faults.answers_at_once(false);
    };
    assert_eq!(commands(), (1, 1));
    reset();
    challenged(world.refresh(&browser, None).await);
    assert_eq!(
        (commands(), world.faults.count_all() - world.faults.count(Call::GetReady)),
        ((1, 0), 1)
    );
    reset();
    granted(world.refresh(&browser, Some(&browser.proof())).await);
    assert_eq!(
        (commands(), world.faults.count_all() - world.faults.count(Call::GetReady)),
        ((1, 1), 2)
    );
    reset();
    assert!(world.manager.get(&browser.token).await.unwrap().is_some());
    assert_eq!(commands(), (1, 0));
}

/// Two servers on one store.
struct Servers {
    store: MemoryStore<Record<String>>,
}

impl Servers {
    fn new() -> Self {
        Self { store: MemoryStore::builder().clock(ManualClock::new().clock()).build() }
    }

    fn server(&self) -> World {
        let (faulty, faults) = FaultyStore::new(self.store.clone());
        let manager = Manager::builder(faulty).build().unwrap();
        let events = kvolt_session::testing::RecordedEvents::of(&manager);
        World { time: ManualClock::new(), store: self.store.clone(), faults, manager, events }
    }
}

/// A registration and a refresh at one server, while the answer to an older update is on its way to
/// another: the browser is never refused by what that one remembers.
#[tokio::test]
async fn other_server_does_not_refuse_by_what_it_wrote_before() {
    for is_bound_before in [false, true] {
        let servers = Servers::new();
        let (here, there) = (servers.server(), servers.server());
        let (token, offer) = there.signed_in().await;
        let device = DeviceKey::new(1);
        let registration = device.registration(&offer);
        let bind = async || granted(there.register(&token, &registration).await);
        let mut early = None;
        if is_bound_before {
            early = Some(bind().await);
        }
        here.faults.only(&[Call::Replace]);
        here.faults.hold_answers();
        let (manager, updated) = (here.manager.clone(), token.clone());
        let update = tokio::spawn(async move {
            manager.update(&updated, |name| name.push('!')).await.unwrap().unwrap();
        });
        here.faults.until_waiting(1).await;
        let grant = match early {
            None => bind().await,
            Some(grant) => {
                let browser = Browser {
                    device: device.clone(),
                    token: token.clone(),
                    offer: String::new(),
                    grant,
                };
                granted(there.refresh(&browser, Some(&browser.proof())).await)
            }
        };
        let (manager, browser) = (here.manager.clone(), Browser { device, token, offer, grant });
        let refreshed = tokio::spawn(async move {
            let proof = browser.proof();
            (refresh(&manager, &browser, Some(&proof)).await, browser)
        });
        // It has read the session, and waits for its turn.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        here.faults.release();
        update.await.unwrap();
        let (outcome, browser) = refreshed.await.unwrap();
        granted(outcome);
        assert_eq!(here.data(&browser.token).await, "ada!", "the update is kept");
    }
}

#[tokio::test]
async fn refreshes_beside_updates_by_two_servers_lose_nothing() {
    let servers = Servers::new();
    let worlds = [servers.server(), servers.server()];
    let mut browser = worlds[0].bound().await;
    let mut updates = tokio::task::JoinSet::new();
    for at in 0..40 {
        let (manager, token) = (worlds[at % 2].manager.clone(), browser.token.clone());
        updates.spawn(async move {
            manager.update(&token, |name| name.push('!')).await.unwrap().unwrap();
        });
    }
    for at in 0..20 {
        let proof = browser.proof();
        browser.grant = granted(worlds[at % 2].refresh(&browser, Some(&proof)).await);
    }
    while let Some(update) = updates.join_next().await {
        update.unwrap();
    }
    assert_eq!(worlds[0].data(&browser.token).await.len(), "ada".len() + 40);
}

#[tokio::test]
async fn binding_and_its_proofs_are_events() {
    let world = world();
    let browser = world.bound().await;
    world.events.kinds();
    world.time.advance(TICK);
    granted(world.refresh(&browser, Some(&browser.proof())).await);
    challenged(world.refresh(&browser, None).await);
    challenged(world.refresh(&browser, Some("x")).await);
    let refused = |reason| EventKind::Refused { reason };
    let expected = [
        EventKind::DeviceProved,
        refused(RefusalReason::DeviceProofMissing),
        refused(RefusalReason::DeviceProofInvalid),
    ];
    assert_eq!(world.events.kinds(), expected);
    let again = browser.device.registration(&browser.offer);
    let _ = world.register(&browser.token, &again).await;
    assert_eq!(world.events.kinds(), [refused(RefusalReason::DeviceAlreadyBound)]);
    let _ = world.register(&world.signed_in().await.0, "x").await;
    assert_eq!(world.events.kinds().last(), Some(&refused(RefusalReason::DeviceProofInvalid)));
}

#[cfg(feature = "json")]
#[tokio::test]
async fn stored_record_contains_no_bound_cookie() {
    use kvolt_cache::Store;
    let store = MemoryStore::<Vec<u8>>::new();
    let bytes = kvolt_cache::Encoded::new(store.clone(), kvolt_session::RecordJson::new());
    let manager = Manager::<String>::new(bytes);
    let mut session = ada();
    let offer = manager.offer_device(&mut session).unwrap();
    let token = manager.create(session).await.unwrap();
    let proof = DeviceKey::new(1).registration(&offer);
    let grant = manager.bind_device(&token, proof.as_bytes(), LIFETIME).await.unwrap();
    let shown = format!("{grant:?}");
    let grant = granted(grant);
    let page = store.scan(None, 10).await.unwrap();
    let stored = String::from_utf8_lossy(&page.listing.entries[0].value).into_owned();
    assert!(stored.contains("device_binding"), "{stored}");
    for secret in [&grant.cookie, &offer] {
        assert!(!stored.contains(secret) && !shown.contains(secret));
    }
}

/// A thief of both cookies would get the new token, and the owner would be signed out.
#[tokio::test]
async fn bound_session_is_not_rotated_by_its_age() {
    let time = ManualClock::new();
    let store = MemoryStore::builder().clock(time.clock()).build();
    let minute = Duration::from_secs(60);
    let builder = Manager::<String>::builder(store).rotate_every(minute);
    let manager = builder.rotation_grace(TICK).build().unwrap();
    let mut session = ada();
    let offer = manager.offer_device(&mut session).unwrap();
    let token = manager.create(session).await.unwrap();
    let unbound = manager.get(&token).await.unwrap().unwrap();
    let proof = DeviceKey::new(1).registration(&offer);
    granted(manager.bind_device(&token, proof.as_bytes(), LIFETIME).await.unwrap());
    time.advance(minute);
    assert!(manager.is_rotation_due(&unbound));
    let bound = manager.get(&token).await.unwrap().unwrap();
    assert!(!manager.is_rotation_due(&bound));
}
