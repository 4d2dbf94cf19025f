//! All the words of names, so that no name has anything that a client sent.

/// The names of programs in uap-core, and the common ones: programs with a screen, before a system.
pub(crate) const BROWSERS: &[(&str, &str)] = &[
    ("AVG", "AVG Secure Browser"),
    ("Aloha Browser", "Aloha"),
    ("Amazon Silk", "Silk"),
    ("Android", "Android Browser"),
    ("Apple Mail", "Apple Mail"),
    ("Avast Secure Browser", "Avast Secure Browser"),
    ("Baidu Browser", "Baidu Browser"),
    ("Basilisk", "Basilisk"),
    ("Brave", "Brave"),
    ("Chrome", "Chrome"),
    ("Chrome Mobile", "Chrome"),
    ("Chrome Mobile iOS", "Chrome"),
    ("Chromium", "Chromium"),
    ("Coc Coc", "Coc Coc"),
    ("DuckDuckGo", "DuckDuckGo"),
    ("DuckDuckGo Mobile", "DuckDuckGo"),
    ("Ecosia Android", "Ecosia"),
    ("Ecosia iOS", "Ecosia"),
    ("Edge", "Edge"),
    ("Edge Mobile", "Edge"),
    ("Electron", "Electron"),
    ("Epiphany", "GNOME Web"),
    ("Facebook", "Facebook"),
    ("Facebook Messenger", "Messenger"),
    ("Falkon", "Falkon"),
    ("Firefox", "Firefox"),
    ("Firefox Alpha", "Firefox"),
    ("Firefox Beta", "Firefox"),
    ("Firefox Mobile", "Firefox"),
    ("Firefox iOS", "Firefox"),
    ("Google", "Google app"),
    ("HeadlessChrome", "Headless Chrome"),
    ("Huawei Browser", "Huawei Browser"),
    ("IE", "Internet Explorer"),
    ("IE Mobile", "Internet Explorer"),
    ("Instagram", "Instagram"),
    ("Konqueror", "Konqueror"),
    ("LINE", "LINE"),
    ("Maxthon", "Maxthon"),
    ("MiuiBrowser", "Mi Browser"),
    ("Mobile Safari", "Safari"),
    ("Oculus Browser", "Meta Quest Browser"),
    ("Opera", "Opera"),
    ("Opera Mini", "Opera Mini"),
    ("Opera Mobile", "Opera"),
    ("Outlook", "Outlook"),
    ("Pale Moon", "Pale Moon"),
    ("PhantomJS", "PhantomJS"),
    ("Puffin", "Puffin"),
    ("QQ Browser", "QQ Browser"),
    ("QQ Browser Mobile", "QQ Browser"),
    ("Safari", "Safari"),
    ("Samsung Internet", "Samsung Internet"),
    ("SeaMonkey", "SeaMonkey"),
    ("Slack Desktop Client", "Slack"),
    ("Snapchat", "Snapchat"),
    ("Sogou Explorer", "Sogou Explorer"),
    ("Thunderbird", "Thunderbird"),
    ("Twitter", "Twitter"),
    ("UC Browser", "UC Browser"),
    ("Vivaldi", "Vivaldi"),
    ("Waterfox", "Waterfox"),
    ("Whale", "Whale"),
    ("Yandex Browser", "Yandex Browser"),
];

/// uap-core's names of programs without a screen, and their common names. They say little that is
/// true of their system.
pub(crate) const TOOLS: &[(&str, &str)] = &[
    ("AdsBot-Google", "Google AdsBot"),
    ("Amazonbot", "Amazonbot"),
    ("Apache-HttpClient", "Apache HttpClient"),
    ("Applebot", "Applebot"),
    ("Baiduspider", "Baiduspider"),
    ("CFNetwork", "An app"),
    ("ClaudeBot", "ClaudeBot"),
    ("DuckDuckBot", "DuckDuckBot"),
    ("FacebookBot", "Facebook bot"),
    ("GPTBot", "GPTBot"),
    ("Go-http-client", "Go"),
    ("Googlebot", "Googlebot"),
    ("Googlebot-Image", "Googlebot"),
    ("HTTPie", "HTTPie"),
    ("Java", "Java"),
    ("PingdomBot", "Pingdom"),
    ("PostmanRuntime", "Postman"),
    ("Python Requests", "Python Requests"),
    ("Python aiohttp", "Python aiohttp"),
    ("Python-urllib", "Python urllib"),
    ("Slackbot", "Slackbot"),
    ("Twitterbot", "Twitterbot"),
    ("Wget", "Wget"),
    ("YandexBot", "YandexBot"),
    ("axios", "axios"),
    ("bingbot", "Bingbot"),
    ("curl", "curl"),
    ("facebookexternalhit", "Facebook bot"),
    ("libwww-perl", "libwww-perl"),
    ("node-fetch", "node-fetch"),
    ("okhttp", "OkHttp"),
];

/// The names of systems in uap-core, and the common ones.
pub(crate) const SYSTEMS: &[(&str, &str)] = &[
    ("ATV OS X", "Apple TV"),
    ("Android", "Android"),
    ("Arch Linux", "Linux"),
    ("CentOS", "Linux"),
    ("Chrome OS", "ChromeOS"),
    ("Chromecast Android", "Chromecast"),
    ("Chromecast Fuchsia", "Chromecast"),
    ("Chromecast Linux", "Chromecast"),
    ("Debian", "Linux"),
    ("Fedora", "Linux"),
    ("FreeBSD", "FreeBSD"),
    ("Gentoo", "Linux"),
    ("HarmonyOS", "HarmonyOS"),
    ("KaiOS", "KaiOS"),
    ("Kubuntu", "Linux"),
    ("Linux", "Linux"),
    ("Linux Mint", "Linux"),
    ("Mac OS X", "macOS"),
    ("Mandriva", "Linux"),
    ("NetBSD", "NetBSD"),
    ("OpenBSD", "OpenBSD"),
    ("PlayStation", "PlayStation"),
    ("Red Hat", "Linux"),
    ("Slackware", "Linux"),
    ("Solaris", "Solaris"),
    ("Tizen", "Tizen"),
    ("Ubuntu", "Linux"),
    ("WatchOS", "Apple Watch"),
    ("Windows", "Windows"),
    ("Windows Phone", "Windows Phone"),
    ("iOS", "iOS"),
    ("openSUSE", "Linux"),
    ("tvOS", "Apple TV"),
    ("webOS", "webOS"),
];

/// The common name for uap-core's name, in a table that is sorted by the latter.
pub(crate) fn word(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    let at = table.binary_search_by_key(&name, |(name, _)| name).ok()?;
    Some(table[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_words_are_plain_and_short() {
        for table in [BROWSERS, TOOLS, SYSTEMS] {
            assert!(table.is_sorted_by(|(one, _), (other, _)| one < other));
            for (name, expected) in table {
                assert_eq!(word(table, name), Some(*expected));
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" -".contains(&byte);
                assert!(expected.len() <= 24 && expected.bytes().all(plain), "{expected}");
            }
            assert_eq!(word(table, "Evil"), None);
        }
    }
}
