//! How a command ends. Knows nothing about commands.

use crate::view::{BAD, View};
use std::io;
use std::io::Write as _;

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
    /// Says what happened on standard error and gives the exit code.
    pub fn tell(self, view: &mut View) -> u8 {
        let code = match self {
            Fail::Usage(_) => 2,
            Fail::Failed(_) => 1,
            Fail::Unheard => return 0,
            Fail::Interrupted => 130,
        };
        let _ = writeln!(view.err, "{BAD}error:{BAD:#} {self}");
        code
    }
}
