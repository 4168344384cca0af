//! What is sent to Redis: scripts, each known by its hash.

use std::{fmt, sync::LazyLock, time::Duration};

use redis::{Cmd, cmd};

/// A script that every server keeps by its hash once it has seen it.
pub(super) struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }
}

macro_rules! script {
    ($name:ident, $what:literal, $($part:literal),+) => {
        #[doc = $what]
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!($(include_str!($part), "\n"),+)));
    };
}

script!(BEGIN, "From when on a place's memory is whole.", "scripts/begin.lua");
script!(
    REDEEM,
    "Redeems an ID token.",
    "scripts/memory.lua",
    "scripts/gcra.lua",
    "scripts/redeem.lua"
);
script!(
    SPEND_LIMITS,
    "Spends limits.",
    "scripts/now.lua",
    "scripts/gcra.lua",
    "scripts/spend_limits.lua"
);
script!(
    GIVE_BACK,
    "Gives back what was spent of limits.",
    "scripts/now.lua",
    "scripts/give_back.lua"
);
script!(SPEND_USES, "Spends uses.", "scripts/memory.lua", "scripts/spend_uses.lua");
script!(REVOKE, "Revokes a token.", "scripts/memory.lua", "scripts/revoke.lua");

script!(LOOK_ON_SHELF, "What lies on the shelf.", "scripts/now.lua", "scripts/look_on_shelf.lua");
script!(RELEASE, "Gives a claim back.", "scripts/now.lua", "scripts/release.lua");

/// One command, before it is known which server it goes to.
pub(super) enum Request {
    /// Reads one value.
    Get(String),
    /// Writes one value that no mark is about, for so long.
    Set {
        /// Its key.
        key: String,
        /// The value.
        value: Vec<u8>,
        /// When Redis forgets it.
        keep: Duration,
        /// Whether a value that is there stays.
        unless_there: bool,
    },
    /// Runs a script.
    Run {
        /// Which.
        script: &'static Script,
        /// Its keys, all of one place.
        keys: Vec<String>,
        /// Its arguments, but for the server process, which comes first.
        arguments: Vec<String>,
        /// Whether it counts only once replicas have what it wrote.
        lasting: bool,
    },
}

/// Whether the server is known to have the script.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// By its hash.
    Short,
    /// By its text: the server hasn't seen it yet.
    Whole,
}

impl Request {
    /// The command for a server process.
    pub(super) fn command(&self, form: Form, run: &str) -> Cmd {
        match self {
            Self::Get(key) => {
                let mut get = cmd("GET");
                get.arg(key);
                get
            }
            Self::Set { key, value, keep, unless_there } => {
                let mut set = cmd("SET");
                set.arg(key).arg(value).arg("PX").arg(keep.as_millis().max(1).to_string());
                if *unless_there {
                    set.arg("NX");
                }
                set
            }
            Self::Run { script, keys, arguments, .. } => {
                let (name, known_by) = match form {
                    Form::Short => ("EVALSHA", script.hash.as_str()),
                    Form::Whole => ("EVAL", script.text),
                };
                let mut eval = cmd(name);
                eval.arg(known_by).arg(keys.len()).arg(keys).arg(run).arg(arguments);
                eval
            }
        }
    }

    pub(super) const fn lasting(&self) -> bool {
        matches!(self, Self::Run { lasting: true, .. })
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Request(…)")
    }
}
