//! The scripts, and the calls of them.

use std::sync::OnceLock;

use redis::{Arg, Cmd, ToRedisArgs};

/// A script with what it needs before it.
pub(crate) struct Script {
    source: &'static str,
    hash: OnceLock<String>,
}

macro_rules! scripts {
    ($($name:ident = $($file:literal)+;)+) => {
        $(
            pub(crate) static $name: Script = Script {
                source: concat!($(include_str!(concat!("scripts/", $file, ".lua")), "\n"),+),
                hash: OnceLock::new(),
            };
        )+
    };
}

scripts! {
    CHECK = "check";
    CLAIM = "claim";
    FORGET = "forget";
    GET = "get_first" "common" "get";
    INSERT = "common" "owners" "insert";
    LIST = "common" "owners" "list";
    MARK = "common" "mark";
    PEEK = "common" "peek";
    PRUNE = "common" "owners" "prune";
    REMOVE = "common" "remove";
    REMOVE_OWNER = "common" "owners" "remove_owner";
    RENAME = "common" "owners" "rename";
    REPLACE = "common" "replace";
    RETIRE = "common" "retire";
    UNLINK = "unlink";
}

impl Script {
    fn hash(&self) -> &str {
        self.hash.get_or_init(|| String::from(redis::Script::new(self.source).get_hash()))
    }
}

/// A call of a script, whose keys all lie in one part.
pub(crate) struct Call {
    script: &'static Script,
    part: u16,
    writes: bool,
    command: Cmd,
}

impl Call {
    /// A call that may be answered before any replica knows of it.
    pub(crate) fn read(script: &'static Script, part: u16, keys: &[String]) -> Self {
        let mut command = redis::cmd("EVALSHA");
        command.arg(script.hash()).arg(keys.len()).arg(keys);
        Self { script, part, writes: false, command }
    }

    /// A call that changes something, and waits for replicas where that is configured.
    pub(crate) fn write(script: &'static Script, part: u16, keys: &[String]) -> Self {
        Self { writes: true, ..Self::read(script, part, keys) }
    }

    #[must_use]
    pub(crate) fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) const fn part(&self) -> u16 {
        self.part
    }

    pub(crate) const fn writes(&self) -> bool {
        self.writes
    }

    pub(crate) const fn command(&self) -> &Cmd {
        &self.command
    }

    /// The same with the script itself, for a server that does not have it yet.
    pub(crate) fn with_source(&self) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(self.script.source);
        for arg in self.command.args_iter().skip(2) {
            if let Arg::Simple(bytes) = arg {
                command.arg(bytes);
            }
        }
        command
    }
}
