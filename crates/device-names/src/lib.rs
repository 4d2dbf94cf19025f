#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod vocabulary;

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use ua_parser::{os, user_agent};

use vocabulary::word;

/// The number of bytes of a user agent that are read; the rest is ignored.
pub const MAX_USER_AGENT_LEN: usize = 512;

/// The longest text of a [`Name`], in bytes.
pub const MAX_NAME_LEN: usize = 64;

/// A readable name for a program and its system.
///
/// Its words come from a fixed vocabulary, so it contains no text of the client: only letters,
/// digits, spaces and hyphens of ASCII. As text it is at most [`MAX_NAME_LEN`] bytes long.
///
/// ```
/// let name = kvolt_device_names::name("curl/8.14.1").expect("a known program");
/// assert_eq!((name.program(), name.system()), (Some("curl"), None));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name(Words);

/// At least one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Words {
    Program(&'static str),
    System(&'static str),
    Both(&'static str, &'static str),
}

impl Name {
    /// The program, such as `Firefox` or `curl`, if it is known.
    pub fn program(&self) -> Option<&'static str> {
        match self.0 {
            Words::Program(program) | Words::Both(program, _) => Some(program),
            Words::System(_) => None,
        }
    }

    /// The system or the kind of device, such as `Windows` or `iPhone`, if it is known.
    pub fn system(&self) -> Option<&'static str> {
        match self.0 {
            Words::System(system) | Words::Both(_, system) => Some(system),
            Words::Program(_) => None,
        }
    }
}

/// English text: `Firefox on Windows`, `curl`, `iPhone`.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Words::Program(word) | Words::System(word) => f.pad(word),
            Words::Both(program, system) => write!(f, "{program} on {system}"),
        }
    }
}

/// Returns the name of the program that sends this `User-Agent` (RFC 9110, section 10.1.5), and of
/// its system; `None` if neither is known.
///
/// It is the client's own claim: use it in a list of devices, and for no decision.
///
/// The first call of a process takes some 70 milliseconds of a processor, because it compiles the
/// rules. [`prepare`] does that at start-up. Each further call takes some 5 microseconds.
///
/// ```
/// let curl = kvolt_device_names::name("curl/8.14.1").expect("a known program");
/// assert_eq!(curl.to_string(), "curl");
/// assert_eq!(kvolt_device_names::name("EvilBot/1.0"), None);
/// ```
pub fn name(user_agent: &str) -> Option<Name> {
    let rules = RULES.as_ref()?;
    let mut end = user_agent.len().min(MAX_USER_AGENT_LEN);
    while !user_agent.is_char_boundary(end) {
        end -= 1;
    }
    let user_agent = &user_agent[..end];
    let family = rules.browsers.extract(user_agent).map(|found| found.family);
    if let Some(tool) = family.as_ref().and_then(|family| word("tool", family)) {
        return Some(Name(Words::Program(tool)));
    }
    let program = family.and_then(|family| word("browser", &family));
    let system = rules.systems.extract(user_agent).and_then(|found| word("system", &found.os));
    let system = match system {
        Some("iOS") if user_agent.contains("iPhone") => Some("iPhone"),
        Some("iOS") if user_agent.contains("iPad") => Some("iPad"),
        system => system,
    };
    Some(Name(match (program, system) {
        (Some(program), Some(system)) => Words::Both(program, system),
        (Some(program), None) => Words::Program(program),
        (None, Some(system)) => Words::System(system),
        (None, None) => return None,
    }))
}

/// Compiles the rules, unless they are compiled already. Call it at start-up, so that no request
/// waits for it.
///
/// ```
/// std::thread::spawn(kvolt_device_names::prepare);
/// ```
pub fn prepare() {
    LazyLock::force(&RULES);
}

struct Rules {
    browsers: user_agent::Extractor<'static>,
    systems: os::Extractor<'static>,
}

/// `None` if a rule can't be compiled; the tests prove that all can.
static RULES: LazyLock<Option<Rules>> = LazyLock::new(|| {
    let browsers = lines(include_str!("../data/browsers.tsv")).map(|(regex, name)| {
        user_agent::Parser { regex, family_replacement: name, ..Default::default() }
    });
    let systems = lines(include_str!("../data/systems.tsv")).map(|(regex, name)| os::Parser {
        regex,
        os_replacement: name,
        ..Default::default()
    });
    Some(Rules {
        browsers: user_agent::Builder::new().push_all(browsers).ok()?.build().ok()?,
        systems: os::Builder::new().push_all(systems).ok()?.build().ok()?,
    })
});

/// The regular expression of each line, and its replacement for the name, if it has one.
fn lines(
    text: &'static str,
) -> impl Iterator<Item = (Cow<'static, str>, Option<Cow<'static, str>>)> {
    text.lines().filter_map(|line| {
        let (regex, name) = line.split_once('\t')?;
        Some((regex.into(), (!name.is_empty()).then(|| name.into())))
    })
}
