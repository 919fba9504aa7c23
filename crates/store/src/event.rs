//! Events: one line of JSON per invocation, appended in one write. Everything people see is read from here.
//!
//! A file per day (UTC). Lines that can't be read (torn by a full disk, written by a later version) are skipped.

use crate::Store;
use kache_key::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// Version of the line format; readers skip others.
pub const VERSION: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, PartialOrd, Ord, Hash)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Hit,
    /// Another process compiled the same at that moment; its result was taken.
    Dup,
    Miss,
    Passthrough,
    Skipped,
    Error,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    pub v: u32,
    /// Milliseconds since the epoch, at the end of the invocation.
    pub time: u64,
    pub outcome: Outcome,
    /// `rustc`, `clippy`, `build-script`, `query`, …
    pub action: String,
    /// Crate or package.
    pub name: String,
    /// Tells units of one crate apart: crate name and extra file name; of a build script, the directory cargo gave it;
    /// of C, the output's path within its project.
    pub unit: String,
    /// The main source and the output that was named, as absolute paths.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub output: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
    /// Of a miss: whether the result was stored.
    #[serde(default)]
    pub stored: bool,
    /// Wall time of the invocation, milliseconds.
    pub ms: f64,
    /// Wall time of the tool, now or when it was recorded.
    pub tool_ms: u64,
    pub dir: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub weak: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<String>,
    /// Bytes restored by method.
    #[serde(default)]
    pub linked: u64,
    #[serde(default)]
    pub cloned: u64,
    #[serde(default)]
    pub copied: u64,
    /// The build directory, of C and of commands else the project's top: tells builds apart.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub build_dir: Option<String>,
}

impl Event {
    fn of_line(line: &[u8]) -> Option<Event> {
        let mut event = serde_json::from_slice::<Event>(line).ok().filter(|e| e.v == VERSION)?;
        let e = &mut event;
        let optional = [&mut e.source, &mut e.output, &mut e.reason, &mut e.detail, &mut e.build_dir];
        let texts = [&mut e.action, &mut e.name, &mut e.unit, &mut e.dir];
        texts.into_iter().chain(optional.into_iter().flatten()).for_each(tame);
        Some(event)
    }

    pub fn now_ms() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
    }
}

/// Names and paths may hold anything, and events are shown on terminals: what commands one is written out.
fn tame(text: &mut String) {
    // All control characters of UTF-8 have such a byte.
    if text.bytes().any(|b| b < 0x20 || b == 0x7f || b == 0xc2) {
        let escaped = |c: char| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() };
        *text = text.chars().map(escaped).collect();
    }
}

pub const DAY_MS: u64 = 86_400_000;

/// Longer lines are no events.
const LINE_LIMIT: u64 = 1 << 20;

impl Store {
    fn event_file(&self, time: u64) -> PathBuf {
        self.root().join("events").join(format!("{:06}.jsonl", time / DAY_MS))
    }

    /// Appends an event. Losing one loses a line of statistics, never a build: errors are dropped.
    pub fn append_event(&self, event: &Event) {
        let Ok(mut line) = serde_json::to_vec(event) else { return };
        line.push(b'\n');
        let path = self.event_file(event.time);
        let _ = self.making_parent(&path, || kache_os::open_append(&path).and_then(|mut f| f.write_all(&line)));
    }

    /// The days of the log, oldest first.
    pub fn event_days(&self) -> std::io::Result<Vec<Day>> {
        let dir = self.root().join("events");
        let list = match std::fs::read_dir(&dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => kache_os::at(&dir, other)?,
        };
        let day = |path: PathBuf| {
            let number = path.file_name()?.to_str()?.strip_suffix(".jsonl")?.parse().ok()?;
            let meta = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
            Some(Day { number, size: meta.len(), path })
        };
        let mut days: Vec<_> = list.filter_map(|e| day(e.ok()?.path())).collect();
        days.sort_by_key(|d| d.number);
        Ok(days)
    }

    /// All events since `since` (milliseconds), oldest first, handed over one by one.
    pub fn each_event(&self, since: u64, take: impl FnMut(Event)) -> std::io::Result<()> {
        Tail::since(since).read(self, take).map(|_| ())
    }
}

/// A place in the event log, to read on from when more was written.
pub struct Tail {
    since: u64,
    /// How far each day was read: always to the end of a line.
    places: BTreeMap<u64, u64>,
}

impl Tail {
    /// Before the first event at or after `since` (milliseconds).
    pub fn since(since: u64) -> Tail {
        Tail { since, places: BTreeMap::new() }
    }

