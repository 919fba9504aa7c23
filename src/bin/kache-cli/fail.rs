//! How a command ends. Knows nothing about commands.

use crate::style::BAD;
use std::io;

/// What the exit codes of each command mean, for its help and its manual page. An interrupted one ends alike everywhere.
pub const CODES: [(&str, &str); 18] = [
    ("init", "0 done or nothing to do, 1 failed (with --check: something is to do), 2 wrong usage, or nobody to ask"),
    (
        "try",
        "0 as it should be, 1 a phase restored nothing, a finished build compiled again, or a build failed, 2 wrong usage",
    ),
    ("stats", "0 shown, 1 the cache can't be read, 2 wrong usage"),
    ("report", "0 told, 1 the cache can't be read or the file can't be written, 2 wrong usage"),
    ("list", "0 listed, 1 nothing of that name is stored, or the cache can't be read, 2 wrong usage"),
    ("explain", "0 explained, or nothing missed, 1 nothing is called so, or the cache can't be read, 2 wrong usage"),
    ("show", "0 shown, 1 there is no such key (any longer) or more than one, 2 it is no key"),
    ("monitor", "0 left, 1 the cache can't be read, 2 there is no terminal to draw on"),
    ("doctor", "0 nothing wrong (there may be notes), 1 a problem was found, 2 wrong usage"),
    ("gc", "0 done, or another gc is at work, 1 the cache can't be read or changed, 2 wrong usage"),
    (
        "purge",
        "0 done or nothing to do, 1 nothing is called so, or it can't be removed, 2 wrong usage, or nobody to ask",
    ),
    ("clean", "0 done or nothing to do, 1 something can't be removed, 2 wrong usage, or nobody to ask"),
    ("run", "those of the command, 2 wrong usage, 127 there is no such command"),
    ("shims", "0 the links are there, 1 something else is in their place, or they can't be made, 2 wrong usage"),
    ("config", "0 fine, 1 a file can't be read or written, 2 no such setting, or not a value of it"),
    ("completions", "0 printed, 2 no such shell"),
    ("man", "0 written, 1 the directory can't be written, 2 wrong usage"),
    ("uninit", "0 done or nothing to do, 1 failed, 2 wrong usage, or nobody to ask"),
];

/// A command that did what it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    Fine,
    /// It looked, and what it found needs someone.
    ProblemFound,
}

impl Done {
    pub fn when(fine: bool) -> Done {
        if fine { Done::Fine } else { Done::ProblemFound }
    }

    pub fn code(self) -> u8 {
        match self {
            Done::Fine => 0,
            Done::ProblemFound => 1,
        }
    }
}

/// A command that could not.
#[derive(Debug)]
pub enum Fail {
    /// The arguments can't be what was meant.
    Usage(String),
    Failed(String),
    /// The reader of our output went away: nobody is left to tell.
    Unheard,
    Interrupted,
}

impl From<io::Error> for Fail {
    fn from(e: io::Error) -> Fail {
        match e.kind() {
            io::ErrorKind::BrokenPipe => Fail::Unheard,
            _ => Fail::Failed(e.to_string()),
        }
    }
}

impl From<serde_json::Error> for Fail {
    fn from(e: serde_json::Error) -> Fail {
        Fail::from(io::Error::from(e))
    }
}

impl std::fmt::Display for Fail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Fail::Usage(text) | Fail::Failed(text) => text,
            Fail::Unheard => "nobody listens",
            Fail::Interrupted => "interrupted",
        })
    }
}

impl Fail {
    /// Says what happened to `err`, standard error, and gives the exit code.
    pub fn tell(self, err: &mut impl io::Write) -> u8 {
        let code = match self {
            Fail::Usage(_) => 2,
            Fail::Failed(_) => 1,
            Fail::Unheard => return 0,
            Fail::Interrupted => 130,
        };
        let _ = writeln!(err, "{BAD}error:{BAD:#} {self}");
        code
    }
}
