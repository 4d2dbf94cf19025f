//! User agents of real programs, and malformed ones.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use kvolt_device_names::{MAX_NAME_LEN, MAX_USER_AGENT_LEN, name, prepare};
use proptest::prelude::*;

/// A user agent, and what it is called; nothing, if it is not known.
const NAMES: &[(&str, &str)] = &[
    // Firefox
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:141.0) Gecko/20100101 Firefox/141.0",
        "Firefox on Windows",
    ),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
    (
        "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "Firefox on Linux",
    ),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:141.0) Gecko/20100101 Firefox/141.0",
        "Firefox on macOS",
    ),
    ("Mozilla/5.0 (Android 15; Mobile; rv:141.0) Gecko/141.0 Firefox/141.0", "Firefox on Android"),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/141.0 Mobile/15E148 Safari/605.1.15",
        "Firefox on iPhone",
    ),
    (
        "Mozilla/5.0 (X11; FreeBSD amd64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "Firefox on FreeBSD",
    ),
    // Chrome
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36",
        "Chrome on Windows",
    ),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36",
        "Chrome on macOS",
    ),
    (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36",
        "Chrome on Linux",
    ),
    (
        "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36",
        "Chrome on ChromeOS",
    ),
    (
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Mobile Safari/537.36",
        "Chrome on Android",
    ),
    (
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36",
        "Chrome on Android",
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/139.0.7258.76 Mobile/15E148 Safari/604.1",
        "Chrome on iPhone",
    ),
    (
        "Mozilla/5.0 (iPad; CPU OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/139.0.7258.76 Mobile/15E148 Safari/604.1",
        "Chrome on iPad",
    ),
    (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/139.0.0.0 Safari/537.36",
        "Headless Chrome on Linux",
    ),
    // Safari
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
        "Safari on macOS",
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
        "Safari on iPhone",
    ),
    (
        "Mozilla/5.0 (iPad; CPU OS 17_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.7 Mobile/15E148 Safari/604.1",
        "Safari on iPad",
    ),
    // Edge, Opera, Samsung Internet and others that also say Chrome or Safari
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36 Edg/139.0.0.0",
        "Edge on Windows",
    ),
    (
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Mobile Safari/537.36 EdgA/139.0.0.0",
        "Edge on Android",
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 EdgiOS/139.0.3405.86 Mobile/15E148 Safari/604.1",
        "Edge on iPhone",
    ),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36 OPR/122.0.0.0",
        "Opera on Windows",
    ),
    (
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36 OPR/91.0.0.0",
        "Opera on Android",
    ),
    (
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
        "Samsung Internet on Android",
    ),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36 Vivaldi/7.5.3735.54",
        "Vivaldi on Windows",
    ),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/136.0.0.0 YaBrowser/25.6.0.0 Safari/537.36",
        "Yandex Browser on Windows",
    ),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15 Ddg/18.5",
        "DuckDuckGo on macOS",
    ),
    (
        "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko",
        "Internet Explorer on Windows",
    ),
    // Apps
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
        "iPhone",
    ),
    (
        "Mozilla/5.0 (Linux; Android 14; SM-S911B; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/139.0.7258.62 Mobile Safari/537.36",
        "Android",
    ),
    // Programs
    ("curl/8.14.1", "curl"),
    ("Wget/1.25.0", "Wget"),
    ("python-requests/2.32.4", "Python Requests"),
    ("Python/3.13 aiohttp/3.12.15", "Python aiohttp"),
    ("Python-urllib/3.13", "Python urllib"),
    ("Go-http-client/2.0", "Go"),
    ("okhttp/4.12.0", "OkHttp"),
    ("Apache-HttpClient/4.5.14 (Java/21.0.8)", "Apache HttpClient"),
    ("PostmanRuntime/7.45.0", "Postman"),
    // Bots, whatever system they claim
    ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "Googlebot"),
    (
        "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.7258.66 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Googlebot",
    ),
    ("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", "Bingbot"),
    // No known program.
    ("", ""),
    (" ", ""),
    ("Mozilla/5.0", ""),
    ("Mozilla/5.0 (compatible)", ""),
    ("hello", ""),
    ("EvilBot/1.0 (my secret)", ""),
    ("<script>alert(1)</script>", ""),
    ("\u{0}\u{7}\u{202e}\u{1f600}", ""),
];

#[test]
fn programs_have_their_common_names() {
    prepare();
    for (user_agent, expected) in NAMES {
        let name = name(user_agent).map(|name| name.to_string()).unwrap_or_default();
        assert_eq!(name, *expected, "{user_agent}");
    }
}

#[test]
fn words_are_available_one_by_one() {
    let words = |user_agent| name(user_agent).map(|name| (name.program(), name.system()));
    assert_eq!(words(NAMES[0].0), Some((Some("Firefox"), Some("Windows"))));
    assert_eq!(words("curl/8.14.1"), Some((Some("curl"), None)));
    let app = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Mobile";
    assert_eq!(words(app), Some((None, Some("iPhone"))));
    assert_eq!(words("?"), None);
}

#[test]
fn bytes_past_512_are_ignored() {
    let spaces = |count| format!("{}curl/8.14.1", " ".repeat(count));
    assert_eq!(name(&spaces(MAX_USER_AGENT_LEN - 11)).unwrap().to_string(), "curl");
    assert_eq!(name(&spaces(MAX_USER_AGENT_LEN)), None);
    assert_eq!(name(&"é".repeat(100_000)), None);
    assert_eq!(name(&format!("x{}", "é".repeat(100_000))), None);
}

/// Pieces that the rules match, so that random user agents pass the first filter.
fn pieces() -> impl Strategy<Value = String> {
    let words = NAMES.iter().flat_map(|(user_agent, _)| user_agent.split([' ', ';', '/', '(']));
    let words: Vec<&str> = words.collect();
    let piece = prop_oneof![
        4 => prop::sample::select(words).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    let gap = prop::sample::select(vec!["", " ", "/", ";", "(", "\n"]);
    prop::collection::vec((piece, gap), 0..30)
        .prop_map(|pieces| pieces.into_iter().map(|(piece, gap)| piece + gap).collect())
}

proptest! {
    #[test]
    fn name_is_plain_and_short(user_agent in pieces()) {
        if let Some(name) = name(&user_agent) {
            let text = name.to_string();
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" -".contains(&byte);
            prop_assert!(!text.is_empty() && text.len() <= MAX_NAME_LEN);
            prop_assert!(text.bytes().all(plain));
        }
    }
}
