//! The event log, arranged for people: tallies, reasons, builds. Knows nothing about keys, and does not print.

use kache_store::{Event, Outcome};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// Events of one build directory further apart than this belong to different builds.
const BUILD_GAP_MS: u64 = 60_000;

/// Between two runs of a build tool there is mostly more silence than the first; the second tells without another sign.
const PAUSE_MS: u64 = 300;
const SILENCE_MS: u64 = 2_000;

/// The tool was asked about itself (`-vV`, `--print`): no work a cache could save.
pub fn is_query(event: &Event) -> bool {
    event.action == "query" || event.reason.as_deref() == Some("query")
}

/// How many invocations ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    pub hit: u64,
    pub dup: u64,
    pub miss: u64,
    pub passthrough: u64,
    pub skipped: u64,
    pub error: u64,
}

impl Tally {
    pub fn add(&mut self, outcome: Outcome, n: u64) {
        *match outcome {
            Outcome::Hit => &mut self.hit,
            Outcome::Dup => &mut self.dup,
            Outcome::Miss => &mut self.miss,
            Outcome::Passthrough => &mut self.passthrough,
            Outcome::Skipped => &mut self.skipped,
            Outcome::Error => &mut self.error,
        } += n;
    }

    pub fn restored(&self) -> u64 {
        self.hit + self.dup
    }

    /// What could be looked up.
    pub fn cacheable(&self) -> u64 {
        self.restored() + self.miss
    }

    pub fn total(&self) -> u64 {
        self.cacheable() + self.passthrough + self.skipped + self.error
    }
}

pub fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Hit => "hit",
        Outcome::Dup => "dup",
        Outcome::Miss => "miss",
        Outcome::Passthrough => "passthrough",
        Outcome::Skipped => "skipped",
        Outcome::Error => "error",
    }
}

/// Tallies by action. Queries are left out: they compile nothing.
pub fn by_action<'a>(events: impl IntoIterator<Item = &'a Event>) -> BTreeMap<String, Tally> {
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for event in events.into_iter().filter(|e| !is_query(e)) {
        tallies.entry(event.action.clone()).or_default().add(event.outcome, 1);
    }
    tallies
}

/// What a reason is about, in one sentence.
pub fn sentence(reason: &str) -> &str {
    kache_engine::Reason::of_id(reason).map_or(reason, |r| r.explanation().sentence)
}

/// The end of a source's path, by which packages are told apart wherever they lie and whatever their version:
/// `libc-0.2.186/build.rs` and `libc-0.2.187/build.rs`.
pub fn package(source: &str) -> Vec<&str> {
    let versioned = |end: &str| end.starts_with(|c: char| c.is_ascii_digit()) && end.contains('.');
    let name = |part| match str::rsplit_once(part, '-') {
        Some((name, end)) if versioned(end) => name,
        _ => part,
    };
    source.rsplit('/').take(3).map(name).collect()
}

/// Name and what tells it from other units of that name: `serde-1a2b3c4d`.
pub fn unit_name(event: &Event) -> &str {
    if event.unit.is_empty() { &event.name } else { &event.unit }
}

/// What configure scripts, CMake and meson call what they try out: one name, many contents.
const PROBES: &[&str] = &["conftest", "CMakeTmp", "CMakeScratch", "CompilerId", "cmTC_", "meson-private"];

/// The compile asked something of the machine; nothing of the project came of it.
pub fn is_probe(event: &Event) -> bool {
    let texts = [Some(&event.unit), event.source.as_ref(), event.output.as_ref()];
    // What goes to standard output, or nowhere, is an answer, too.
    let named = || texts.into_iter().flatten().any(|t| PROBES.iter().any(|p| t.contains(p)));
    event.action == "cc" && (matches!(&*event.unit, "-" | "/dev/null") || named())
}

/// The invocations of one run of cargo, make and the like, oldest first.
#[derive(Clone, Debug)]
pub struct Build {
    pub dir: String,
    pub events: Vec<Event>,
}

impl Build {
    pub fn end(&self) -> u64 {
        self.events.last().map_or(0, |e| e.time)
    }

