//! Events: one line of JSON per invocation, appended in one write. Everything people see is read from here.
//!
//! A file per day (UTC). Lines that can't be read (torn by a full disk, written by a later version) are skipped.

use crate::Store;
use serde::{Deserialize, Serialize};
use std::io::Write;
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
    /// Tells units of one crate apart: crate name and extra file name; of a build script, the directory cargo gave it.
    pub unit: String,
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
    /// The build directory, when the action has one: tells builds apart.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub build_dir: Option<String>,
}

impl Event {
    pub fn now_ms() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
    }
}

const DAY_MS: u64 = 86_400_000;

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

    /// All events since `since` (milliseconds), oldest first, handed over one by one.
    pub fn each_event(&self, since: u64, mut take: impl FnMut(Event)) -> std::io::Result<()> {
        use std::io::{BufRead, BufReader};
        let dir = self.root().join("events");
        let mut files: Vec<_> = match std::fs::read_dir(&dir) {
            Ok(list) => list.filter_map(|e| Some(e.ok()?.path())).collect(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return kache_os::at(&dir, Err(e)),
        };
        files.sort();
        files.retain(|p| p.extension().is_some_and(|e| e == "jsonl") && *p >= self.event_file(since));
        for path in files {
            let mut reader = BufReader::new(kache_os::at(&path, std::fs::File::open(&path))?);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line)? > 0 {
                match serde_json::from_slice::<Event>(&line) {
                    Ok(event) if event.v == VERSION && event.time >= since => take(event),
                    _ => {}
                }
                line.clear();
            }
        }
        Ok(())
    }
}
