//! What goes on, brought to the model: the event log read on from where it was, the processes at work, surveys of the
//! store. Threads of their own, so that a slow disk never holds up a key.

use super::Heard;
use super::model::{Held, News, Running, Survey};
use crate::fail::Fail;
use crate::index::{Index, Sort};
use crate::view::{Paper, View};
use kache_config::Settings;
use kache_engine::{Asked, BUILD_SCRIPT_ROLE, RUN_ROLE, is_cc, is_tool};
use kache_key::Digest;
use kache_store::event::Tail;
use kache_store::{Event, Store};
use std::collections::{HashMap, HashSet};
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
        let (mut caught_up, mut at_work) = (false, Vec::new());
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
                Err(e) => say(News::Trouble(format!("the event log: {e}"))),
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
            // The screen is not for messages.
            let notes = Paper::default();
            let found = self.look(&mut View::unseen(notes.clone()));
            let trouble = match &found {
                Ok(_) => notes.text().trim().replace('\n', "; "),
                Err(fail) => fail.to_string(),
            };
            let gone = dirs.into_iter().filter(|dir| !Path::new(dir).is_dir()).collect();
            let told = Some(trouble).filter(|text| !text.is_empty()).map(News::Trouble);
            let seen = found.ok().map(|survey| News::Survey(Survey { gone, ..survey }));
            if told.into_iter().chain(seen).any(|news| to.send(Heard::News(news)).is_err()) {
                return;
            }
            std::thread::sleep(SURVEY.max(start.elapsed() * SURVEY_SHARE));
        }
    }

    /// The index is brought up to date, which keeps it from others for that time, and asked.
    fn look(&self, view: &mut View) -> Result<Survey, Fail> {
        let mut index = Index::open(&self.store, view)?;
        let (holdings, entries) = index.ask(view, |index| {
            let mut entries = HashMap::new();
            index.each_entry(None, Sort::Size, 0..u32::MAX, &mut |e| {
                let held = Held { bytes: e.size, outputs: e.files, tool_ms: e.tool_ms, used_ms: e.used };
                entries.extend(Digest::from_hex(&e.key).map(|key| (key, held)));
            })?;
            Ok((index.holdings()?, entries))
        })?;
        Ok(Survey { usage: holdings.usage, max_size: self.settings_max_size, entries, gone: HashSet::new() })
    }
}

/// What a kache process works at, from how it was called. Nothing, where a compiler is asked about itself.
fn running(pid: u32, args: &[OsString], age: Duration) -> Option<Running> {
    let text = |arg: &OsString| arg.to_string_lossy().into_owned();
    let file = |arg: &OsString| Path::new(arg).file_name().map(|n| n.to_string_lossy().into_owned());
    let of = |action, name| Some(Running { pid, action, name, age });
    // A link named like a compiler leads to kache, or the compiler is the first argument.
    let linked = args.first().is_some_and(|called| is_cc(called));
    let (tool, rest) = if linked { args } else { args.get(1..)? }.split_first()?;
    let after = |flag: &str| rest.iter().skip_while(|a| *a != flag).nth(1).map(text);
    let source = |is: &dyn Fn(&OsString) -> bool| rest.iter().rev().find(|a| is(a)).and_then(file);
    if tool == BUILD_SCRIPT_ROLE {
        // target/debug/build/NAME-HASH/build_script_build.real
        let dir = PathBuf::from(rest.first()?);
        return of("build script", dir.parent()?.file_name()?.to_string_lossy().into_owned());
    }
    if tool == RUN_ROLE {
        return of("command", file(Asked::parse(rest)?.command.first()?)?);
    }
    if is_tool(tool) {
        let joined = || rest.iter().find_map(|a| Some(a.to_str()?.strip_prefix("--crate-name=")?.to_string()));
        let name = after("--crate-name").or_else(joined).or_else(|| source(&|a| text(a).ends_with(".rs")))?;
        let action = if file(tool)?.starts_with("clippy-driver") { "clippy" } else { "rustc" };
        return of(action, name).filter(|r| r.name != QUERIED);
    }
    let output = || after("-o").map(OsString::from).as_ref().and_then(file);
    of("cc", source(&kind_of_source).or_else(output).or_else(|| file(tool))?)
}

/// What cargo calls the crate that is none, when it asks rustc for its settings.
const QUERIED: &str = "___";

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: whatever kache is called for is named as what it is.
    #[test]
    fn what_runs_is_named() {
        let table: [(&str, Option<(&str, &str)>); 17] = [
            ("kache rustc --crate-name serde --edition=2021 src/lib.rs", Some(("rustc", "serde"))),
            ("kache /tc/bin/rustc --crate-name=serde src/lib.rs", Some(("rustc", "serde"))),
            ("kache rustc src/main.rs -o main", Some(("rustc", "main.rs"))),
            ("kache clippy-driver rustc --crate-name serde src/lib.rs", Some(("clippy", "serde"))),
            ("kache /tc/bin/clippy-driver /tc/bin/rustc --crate-name serde src/lib.rs", Some(("clippy", "serde"))),
            ("kache rustc -vV", None),
            ("kache rustc - --crate-name ___ --print=file-names", None),
            (
                "kache --build-script /t/build/vergen-1a2b/build_script_build.real x",
                Some(("build script", "vergen-1a2b")),
            ),
            ("kache run -- protoc --go_out=. a.proto", Some(("command", "protoc"))),
            ("kache run --out gen --stdin --out=x -- /usr/bin/python3 gen.c", Some(("command", "python3"))),
            ("kache run --crate-name x", None),
            ("kache gcc -c src/main.c -o main.o", Some(("cc", "main.c"))),
            ("/shims/clang++-19 -O2 -c -o deep/a.o deep/a.cpp", Some(("cc", "a.cpp"))),
            ("kache /opt/bin/cc a.o b.o -o prog", Some(("cc", "prog"))),
            ("gcc --version", Some(("cc", "gcc"))),
            ("kache", None),
            ("", None),
        ];
        for (line, wanted) in table {
            let args: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
            let found = running(1, &args, Duration::ZERO);
            assert_eq!(found.as_ref().map(|r| (r.action, &*r.name)), wanted, "{line}");
        }
    }
}