    pub fn begin(&self) -> u64 {
        self.events.iter().map(begin).min().unwrap_or(0)
    }
}

/// When it was started.
pub fn begin(event: &Event) -> u64 {
    event.time.saturating_sub(event.ms.max(0.0) as u64)
}

/// Where an event belongs: its build directory, else where it ran. What was passed through before a directory was known
/// belongs nowhere of its own. What CMake tries out in directories made for that belongs to what it configures.
pub fn place(event: &Event) -> Option<&str> {
    let looked_up = matches!(event.outcome, Outcome::Hit | Outcome::Dup | Outcome::Miss);
    let dir = event.build_dir.as_deref().or_else(|| looked_up.then_some(&*event.dir))?;
    Some(dir.split("/CMakeFiles/").next().unwrap_or(dir))
}

/// A build that may go on. The log does not name builds. One run calls for a unit once, so the return of a unit tells of
/// another build, as does a long pause. Probes of configure scripts return all the time.
#[derive(Clone, Debug, Default)]
pub struct Open {
    pub events: Vec<Event>,
    end: u64,
    /// Where each unit, and each crate by its source, stands in `events`.
    units: HashMap<(String, String), usize>,
    crates: HashMap<(String, String), usize>,
}

fn of_unit(event: &Event) -> (String, String) {
    (event.unit.clone(), event.action.clone())
}

fn of_crate(event: &Event) -> (String, String) {
    (event.source.clone().unwrap_or_else(|| event.name.clone()), event.action.clone())
}

impl Open {
    /// Takes an event of this place. The build it ended, if it began another.
    pub fn take(&mut self, event: Event) -> Option<Vec<Event>> {
        let silence = begin(&event).saturating_sub(self.end);
        let over = self.events.is_empty() || silence > BUILD_GAP_MS;
        let at = match place(&event) {
            None if over => return None,
            Some(_) if over => Some(self.events.len()),
            Some(_) if !is_probe(&event) => self.returned(&event, silence),
            _ => None,
        };
        let ended = at.map(|at| {
            let mut next = Open::default();
            self.events.drain(at..).for_each(|event| next.add(event));
            std::mem::replace(self, next).events
        });
        self.add(event);
        ended.filter(|events| !events.is_empty())
    }

    fn add(&mut self, event: Event) {
        if !is_probe(&event) {
            self.units.insert(of_unit(&event), self.events.len());
            self.crates.insert(of_crate(&event), self.events.len());
        }
        self.end = self.end.max(event.time);
        self.events.push(event);
    }

    /// Where the build of `next` begins, if something returns with it.
    fn returned(&self, next: &Event, silence: u64) -> Option<usize> {
        let returned = self.units.get(&of_unit(next));
        // A crate may be compiled in several ways by one run, but not after a silence.
        let similar = self.crates.get(&of_crate(next)).filter(|_| next.action != "cc");
        let found = *returned.or(similar)?;
        // What came before that, but after a longer silence, belongs to the next build as well.
        let (mut at, mut longest) = (self.events.len(), PAUSE_MS.max(silence));
        let mut end = self.events[..=found].iter().map(|e| e.time).max().unwrap_or(0);
        for (n, event) in self.events.iter().enumerate().skip(found + 1) {
            let silence = begin(event).saturating_sub(end);
            if silence > longest {
                (at, longest) = (n, silence);
            }
            end = end.max(event.time);
        }
        Some(at).filter(|_| returned.is_some() || longest > SILENCE_MS)
    }
}

/// The builds of a part of the log, the one that ended last at the end. `events` are in order of time.
pub fn builds(events: impl IntoIterator<Item = Event>) -> Vec<Build> {
    let mut open: BTreeMap<String, Open> = BTreeMap::new();
    let mut builds = Vec::new();
    let mut newest = None;
    for event in events.into_iter().filter(|e| !is_query(e)) {
        let Some(dir) = place(&event).map(str::to_owned).or_else(|| newest.clone()) else { continue };
        let ended = open.entry(dir.clone()).or_default().take(event);
        builds.extend(ended.map(|events| Build { dir: dir.clone(), events }));
        newest = Some(dir);
    }
    builds.extend(open.into_iter().map(|(dir, o)| Build { dir, events: o.events }).filter(|b| !b.events.is_empty()));
    builds.sort_by_key(Build::end);
    builds
}

