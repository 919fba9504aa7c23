//! The event log, arranged for people: tallies, reasons, builds. Knows nothing about keys, and does not print.

use kache_store::{Event, Outcome};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Events of one build directory further apart than this belong to different builds.
const BUILD_GAP_MS: u64 = 60_000;

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

/// Tallies by action. Queries are left out: they are never anything but passed through.
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

/// Name and what tells it from other units of that name: `serde-1a2b3c4d`.
pub fn unit_name(event: &Event) -> &str {
    if event.unit.is_empty() { &event.name } else { &event.unit }
}

/// The invocations of one `cargo build`, oldest first.
#[derive(Clone, Debug)]
pub struct Build {
    pub dir: String,
    pub events: Vec<Event>,
}

impl Build {
    pub fn end(&self) -> u64 {
        self.events.last().map_or(0, |e| e.time)
    }

    pub fn of_unit(&self, unit: &str) -> Option<&Event> {
        self.events.iter().find(|e| e.unit == unit)
    }
}

/// The build that the event at `at` belongs to. `events` are in order of time.
///
/// The log does not name builds. One cargo run calls for a unit once, so the return of a unit begins another build, as
/// does a long pause.
pub fn build_around(events: &[Event], at: usize) -> Option<Build> {
    let dir = events[at].build_dir.clone()?;
    // What was passed through before its build directory was known belongs to whatever was built at that time.
    let of_dir = |e: &&Event| e.build_dir.as_ref().is_none_or(|d| *d == dir) && !is_query(e);
    let mut seen = BTreeSet::new();
    let mut is_new = |e: &Event| e.build_dir.is_none() || seen.insert((e.unit.clone(), e.action.clone()));
    let mut members: Vec<Event> = Vec::new();
    let mut begin = u64::MAX;
    for event in events[..=at].iter().rev().filter(of_dir) {
        if !is_new(event) || (begin != u64::MAX && event.time + BUILD_GAP_MS < begin) {
            break;
        }
        begin = begin.min(event.time.saturating_sub(event.ms as u64));
        members.push(event.clone());
    }
    members.reverse();
    let mut end = events[at].time;
    for event in events[at + 1..].iter().filter(of_dir) {
        if !is_new(event) || event.time.saturating_sub(event.ms as u64) > end + BUILD_GAP_MS {
            break;
        }
        end = end.max(event.time);
        members.push(event.clone());
    }
    Some(Build { dir, events: members })
}

/// The newest build of the log.
pub fn last_build(events: &[Event]) -> Option<Build> {
    let at = events.iter().rposition(|e| e.build_dir.is_some() && !is_query(e))?;
    build_around(events, at)
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

    /// Guards: a long pause, another build directory and a unit's return begin another build; a long compile does not.
    #[test]
    fn builds_are_told_apart() {
        let mut events =
            vec![event("a", Outcome::Miss, 10), event("b", Outcome::Miss, 20), event("c", Outcome::Hit, 200)];
        let mut long = event("d", Outcome::Miss, 500);
        long.ms = 290_000.0;
        events.push(long);
        events.push(Event { build_dir: Some("/other".into()), ..event("e", Outcome::Hit, 501) });
        events.push(Event { action: "query".into(), build_dir: None, ..event("q", Outcome::Passthrough, 502) });
        events.push(Event { build_dir: None, ..event("p", Outcome::Passthrough, 503) });
        let names = |b: Build| b.events.iter().map(|e| e.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(last_build(&events).unwrap()), ["e", "p"]);
        assert_eq!(names(last_build(&events[..4]).unwrap()), ["c", "d"]);
        assert_eq!(names(build_around(&events, 0).unwrap()), ["a", "b"]);
        assert!(last_build(&[]).is_none());
        // An edit, built again at once.
        events.push(event("c", Outcome::Miss, 504));
        events.push(event("e", Outcome::Miss, 505));
        assert_eq!(names(last_build(&events).unwrap()), ["d", "p", "c", "e"]);
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
