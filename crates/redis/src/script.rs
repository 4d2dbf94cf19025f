//! Calls: scripts and plain commands.

use std::sync::OnceLock;

use redis::{Arg, Cmd, ToRedisArgs};

/// A script, after the functions that all scripts share.
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
    CHECK = "common" "check";
    INSERT = "common" "insert";
    LIST = "common" "list";
    MEMBERS = "common" "members";
    REMOVE = "common" "remove";
    REPLACE = "common" "replace";
    TOUCH = "common" "touch";
}

impl Script {
    fn hash(&self) -> &str {
        self.hash.get_or_init(|| String::from(redis::Script::new(self.source).get_hash()))
    }
}

/// A command whose keys are all in one part.
pub(crate) struct Call {
    pub(crate) command: Cmd,
    pub(crate) script: Option<&'static Script>,
    pub(crate) part: u16,
    pub(crate) writes: bool,
}

impl Call {
    /// A plain command: its name and a key.
    pub(crate) fn plain(command: &str, part: u16, name: &str) -> Self {
        let mut plain = redis::cmd(command);
        plain.arg(name);
        Self { command: plain, script: None, part, writes: false }
    }

    /// Runs a script.
    pub(crate) fn script(script: &'static Script, part: u16, keys: &[String]) -> Self {
        let mut command = redis::cmd("EVALSHA");
        command.arg(script.hash()).arg(keys.len()).arg(keys);
        Self { command, script: Some(script), part, writes: false }
    }

    /// Makes the call wait for replicas, if that is configured.
    #[must_use]
    pub(crate) fn writes(mut self) -> Self {
        self.writes = true;
        self
    }

    #[must_use]
    pub(crate) fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        self.command.arg(arg);
        self
    }

    /// The command with the script itself, for a server that does not have it yet.
    pub(crate) fn with_source(&self) -> Option<Cmd> {
        let mut command = redis::cmd("EVAL");
        command.arg(self.script?.source);
        for arg in self.command.args_iter().skip(2) {
            if let Arg::Simple(bytes) = arg {
                command.arg(bytes);
            }
        }
        Some(command)
    }
}