    /// Hands over what came since the last call, oldest first. `false`: the log was begun anew since then, and what is
    /// handed over is all of it.
    pub fn read(&mut self, store: &Store, mut take: impl FnMut(Event)) -> io::Result<bool> {
        let mut days = store.event_days()?;
        days.retain(|day| day.number >= self.since / DAY_MS);
        // Housekeeping removes the oldest file; the newest one is gone, or shorter, only after a purge.
        let newest = self.places.iter().next_back();
        let goes_on = newest.is_none_or(|(number, read)| days.iter().any(|d| d.number == *number && d.size >= *read));
        if !goes_on {
            self.places.clear();
        }
        for day in days {
            let read = self.places.entry(day.number).or_default();
            if day.size > *read {
                let since = self.since;
                *read = day.read(*read, u64::MAX, |_, event| {
                    if event.time >= since {
                        take(event);
                    }
                })?;
            }
        }
        Ok(goes_on)
    }
}

/// One file of the log.
pub struct Day {
    /// Since 1970, UTC.
    pub number: u64,
    pub path: PathBuf,
    /// Bytes in it when it was looked for.
    pub size: u64,
}

impl Day {
    /// Hands over the events of the lines that begin in `from..to`, each with its place, and returns where it stopped:
    /// a last line without its end is still being written.
    pub fn read(&self, from: u64, to: u64, mut take: impl FnMut(Range<u64>, Event)) -> std::io::Result<u64> {
        let mut file = kache_os::at(&self.path, std::fs::File::open(&self.path))?;
        file.seek(SeekFrom::Start(from))?;
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let (mut at, mut line, mut part) = (from, Vec::new(), 0);
        while at < to {
            let got = (&mut reader).take(LINE_LIMIT).read_until(b'\n', &mut line)? as u64;
            part += got;
            if got == 0 {
                break;
            }
            if line.ends_with(b"\n") {
                // Of a line that is too long only the end is left.
                if let Some(event) = if part <= LINE_LIMIT { Event::of_line(&line) } else { None } {
                    take(at..at + part, event);
                }
                at += part;
                part = 0;
                line.clear();
            } else if part >= LINE_LIMIT {
                line.clear();
            }
        }
        Ok(at)
    }

    /// The event of the line at this place, if it is (still) there.
    pub fn line(file: &std::fs::File, at: &Range<u64>) -> Option<Event> {
        let mut line = vec![0; usize::try_from(at.end.checked_sub(at.start)?.min(LINE_LIMIT)).ok()?];
        kache_os::read_at(file, &mut line, at.start).ok()?;
        Event::of_line(&line)
    }

    /// Tells whether the log before `to` is the one that was read: lines bear times.
    pub fn tail(&self, to: u64) -> std::io::Result<Digest> {
        let length = to.min(4096);
        let mut tail = vec![0; length as usize];
        let file = kache_os::at(&self.path, std::fs::File::open(&self.path))?;
        kache_os::read_at(&file, &mut tail, to - length)?;
        Ok(Digest::of(&tail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str) -> Event {
        let text = format!(
            r#"{{"v":1,"time":86400500,"outcome":"hit","action":"rustc","name":"{name}","unit":"u","ms":1,"tool_ms":2,"dir":"/"}}"#
        );
        serde_json::from_str(&text).expect("an event")
    }

    fn names(tail: &mut Tail, store: &Store) -> (bool, Vec<String>) {
        let mut names = Vec::new();
        let goes_on = tail.read(store, |e| names.push(e.name)).expect("the log");
        (goes_on, names)
    }

    /// Guards: nothing is handed over twice, an unfinished line waits for its end, noise is skipped, a purge is
    /// noticed.
    #[test]
    fn tails() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::new(dir.path(), None);
        let mut tail = Tail::since(0);
        assert_eq!(names(&mut tail, &store), (true, vec![]));
        store.append_event(&event("a"));
        store.append_event(&event("b"));
        assert_eq!(names(&mut tail, &store), (true, vec!["a".into(), "b".into()]));
        assert_eq!(names(&mut tail, &store), (true, vec![]));
        let path = store.event_file(86_400_500);
        let append = |data: &[u8]| {
            kache_os::open_append(&path).and_then(|mut f| f.write_all(data)).expect("append");
        };
        let line = serde_json::to_vec(&event("c")).expect("a line");
        append(&line[..10]);
        assert_eq!(names(&mut tail, &store), (true, vec![]));
        append(&line[10..]);
        append(b"\nnoise\n");
        append(&vec![b'x'; LINE_LIMIT as usize + 5]);
        append(b"\n");
        store.append_event(&event("d"));
        assert_eq!(names(&mut tail, &store), (true, vec!["c".into(), "d".into()]));
        store.purge(|_| ()).expect("purge");
        store.append_event(&event("e"));
        assert_eq!(names(&mut tail, &store), (false, vec!["e".into()]));
        assert_eq!(names(&mut Tail::since(86_400_501), &store), (true, vec![]));
    }
}
