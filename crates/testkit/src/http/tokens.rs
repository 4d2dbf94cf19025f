//! Laws of the token that a request presents.

use super::client::Client;
use super::{Application, CLEARED_COOKIE, COOKIE};

/// A token that the server did not issue is never adopted: neither by a request nor by a login.
pub async fn chosen_token_is_never_adopted(application: &impl Application) {
    let chosen = "A".repeat(48);
    for path in ["/login/ada", "/nested/login/ada"] {
        let mut client = Client::of(application).presenting(&chosen);
        let answer = client.get("/").await;
        assert_eq!((&*answer.text(), answer.set_cookies().len()), ("no session", 0));
        assert_eq!(client.post(path).await.status, 200);
        assert_ne!(client.token(), chosen);
        assert_eq!(client.presenting(&chosen).name().await, None, "{path}");
    }
}

/// Text without the form of a token is no token, and no error.
pub async fn malformed_cookie_is_ignored(application: &impl Application) {
    let client = Client::signed_in(application, "ada").await;
    let token = client.token().to_owned();
    let values = [
        String::new(),
        String::from("x"),
        token[..47].to_owned(),
        format!("{token}A"),
        format!("\"{token}\""),
        format!("%{}", &token[1..]),
        token.replace(|letter: char| letter.is_ascii_lowercase(), "="),
        format!("{}{}", &token[..47], '\u{e9}'),
        "A".repeat(20_000),
    ];
    for value in values {
        let mut client = client.presenting(&value);
        let answer = client.get("/name").await;
        assert_eq!((answer.status, answer.set_cookies().len()), (401, 0), "{value:.60}");
        assert_eq!(client.get("/").await.text(), "no session", "{value:.60}");
    }
}

/// A token with one other character is unknown, wherever the character is.
pub async fn changed_token_is_refused(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let token = client.token().to_owned();
    for at in [0, 15, 16, 30, 40, 47] {
        let mut changed = token.clone().into_bytes();
        // Another letter with other leading bits: the last bits of a text may have no meaning.
        changed[at] = if changed[at] == b'A' { b'z' } else { b'A' };
        let changed = String::from_utf8_lossy(&changed).into_owned();
        assert_eq!(client.presenting(&changed).name().await, None, "at {at}");
    }
    assert_eq!(client.name().await.as_deref(), Some("ada"), "and no such request ends it");
}

/// The public id of a session opens nothing.
pub async fn session_id_is_not_a_token(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let (id, public) = (client.id().await, client.token()[..16].to_owned());
    for value in [id.repeat(2), public.repeat(3), format!("{public}{}", "A".repeat(32)), id, public]
    {
        assert_eq!(client.presenting(&value).name().await, None, "{value}");
        client.presenting(&value).post("/logout").await;
    }
    assert_eq!(client.name().await.as_deref(), Some("ada"), "and ends nothing");
}

/// The cookie is found among others, in one header or in several.
pub async fn cookie_is_found_among_others(application: &impl Application) {
    let client = Client::signed_in(application, "ada").await;
    let own = format!("{COOKIE}={}", client.token());
    let mut bare = client.other();
    for cookies in [
        &[("cookie", &*format!("theme=dark; {own}; a=b"))][..],
        &[("cookie", &format!("a={COOKIE};{own};;=;"))],
        &[("cookie", "a=b"), ("cookie", &own), ("cookie", "c=d")],
        &[("cookie", &format!("{own}; {own}"))],
    ] {
        assert_eq!(bare.send("GET", "/name", cookies).await.text(), "ada", "{cookies:?}");
    }
}

/// Of two different cookies of one name, none is believed: their order says nothing.
pub async fn two_different_cookies_are_refused(application: &impl Application) {
    let (ada, bob) =
        (Client::signed_in(application, "ada").await, Client::signed_in(application, "bob").await);
    let (ada, bob) = (format!("{COOKIE}={}", ada.token()), format!("{COOKIE}={}", bob.token()));
    let (chosen, none) = (format!("{COOKIE}={}", "A".repeat(48)), format!("{COOKIE}="));
    let mut client = Client::of(application);
    for (one, other) in
        [(&ada, &bob), (&bob, &ada), (&ada, &chosen), (&chosen, &ada), (&ada, &none)]
    {
        let joined = format!("{one}; {other}");
        for cookies in [&[("cookie", &*joined)][..], &[("cookie", one), ("cookie", other)]] {
            assert_eq!(client.send("GET", "/name", cookies).await.status, 401, "{cookies:?}");
            assert_eq!(client.send("GET", "/", cookies).await.text(), "no session", "{cookies:?}");
        }
    }
    for cookie in [ada, bob] {
        assert_eq!(client.send("GET", "/name", &[("cookie", &cookie)]).await.status, 200);
    }
}

/// A logout with several cookies ends the sessions of all of them, and so does a login.
pub async fn logout_ends_the_sessions_of_all_cookies(application: &impl Application) {
    for path in ["/logout", "/login/carl"] {
        let mut ada = Client::signed_in(application, "ada").await;
        let mut bob = Client::signed_in(application, "bob").await;
        let both = format!("{COOKIE}={}; {COOKIE}={}", ada.token(), bob.token());
        let answer = Client::of(application).send("POST", path, &[("cookie", &both)]).await;
        assert_eq!((answer.status, answer.set_cookies().len()), (200, 1), "{path}");
        assert_eq!((ada.name().await, bob.name().await), (None, None), "{path}");
    }
}