#[cfg(test)]
pub mod testing {
    use super::*;

    /// An event of `name` at `time` seconds.
    pub fn event(name: &str, outcome: Outcome, time: u64) -> Event {
        Event {
            v: kache_store::event::VERSION,
            time: time * 1000,
            outcome,
            action: "rustc".into(),
            name: name.into(),
            unit: format!("{name}-01"),
            source: None,
            output: None,
            reason: None,
            detail: None,
            stored: outcome == Outcome::Miss,
            ms: 100.0,
            tool_ms: 500,
            dir: "/w".into(),
            weak: None,
            key: None,
            linked: 0,
            cloned: 0,
            copied: 0,
            build_dir: Some("/w/target".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::event;
    use super::*;

    /// Guards: a long pause, another build directory and a unit's return begin another build; a long compile and the probes
    /// of a configure script do not.
    #[test]
    fn builds_are_told_apart() {
        let mut long = event("d", Outcome::Miss, 500);
        long.ms = 290_000.0;
        let other = |e: Event| Event { build_dir: Some("/other".into()), ..e };
        let probe =
            |time| other(Event { unit: "conftest.o".into(), action: "cc".into(), ..event("p", Outcome::Miss, time) });
        let events = [
            Event { build_dir: None, ..event("early", Outcome::Passthrough, 9) },
            event("a", Outcome::Miss, 10),
            event("b", Outcome::Miss, 20),
            event("c", Outcome::Hit, 209),
            long,
            other(event("e", Outcome::Hit, 501)),
            Event { action: "query".into(), build_dir: None, ..event("q", Outcome::Passthrough, 502) },
            Event { build_dir: None, ..event("f", Outcome::Passthrough, 503) },
            probe(503),
            probe(504),
            // An edit, built again at once: what was compiled before a unit returned belongs to the same run.
            event("g", Outcome::Hit, 500),
            event("e", Outcome::Miss, 504),
            event("c", Outcome::Miss, 504),
            event("d", Outcome::Miss, 505),
        ];
        let names = |b: &Build| b.events.iter().map(|e| e.name.as_str()).collect::<String>();
        assert_eq!(builds(events).iter().map(names).collect::<Vec<_>>(), ["ab", "cdg", "efpp", "ecd"]);
        assert!(builds([]).is_empty());
        let tried = |dir: &str, time| Event { build_dir: Some(format!("/b{dir}")), ..probe(time) };
        let tries = ["/CMakeFiles/CMakeScratch/TryCompile-1", "/CMakeFiles/CMakeScratch/TryCompile-2", ""];
        let found = builds(tries.into_iter().zip(1..).map(|(dir, time)| tried(dir, time)));
        assert_eq!((found.len(), &*found[0].dir, found[0].events.len()), (1, "/b", 3));
        // Other flags give all units other names; one run may compile a crate twice, but not after a silence.
        let named = |e: Event, unit: &str| Event { unit: unit.into(), ..e };
        let events = |pause: u64| {
            let first = [
                event("a", Outcome::Miss, 10),
                named(event("a", Outcome::Miss, 11), "a-02"),
                event("b", Outcome::Miss, 12),
            ];
            let second = ["c", "b"].map(|n| named(event(n, Outcome::Miss, 12 + pause), &format!("{n}-02")));
            first.into_iter().chain(second)
        };
        assert_eq!(builds(events(0)).iter().map(names).collect::<Vec<_>>(), ["aabcb"]);
        assert_eq!(builds(events(5)).iter().map(names).collect::<Vec<_>>(), ["aab", "cb"]);
    }

    #[test]
    fn queries_are_not_counted() {
        let events =
            [event("a", Outcome::Hit, 1), Event { action: "query".into(), ..event("q", Outcome::Passthrough, 2) }];
        let tallies = by_action(&events);
        assert_eq!(tallies.len(), 1);
        assert_eq!((tallies["rustc"].restored(), tallies["rustc"].total()), (1, 1));
    }
}
