//! The committed corpus, and inputs that only hostile clients send, through the bodies of the
//! fuzz targets.

use std::path::Path;

use kvolt_fuzz::{
    cookie_header, csrf, device_endpoints, device_proof, forwarded, lookup, old_sessions,
    store_ops, stored, token,
};

const TOKEN: &str = "mUc7y2JkT0hQeXwz5VnB9rLaPdSfGiKo3x_-E1W6ZqAb4nK9";

fn replay(target: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut replayed = 0;
    for file in std::fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        println!("{}", path.display());
        body(&std::fs::read(&path).unwrap());
        replayed += 1;
    }
    assert!(replayed > 0, "{} is empty", folder.display());
}

#[test]
fn corpus_of_cookie_header() {
    replay("cookie_header", cookie_header);
}

#[test]
fn corpus_of_forwarded() {
    replay("forwarded", forwarded);
}

#[test]
fn corpus_of_csrf() {
    replay("csrf", csrf);
}

#[test]
fn corpus_of_device_endpoints() {
    replay("device_endpoints", device_endpoints);
}

#[test]
fn corpus_of_device_proof() {
    replay("device_proof", device_proof);
}

#[test]
fn corpus_of_lookup() {
    replay("lookup", lookup);
}

#[test]
fn corpus_of_token() {
    replay("token", token);
}

#[test]
fn corpus_of_store_ops() {
    replay("store_ops", store_ops);
}

#[test]
fn corpus_of_stored() {
    replay("stored", stored);
}

#[test]
fn corpus_of_old_sessions() {
    replay("old_sessions", old_sessions);
}

/// Hostile input of a client, alone and around a token.
fn hostile() -> Vec<Vec<u8>> {
    let megabyte = 1 << 20;
    let mut inputs: Vec<Vec<u8>> = vec![
        Vec::new(),
        vec![b'x'; megabyte],
        vec![b'='; megabyte],
        vec![b';'; megabyte],
        vec![b' '; megabyte],
        vec![b'\n'; 100_000],
        vec![0; megabyte],
        vec![0xff; megabyte],
        "id=".repeat(megabyte / 3).into_bytes(),
        "id=x;".repeat(megabyte / 5).into_bytes(),
        "a=;".repeat(100_000).into_bytes(),
        "a=\n".repeat(40_000).into_bytes(),
        b"id=\xff\xfe; \xc3\x28=\x80".to_vec(),
        b"id=\0; \0=id".to_vec(),
        "é".repeat(megabyte / 2).into_bytes(),
    ];
    for input in inputs.clone() {
        let cookie = format!("id={TOKEN}");
        inputs.push([cookie.as_bytes(), b";", &*input].concat());
        inputs.push([&*input, b"; ", cookie.as_bytes()].concat());
        inputs.push([TOKEN.as_bytes(), &*input].concat());
    }
    inputs
}

#[test]
fn hostile_cookies_do_no_harm() {
    hostile().iter().for_each(|input| cookie_header(input));
}

#[test]
fn hostile_chains_of_proxies_do_no_harm() {
    for input in hostile() {
        forwarded(&input);
        forwarded(&[b"for=\"", &*input].concat());
        forwarded(&[&*input, b", for=10.0.0.2"].concat());
        forwarded(&[&*input, b", 10.0.0.2"].concat());
    }
    for piece in ["\\", "\"", ",", "\\\"", "\",", "for=", "10.0.0.2,", "for=10.0.0.2,", "a=\"\";"] {
        forwarded(piece.repeat(100_000).as_bytes());
    }
}

#[test]
fn hostile_lookups_do_no_harm() {
    for input in hostile() {
        lookup(&input);
        lookup(&[b"cookie:id,header:x-id,header:authorization,query:id\n/?", &*input].concat());
        lookup(&[b"query:id\n/?id=", &*input].concat());
        lookup(&[b"cookie:id,header:x-id\n/\nx-id:", &*input].concat());
        lookup(&[b"header:authorization\n/\nauthorization:Bearer ", &*input].concat());
        lookup(&[b"cookie:", &*input].concat());
    }
}

#[test]
fn hostile_tokens_do_no_harm() {
    hostile().iter().for_each(|input| token(input));
}

#[test]
fn hostile_old_sessions_do_no_harm() {
    for input in hostile() {
        old_sessions(&input);
        // Within a record of tower-sessions.
        old_sessions(&[b"\x93\xc4\x10", &*input].concat());
        old_sessions(&[b"\x81\xa1a", &*input].concat());
    }
    for nested in [b'\x91', b'\x81', b'['] {
        old_sessions(&[b"\x93", &*vec![nested; 1 << 20]].concat());
    }
}

#[test]
fn hostile_form_tokens_do_no_harm() {
    hostile().iter().for_each(|input| csrf(input));
}

#[test]
fn hostile_proofs_do_no_harm() {
    for input in hostile() {
        device_proof(&[b"\x01", &*input].concat());
        let short = &input[..input.len().min(4_096)];
        device_proof(&[b"\x05{", short, b"\n", short].concat());
        let start = b"POST /dbsc/refresh\ncookie:__Host-session_id=$b\nsec-secure-session-id:";
        device_endpoints(&[start, &*input].concat());
        device_endpoints(&[start, b"$i\nsecure-session-response:".as_slice(), &*input].concat());
        device_endpoints(&[b"GET /", &*input].concat());
    }
}

#[test]
fn a_token_is_found_in_the_cookie_and_nowhere_past_the_bound() {
    let found = |headers: &http::HeaderMap| {
        let lookup: kvolt_middleware::Lookup = "cookie:id".parse().unwrap();
        let mut request = http::Request::new(());
        *request.headers_mut() = headers.clone();
        lookup.find(&request).is_some()
    };
    let mut headers = http::HeaderMap::new();
    headers.append("cookie", format!("a=1; id={TOKEN}").parse().unwrap());
    assert!(found(&headers), "so that the other tests are not about nothing");
    headers.append("cookie", "a=;".repeat(100_000).parse().unwrap());
    assert!(!found(&headers));
}
