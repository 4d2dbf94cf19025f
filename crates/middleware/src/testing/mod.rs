//! Signing in inside a test of an application. With the feature `testing`.
//!
//! | a test wants | it takes |
//! |---|---|
//! | a request that is signed in | [`TestClient`] |
//! | the time to pass | [`Clock::advance`](kvolt_cache::Clock::advance) of [`Manager::clock`](kvolt_session::Manager::clock), with a store on a [`ManualClock`] |
//! | a session that began earlier | [`TestClient::make_older`], on any store |
//! | what happened to sessions | [`RecordedEvents`] |
//! | a store that fails | [`FaultyStore`] |
//!
//! Enable the feature for tests only, among the dev-dependencies.

mod client;
mod cookie;

pub use kvolt_cache::ManualClock;
pub use kvolt_cache::testing::{Call, Failure, Faults, FaultyStore};
pub use kvolt_session::testing::RecordedEvents;

pub use client::TestClient;
pub use cookie::TestCookie;
