//! What is said when something degraded: one line for a whole build, where its user looks, and one in the log file for each
//! process. Knows nothing about what degraded.

use crate::Session;
use kache_config::LogLevel;
use kache_os::{Process, Stream};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Programs that build, and what they start others through. The uppermost in a row, from our parent upward, is the build.
const BUILDERS: [&str; 7] = ["cargo", "make", "gmake", "ninja", "samu", "cmake", "meson"];
const SHELLS: [&str; 4] = ["sh", "bash", "dash", "busybox"];

/// Where a line goes.
enum Ear {
    /// Our own standard error.
    Ours,
    /// The build's.
    Builders(File),
}

impl Session<'_> {
    /// Says that something degraded; of all that a build's processes have to say, only the first is said.
    pub(crate) fn warn(&self, text: &str) {
        // Paths and values may hold anything; this is one line.
        let text = text.replace(char::is_control, " ");
        let logged = self.note(LogLevel::Warn, &|| text.clone());
        let text = match logged {
            Ok(()) => text,
            Err(error) => format!("{text} (nor can that be logged: {error})"),
        };
        self.say(&text);
    }

    pub(crate) fn say(&self, text: &str) {
        let (build, builds) = build();
        if let Some(ear) = self.ear(build.id, builds)
            && self.is_first(&build)
        {
            let line = format!("kache: warning: {text}\n");
            let _ = match ear {
                Ear::Ours => kache_os::write_stream(Stream::Err, line.as_bytes()),
                // Its progress stands in that line of the terminal; it will draw it again.
                Ear::Builders(mut file) if kache_os::is_terminal(&file) => {
                    file.write_all(format!("\r\x1b[K{line}").as_bytes())
                }
                Ear::Builders(mut file) => file.write_all(line.as_bytes()),
            };
        }
    }

    /// The build's own standard error where it can be had: cargo keeps what compilers say and says it again in every build
    /// until the unit is compiled anew, and configure scripts take it for an answer.
    fn ear(&self, build: u32, builds: bool) -> Option<Ear> {
        let theirs = if builds { kache_os::stderr_of(build) } else { None };
        let ours = || self.heard || kache_os::is_terminal(std::io::stderr()) || builds && kache_os::same_stderr(build);
        theirs.map(Ear::Builders).or_else(|| ours().then_some(Ear::Ours))
    }

    /// Whoever can make the mark that is named after the build.
    fn is_first(&self, build: &Process) -> bool {
        let name = format!("kache-warned-{}-{}", build.id, build.started);
        let store = self.store.temp_dir();
        // A cache that is switched off writes nothing.
        let store = Some(store).filter(|dir| !self.settings.disabled && std::fs::create_dir_all(dir).is_ok());
        let temp = self.invocation.temp();
        let made = |dir: &Path| match kache_os::create_new(&dir.join(&name), 0o600) {
            Ok(_) => Some(true),
            Err(e) => Some(false).filter(|_| e.kind() == ErrorKind::AlreadyExists),
        };
        store.as_deref().into_iter().chain([temp]).find_map(made).unwrap_or(true)
    }
}

/// The process this build is all below, and whether it is one that builds; else the command that a person started.
fn build() -> (Process, bool) {
    let parent = kache_os::parent_process_id();
    let builds = |p: &Process| BUILDERS.contains(&p.name.as_str());
    let upward = std::iter::successors(kache_os::process(parent), |p| kache_os::process(p.parent));
    let found = upward.take_while(|p| builds(p) || SHELLS.contains(&p.name.as_str())).filter(builds).last();
    if let Some(build) = found {
        return (build, true);
    }
    let leader = kache_os::process(parent).map_or(parent, |p| p.leader);
    // It may have ended before what it started.
    let gone = Process { id: leader, parent: 0, leader, name: String::new(), started: 0 };
    (kache_os::process(leader).unwrap_or(gone), false)
}
