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

/// A command whose keys all lie in one part.
pub(crate) struct Call {
    command: Cmd,
    script: Option<&'static Script>,
    part: u16,
    writes: bool,
}

impl Call {
    /// A plain command: its name and a key.
    pub(crate) fn plain(command: &str, part: u16, name: &str) -> Self {
        let mut plain = redis::cmd(command);
        plain.arg(name);
        Self { command: plain, script: None, part, writes: false }
    }

    /// A call of a script.
    pub(crate) fn script(script: &'static Script, part: u16, keys: &[String]) -> Self {
        let mut command = redis::cmd("EVALSHA");
        command.arg(script.hash()).arg(keys.len()).arg(keys);
        Self { command, script: Some(script), part, writes: false }
    }

    /// The same, for what waits for replicas where that is configured.
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

    pub(crate) const fn part(&self) -> u16 {
        self.part
    }

    pub(crate) const fn is_write(&self) -> bool {
        self.writes
    }

    pub(crate) const fn is_script(&self) -> bool {
        self.script.is_some()
    }

    pub(crate) const fn command(&self) -> &Cmd {
        &self.command
    }

    /// The same with the script itself, for a server that does not have it yet.
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
