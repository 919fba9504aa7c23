//! What is told of each invocation: an event in the store's log, and lines in the log file, where the settings ask for them.
//!
//! Knows nothing about who reads them.

use crate::action::{Action, Kind};
use crate::{Ending, Session};
use kache_config::LogLevel;
use kache_key::Root;
use kache_os::{Lock, bytes};
use kache_store::{Event, Outcome};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A log file that is met this large becomes `NAME.1`, in the place of the one before.
const LIMIT: u64 = 16 << 20;

impl Session<'_> {
    /// Tells how an action ended, once for each.
    pub(crate) fn log(&self, action: &Action, outcome: Outcome, ending: &Ending) {
        let kind = match outcome {
            Outcome::Passthrough | Outcome::Skipped => "passthrough",
            _ => action.kind.name(),
        };
        let place = |root| action.roots.place(root);
        let of_project = matches!(action.kind, Kind::Cc | Kind::Command);
        let project = || of_project.then(|| place(Root::Workspace).unwrap_or(bytes(&self.invocation.cwd)));
        let build = place(Root::Build).or_else(project);
        let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        let file = |path: &Option<PathBuf>| path.as_deref().map(|p| text(bytes(&kache_os::lexical(p))));
        let unit = &action.unit;
        let why = ending.why.as_ref();
        let logged = self.note(if outcome == Outcome::Error { LogLevel::Warn } else { LogLevel::Info }, &|| {
            let outcome = format!("{outcome:?}").to_lowercase();
            let why = why.map_or(String::new(), |w| format!(": {}: {}", w.reason.explanation().sentence, w.detail));
            format!("{outcome} {kind} {unit}{}", why.trim_end_matches(": "))
        });
        if let Err(error) = logged {
            self.say(&format!("nothing is logged: {error}"));
        }
        let restored = &ending.restored;
        self.store.append_event(&Event {
            v: kache_store::event::VERSION,
            time: Event::now_ms(),
            outcome,
            action: kind.into(),
            name: action.name.clone(),
            unit: unit.clone(),
            source: file(&action.source),
            output: file(&action.output),
            reason: why.map(|w| w.reason.explanation().id.into()),
            detail: why.map(|w| w.detail.clone()).filter(|d| !d.is_empty()),
            stored: ending.stored,
            ms: (self.invocation.started.elapsed().as_micros() as f64) / 1000.0,
            tool_ms: ending.tool_ms,
            dir: text(bytes(&self.invocation.cwd)),
            weak: ending.weak.map(|d| d.hex()),
            key: ending.key.map(|d| d.hex()),
            linked: restored.linked,
            cloned: restored.cloned,
            copied: restored.copied,
            build_dir: build.map(text),
        });
    }

    /// A line for the log file, where the settings ask for one.
    pub(crate) fn note(&self, level: LogLevel, line: &dyn Fn() -> String) -> io::Result<()> {
        if self.settings.log < level {
            return Ok(());
        }
        let file = self.settings.log_file.clone().unwrap_or_else(|| self.settings.cache_dir.join("kache.log"));
        // Paths may hold anything; this is one line.
        let line = line().replace(char::is_control, " ");
        let line = format!("{} [{}] {line}\n", Event::now_ms(), kache_os::process_id());
        kache_os::at(&file, append(&file, line.as_bytes()))
    }
}

/// Adds a line to a log file, in one write.
fn append(file: &Path, line: &[u8]) -> io::Result<()> {
    let mut log = open(file)?;
    if kache_os::fstat(&log)?.size >= LIMIT {
        // Where it can't be moved, it grows.
        let _ = set_aside(file);
        log = open(file)?;
    }
    log.write_all(line)
}

fn open(file: &Path) -> io::Result<File> {
    kache_os::open_append(file).or_else(|_| {
        file.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        kache_os::open_append(file)
    })
}

/// Whoever holds the lock of the very file that lies there may move it: nobody takes the new one for the large one.
fn set_aside(file: &Path) -> io::Result<()> {
    let file = std::fs::canonicalize(file)?;
    let Some(lock) = Lock::try_exclusive(&file)? else { return Ok(()) };
    let (locked, there) = (kache_os::fstat(lock.file())?, kache_os::stat(&file)?);
    if !there.is_file() || !there.same_file(&locked) || there.size < LIMIT {
        return Ok(());
    }
    let mut before = file.clone().into_os_string();
    before.push(".1");
    std::fs::rename(&file, before)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: of many that meet a large file at once one moves it, once, and no line is lost.
    #[test]
    fn a_large_file_is_moved_once() {
        const LINES: usize = 50;
        let dir = std::env::temp_dir().join(format!("kache-log-{}", std::process::id()));
        let (log, before) = (dir.join("deep/log"), dir.join("deep/log.1"));
        for round in 0..20 {
            append(&log, b"").unwrap();
            File::options().write(true).open(&log).unwrap().set_len(LIMIT).unwrap();
            let write = |writer: usize| {
                (0..LINES).for_each(|n| append(&log, format!("{writer} {n}\n").as_bytes()).unwrap());
            };
            std::thread::scope(|scope| (0..8).for_each(|writer| _ = scope.spawn(move || write(writer))));
            let mut text = std::fs::read(&before).unwrap().split_off(LIMIT as usize);
            let small = std::fs::read(&log).unwrap();
            assert!((small.len() as u64) < LIMIT, "round {round}");
            text.extend(small);
            assert_eq!(text.iter().filter(|b| **b == b'\n').count(), 8 * LINES, "round {round}");
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}
