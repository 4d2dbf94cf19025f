//! A request whose store does not answer at once.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::sync::Arc;

use http::Request;
use kvolt_cache::{Encoded, MemoryStore};
use kvolt_middleware::Sessions;
use kvolt_middleware::adapter::Admission;
use kvolt_session::{Manager, RecordJson};

/// The future is moved into its box, once for each request.
#[tokio::test]
async fn waiting_request_has_a_small_future() {
    let store = Encoded::new(MemoryStore::<Vec<u8>>::new(), RecordJson::new());
    let manager = Manager::<String>::new(store);
    let sessions = Sessions::new(manager.clone());
    let token = manager.create(String::from("ada")).await.unwrap();
    let cookie = format!("__Host-session_id={}", token.expose());
    let request = Request::get("/").header("cookie", cookie).body(()).unwrap();
    let Admission::Wait(wait) = Arc::new(sessions.layer()).admit(&request, None) else {
        panic!("a store that decodes does not answer at once");
    };
    let size = size_of_val(&*wait);
    assert!(size <= 2_560, "{size} bytes");
    assert!(wait.await.is_ok());
}
