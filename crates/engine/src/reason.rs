//! Why something was not served or not stored: one enum, one table.

use std::fmt;

/// Why kache steps aside, or keeps a result to itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    Disabled,
    Excluded,
    UnknownTool,
    ArgFile,
    Stdin,
    Query,
    NoOutputDir,
    OutputFile,
    UnknownFlag,
    Link,
    MacroUnknown,
    SearchedCrate,
    ToolFailed,
    Editing,
    Blind,
    LeftRunning,
    Network,
    Clock,
    ChangedInput,
    TooNew,
    WroteElsewhere,
    Leftovers,
    SpecialInput,
    SpecialOutput,
    StoreFailed,
    LongStream,
    NotStarted,
}

/// What a person needs to know of a reason.
pub struct Explanation {
    pub id: &'static str,
    pub sentence: &'static str,
}

impl Reason {
    /// Every reason, in the order of the declaration.
    pub const ALL: [Reason; 27] = [
        Reason::Disabled,
        Reason::Excluded,
        Reason::UnknownTool,
        Reason::ArgFile,
        Reason::Stdin,
        Reason::Query,
        Reason::NoOutputDir,
        Reason::OutputFile,
        Reason::UnknownFlag,
        Reason::Link,
        Reason::MacroUnknown,
        Reason::SearchedCrate,
        Reason::ToolFailed,
        Reason::Editing,
        Reason::Blind,
        Reason::LeftRunning,
        Reason::Network,
        Reason::Clock,
        Reason::ChangedInput,
        Reason::TooNew,
        Reason::WroteElsewhere,
        Reason::Leftovers,
        Reason::SpecialInput,
        Reason::SpecialOutput,
        Reason::StoreFailed,
        Reason::LongStream,
        Reason::NotStarted,
    ];

    /// The reason of this identifier.
    pub fn of_id(id: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|r| r.explanation().id == id)
    }

    /// Stable identifier and sentence.
    pub fn explanation(&self) -> Explanation {
        let (id, sentence) = match self {
            Reason::Disabled => ("disabled", "kache is switched off (KACHE_DISABLED)"),
            Reason::Excluded => ("excluded", "it is excluded by a setting (cache.exclude)"),
            Reason::UnknownTool => ("unknown-tool", "the program is none that kache knows"),
            Reason::ArgFile => ("argument-file", "arguments come from a file (@path)"),
            Reason::Stdin => ("stdin", "the source comes from standard input"),
            Reason::Query => ("query", "the tool is only asked about itself"),
            Reason::NoOutputDir => ("no-output-dir", "nobody says where outputs go, so this is not what cargo runs"),
            Reason::OutputFile => ("output-file", "the output is named with -o"),
            Reason::UnknownFlag => ("unknown-flag", "without observation only known flags are cached"),
            Reason::Link => ("link", "without observation the inputs of a link are not known"),
            Reason::MacroUnknown => ("macro", "without observation the reads of procedural macros are not known"),
            Reason::SearchedCrate => {
                ("searched-crate", "without observation a crate that is only searched for (-L) is not known")
            }
            Reason::ToolFailed => ("tool-failed", "the tool failed, and failures are never stored"),
            Reason::Editing => {
                ("editing", "the unit is being edited in this target directory; intermediate results are not stored")
            }
            Reason::Blind => ("blind", "a part of the action could not be observed"),
            Reason::LeftRunning => ("left-running", "the action ended before all that it had started"),
            Reason::Network => ("network", "the action contacted the network"),
            Reason::Clock => ("clock", "the action read the wall clock"),
            Reason::ChangedInput => ("changed-input", "an input changed while the action ran"),
            Reason::TooNew => ("too-new", "an input changed within a clock tick of the start"),
            Reason::WroteElsewhere => ("wrote-elsewhere", "the action wrote outside of its output directory"),
            Reason::Leftovers => ("leftovers", "OUT_DIR held files of an earlier run"),
            Reason::SpecialInput => (
                "special-input",
                "an input is a stream, or more than its path and content counts (a time, a second name)",
            ),
            Reason::SpecialOutput => ("special-output", "an output is neither file, directory nor symbolic link"),
            Reason::StoreFailed => ("store-failed", "the result could not be written to the cache"),
            Reason::LongStream => ("long-stream", "what the tool printed is too long to store"),
            Reason::NotStarted => ("not-started", "the tool could not be started"),
        };
        Explanation { id, sentence }
    }
}

/// A reason with what it is about: a flag, a path, an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    pub reason: Reason,
    pub detail: String,
}

impl Why {
    pub fn new(reason: Reason, detail: impl fmt::Display) -> Why {
        Why { reason, detail: detail.to_string() }
    }
}

impl From<Reason> for Why {
    fn from(reason: Reason) -> Why {
        Why { reason, detail: String::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: no two reasons share an identifier, and each is found by its own.
    #[test]
    fn identifiers_are_unique() {
        for reason in Reason::ALL {
            assert_eq!(Reason::of_id(reason.explanation().id), Some(reason));
        }
    }
}
