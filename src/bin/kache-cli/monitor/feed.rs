//! What goes on, brought to the model: the event log read on from where it was, the processes at work, surveys of the
//! store. Threads of their own, so that a slow disk never holds up a key.

use super::Heard;
use super::model::{Held, News, Running, Survey};
use kache_config::Settings;
use kache_store::event::Tail;
use kache_store::{Data, Event, OutputKind, Store};
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender};
use std::time::{Duration, Instant};

/// How often the log and the processes are looked at.
const LOOK: Duration = Duration::from_millis(200);

/// How often the store is surveyed at most, and how many times the survey's own time lies between two.
const SURVEY: Duration = Duration::from_secs(5);
const SURVEY_SHARE: u32 = 20;

/// Events handed over at once.
const BATCH: usize = 2048;

pub struct Feed {
    pub store: Store,
    pub settings_max_size: u64,
}

impl Feed {
    pub fn new(settings: &Settings) -> Feed {
        Feed { store: Store::new(&settings.cache_dir, None), settings_max_size: settings.max_size }
    }

    /// Follows the log and the processes until nobody listens.
    pub fn follow(&self, since: u64, to: &SyncSender<Heard>) {
        let mut tail = Tail::since(since);
        let locks = self.store.root().join("locks");
        let (mut caught_up, mut at_work, mut told) = (false, Vec::new(), String::new());
        loop {
            let mut batch = Vec::new();
            let mut deaf = false;
            let read = tail.read(&self.store, |event| {
                batch.push(event);
                // Batches of a log that was begun anew come behind the word that it was; those are small.
                if !caught_up && batch.len() == BATCH {
                    deaf |= to.send(Heard::News(News::Events(std::mem::take(&mut batch)))).is_err();
                }
            });
            let mut say = |what: News| deaf |= to.send(Heard::News(what)).is_err();
            match read {
                Ok(true) => {}
                Ok(false) => say(News::Forget),
                Err(e) if e.to_string() != told => {
                    told = e.to_string();
                    say(News::Trouble(format!("the event log: {e}")));
                }
                Err(_) => {}
            }
            if !batch.is_empty() {
                say(News::Events(batch));
            }
            if !caught_up {
                caught_up = true;
                say(News::CaughtUp);
            }
            let holders = kache_os::holders(&locks);
            let now: Vec<Running> = holders.iter().filter_map(|h| running(h.pid, &h.args, h.age)).collect();
            if now != at_work {
                say(News::Running(now.clone()));
                at_work = now;
            }
            if deaf {
                return;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Surveys the store whenever asked, but not too often. Each request names the build directories to look for.
    pub fn survey(&self, requests: &Receiver<Vec<String>>, to: &SyncSender<Heard>) {
        while let Ok(mut dirs) = requests.recv() {
            dirs = requests.try_iter().last().unwrap_or(dirs);
            let start = Instant::now();
            let mut survey = Survey {
                usage: self.store.usage(),
                max_size: self.settings_max_size,
                entries: HashMap::new(),
                gone: dirs.into_iter().filter(|dir| !Path::new(dir).is_dir()).collect(),
            };
            self.store.each_entry(|key, used, entry| {
                let outputs = entry.outputs.iter().map(|o| match &o.kind {
                    OutputKind::File { data, .. } | OutputKind::Text { data, .. } => length(data),
                    OutputKind::Symlink(_) | OutputKind::Dir => 0,
                });
                let bytes = outputs.chain([length(&entry.stdout), length(&entry.stderr)]);
                let held = Held {
                    bytes: bytes.fold(0, u64::saturating_add),
                    outputs: u32::try_from(entry.outputs.len()).unwrap_or(u32::MAX),
                    tool_ms: entry.tool_ms,
                    used,
                };
                survey.entries.insert(key, held);
            });
            if to.send(Heard::News(News::Survey(survey))).is_err() {
                return;
            }
            std::thread::sleep(SURVEY.max(start.elapsed() * SURVEY_SHARE));
        }
    }
}

fn length(data: &Data) -> u64 {
    match data {
        Data::Inline(bytes) => bytes.len() as u64,
        Data::Blob { size, .. } => *size,
    }
}

/// What a kache process works at, from how it was called.
fn running(pid: u32, args: &[OsString], age: Duration) -> Option<Running> {
    let text = |arg: &OsString| arg.to_string_lossy().into_owned();
    let after = |flag: &str| args.iter().skip_while(|a| *a != flag).nth(1).map(text);
    let file = |arg: &OsString| Path::new(arg).file_name().map(|n| n.to_string_lossy().into_owned());
    if args.get(1).is_some_and(|a| a == kache_engine::BUILD_SCRIPT_ROLE) {
        // target/debug/build/NAME-HASH/build_script_build.real
        let dir = args.get(2).map(PathBuf::from)?;
        let name = dir.parent()?.file_name()?.to_string_lossy().into_owned();
        return Some(Running { pid, action: "build script", name, age });
    }
    if let Some(name) = after("--crate-name") {
        return Some(Running { pid, action: "rustc", name, age });
    }
    let source = args.iter().rev().find(|a| kind_of_source(a));
    let output = || after("-o").map(OsString::from);
    let name = source.cloned().or_else(output).as_ref().and_then(file).or_else(|| args.get(1).and_then(file))?;
    Some(Running { pid, action: "cc", name, age })
}

fn kind_of_source(arg: &OsString) -> bool {
    const SOURCES: [&str; 12] = ["c", "cc", "cpp", "cxx", "c++", "C", "m", "mm", "s", "S", "i", "ii"];
    Path::new(arg).extension().is_some_and(|e| SOURCES.iter().any(|s| e == *s))
}

/// Asks for a survey when something was stored or removed.
pub fn changes_store(news: &News) -> bool {
    match news {
        News::Events(events) => events.iter().any(|e: &Event| e.stored || e.build_dir.is_some()),
        News::Forget | News::CaughtUp => true,
        News::Running(_) | News::Survey(_) | News::Trouble(_) => false,
    }
}

/// Requests for surveys, and who answers them.
pub type Requests = Sender<Vec<String>>;