/// In a `Cookie` header that is longer than any browser's, no cookie is accepted.
pub async fn oversized_cookie_header_is_not_searched(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let many = format!("{COOKIE}={}; {}", client.token(), "a=b; ".repeat(15_000));
    let answer = client.other().send("GET", "/name", &[("cookie", &many)]).await;
    assert!(matches!(answer.status, 400 | 401 | 431), "{}", answer.status);
    assert_eq!(client.name().await.as_deref(), Some("ada"));
}

/// A token is accepted where the lookup has it, and nowhere else.
pub async fn token_is_accepted_at_its_sources_only(application: &impl Application) {
    let client = Client::signed_in(application, "ada").await;
    let token = client.token();
    let mut bare = client.other();
    for (name, value) in [
        ("x-session-id", token.to_owned()),
        ("authorization", token.to_owned()),
        ("authorization", format!("Basic {token}")),
        ("cookie", format!("session_id={token}")),
        ("cookie", format!("{}={token}", COOKIE.to_ascii_lowercase())),
    ] {
        let answer = bare.send("GET", "/name", &[(name, &value)]).await;
        assert_eq!(answer.status, 401, "{name}: {value}");
    }
    for name in [COOKIE, "authorization", "token"] {
        assert_eq!(bare.get(&format!("/name?{name}={token}")).await.status, 401, "{name}");
    }
}

/// A token in the `Authorization` header is accepted with the scheme `Bearer`, in any case.
pub async fn bearer_token_is_accepted(application: &impl Application) {
    let client = Client::signed_in(application, "ada").await;
    let mut bare = client.other();
    for scheme in ["Bearer", "bearer"] {
        let value = format!("{scheme} {}", client.token());
        let answer = bare.send("GET", "/name", &[("authorization", &value)]).await;
        assert_eq!((answer.text(), answer.set_cookies().len()), (String::from("ada"), 0));
    }
}

/// Of two different tokens in the header, none is believed.
pub async fn two_different_headers_are_refused(application: &impl Application) {
    let ada = Client::signed_in(application, "ada").await;
    let bob = Client::signed_in(application, "bob").await;
    let mut bare = ada.other();
    let bearer = [&ada, &bob].map(|client| format!("Bearer {}", client.token()));
    let [ada, bob] = bearer.each_ref().map(|bearer| ("authorization", &**bearer));
    for both in [[ada, bob], [bob, ada]] {
        assert_eq!(bare.send("GET", "/name", &both).await.status, 401);
    }
    assert_eq!(bare.send("GET", "/name", &[ada, ada]).await.text(), "ada");
}

/// A new token goes back by the channel of the old one, and by no other.
pub async fn bearer_token_goes_back_in_its_header(application: &impl Application) {
    for (path, name) in [("/rotate", "ada"), ("/login/bob", "bob")] {
        let client = Client::signed_in(application, "ada").await;
        let mut bare = client.other();
        let old = format!("Bearer {}", client.token());
        let answer = bare.send("POST", path, &[("authorization", &old)]).await;
        assert_eq!((answer.status, answer.set_cookies().len()), (200, 0), "{path}");
        let new = answer.header("authorization").expect("a new token").to_owned();
        assert_ne!(new, old, "{path}");
        let new = [("authorization", &*new)];
        assert_eq!(bare.send("GET", "/name", &new).await.text(), name);
        let answer = bare.send("POST", "/logout", &new).await;
        assert_eq!((answer.set_cookies().len(), answer.header("authorization")), (0, None));
        assert_eq!(bare.send("GET", "/name", &new).await.status, 401);
    }
}

/// A cookie and a header together: the first source with a well-formed token decides.
pub async fn first_source_with_a_token_decides(application: &impl Application) {
    let (ada, bob) =
        (Client::signed_in(application, "ada").await, Client::signed_in(application, "bob").await);
    let bearer = format!("Bearer {}", bob.token());
    let bearer = [("authorization", &*bearer)];
    assert_eq!(ada.clone().send("GET", "/name", &bearer).await.text(), "ada");
    let mut malformed = ada.presenting("malformed");
    assert_eq!(malformed.send("GET", "/name", &bearer).await.text(), "bob");
    let mut unknown = ada.presenting(&"A".repeat(48));
    assert_eq!(unknown.send("GET", "/name", &bearer).await.status, 401, "later ones are not tried");
    let answer = ada.clone().send("POST", "/logout", &bearer).await;
    assert_eq!(answer.set_cookies(), [CLEARED_COOKIE]);
    assert_eq!(bob.clone().name().await.as_deref(), Some("bob"), "the other is no part of it");
}

/// A refusal names the scheme by which a program could have signed in.
pub async fn refusal_challenges_bearer_clients(application: &impl Application) {
    let answer = Client::of(application).get("/name").await;
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")));
}
