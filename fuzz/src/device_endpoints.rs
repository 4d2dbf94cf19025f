use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use kvolt_cache::{ManualClock, MemoryStore};
use kvolt_middleware::adapter::Admission;
use kvolt_middleware::{DeviceBound, SessionLayer, Sessions};
use kvolt_session::{DeviceOutcome, Manager, NewSession, Token};
use kvolt_testkit::device::DeviceKey;
use pollster::block_on;

use crate::device_proof::device;

const LIFETIME: Duration = Duration::from_secs(600);

/// A layer, a session that may be bound, and one that is.
struct World {
    layers: [Arc<SessionLayer<()>>; 2],
    offered: Token,
    bound: Token,
    id: String,
    cookie: String,
    /// Good ones, and one by another key.
    registration: String,
    proof: String,
    forged: String,
}

/// The first line is a method and a URI, each further one a header. `$` and a letter stand for what a
/// browser has: its tokens, its cookie, its proofs.
///
/// Whatever is sent, the two endpoints answer with their own statuses, and grant for a good proof alone.
/// No request of the bound session passes without its cookie, and none is sent to another site.
///
/// # Panics
///
/// If that does not hold.
pub fn device_endpoints(data: &[u8]) {
    static WORLD: OnceLock<Mutex<World>> = OnceLock::new();
    let world = WORLD.get_or_init(|| Mutex::new(World::new()));
    let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(request) = world.request(data) else { return };
    let is_endpoint = request.method() == Method::POST
        && matches!(request.uri().path(), "/dbsc/register" | "/dbsc/refresh");
    let is_granted = [0, 1].map(|layer| match world.answer(layer, &request) {
        Some(response) => world.check(&request, &response, is_endpoint),
        None => {
            assert!(!is_endpoint, "a handler got it");
            false
        }
    });
    if is_granted.contains(&true) {
        *world = World::new();
    }
}

impl World {
    fn new() -> Self {
        let time = ManualClock::new();
        let manager = Manager::new(MemoryStore::builder().clock(time.clock()).build());
        let sign_in = || {
            let mut session = NewSession::new(());
            let offer = manager.offer_device(&mut session).expect("there is randomness");
            (block_on(manager.create(session)).expect("it is in memory"), offer)
        };
        let (bound, offer) = sign_in();
        let proof = device().registration(&offer);
        let granted = block_on(manager.bind_device(&bound, proof.as_bytes(), LIFETIME));
        let Ok(DeviceOutcome::Bound(grant)) = granted else { panic!("a good proof: {granted:?}") };
        // Requests that were under way have arrived.
        time.advance(Duration::from_secs(10));
        let (offered, offer) = sign_in();
        let registration = device().registration(&offer);
        let proof = device().proof(&grant.challenge);
        let forged = DeviceKey::new(2).proof(&grant.challenge);
        let sessions = Sessions::builder(manager).device_bound(DeviceBound::new());
        let sessions = sessions.build().expect("valid settings");
        let layers = [sessions.layer(), sessions.layer().optional()].map(Arc::new);
        let (id, cookie) = (grant.id, grant.cookie.expect("a new value"));
        Self { layers, offered, bound, id, cookie, registration, proof, forged }
    }

    fn request(&self, data: &[u8]) -> Option<Request<()>> {
        let mut lines = data.split(|byte| *byte == b'\n').map(|line| self.filled(line));
        let first = lines.next()?;
        let space = first.iter().position(|byte| *byte == b' ')?;
        let mut request = Request::new(());
        *request.method_mut() = Method::from_bytes(&first[..space]).ok()?;
        *request.uri_mut() = Uri::try_from(&first[space + 1..]).ok()?;
        for line in lines.take(100) {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            if let (Ok(name), Ok(value)) = (
                HeaderName::from_bytes(&line[..colon]),
                HeaderValue::from_bytes(line[colon + 1..].trim_ascii()),
            ) {
                request.headers_mut().append(name, value);
            }
        }
        Some(request)
    }

    fn filled(&self, line: &[u8]) -> Vec<u8> {
        let mut filled = Vec::new();
        let mut pieces = line.split(|byte| *byte == b'$');
        filled.extend(pieces.next().unwrap_or_default());
        for piece in pieces {
            let text = match piece.first() {
                Some(b'b') => self.bound.expose(),
                Some(b'o') => self.offered.expose(),
                Some(b'c') => &self.cookie,
                Some(b'i') => &self.id,
                Some(b'p') => &self.proof,
                Some(b'r') => &self.registration,
                Some(b'f') => &self.forged,
                _ => "$",
            };
            filled.extend(text.as_bytes());
            filled.extend(piece.get(1..).unwrap_or_default());
        }
        filled
    }

    /// The layer's own answer; `None` if the request passes.
    fn answer(&self, layer: usize, request: &Request<()>) -> Option<Box<Response<Bytes>>> {
        let layer = &self.layers[layer];
        let session = match layer.admit(request, None) {
            Admission::Pass(session) => session,
            Admission::Answer(response) => return Some(response),
            Admission::Wait(wait) => match block_on(wait) {
                Ok(session) => session,
                Err(denied) => return Some(layer.answer(denied, request)),
            },
        };
        if let Some(session) = session.handle().session() {
            let is_bound = session.id() == self.bound.id();
            assert!(!is_bound || has(request, &self.cookie), "it passes without its cookie");
        }
        None
    }

    /// Checks the layer's own answer. Returns whether it granted a proof.
    fn check(&self, request: &Request<()>, response: &Response<Bytes>, is_endpoint: bool) -> bool {
        let status = response.status();
        if let Some(location) = response.headers().get("location") {
            let location = location.as_bytes();
            assert!(location.starts_with(b"/") && !location.starts_with(b"//"));
            assert!(!location.contains(&b'\\') && status == StatusCode::TEMPORARY_REDIRECT);
        }
        let body = String::from_utf8_lossy(response.body());
        let quotes = body.matches('"').count();
        assert!(!body.contains("url=//") && (!body.starts_with("<!") || quotes <= 6), "{body}");
        if !is_endpoint {
            assert_ne!(status, StatusCode::OK);
            return false;
        }
        assert!([200, 400, 403, 404, 409, 503].contains(&status.as_u16()), "{status}");
        let is_granted = status == StatusCode::OK;
        let headers = response.headers();
        assert_eq!(is_granted, headers.contains_key("set-cookie"));
        let is_challenged = is_granted || status == StatusCode::FORBIDDEN;
        assert_eq!(is_challenged, headers.contains_key("secure-session-challenge"));
        let proof = match request.uri().path() {
            "/dbsc/refresh" => &self.proof,
            _ => &self.registration,
        };
        assert!(!is_granted || has(request, proof), "it was granted");
        is_granted
    }
}

/// Whether a header of the request contains this text.
fn has(request: &Request<()>, text: &str) -> bool {
    let text = text.as_bytes();
    request
        .headers()
        .values()
        .any(|value| value.as_bytes().windows(text.len()).any(|window| window == text))
}
