//! `kache explain`: why something missed. Compares what two keys were made of, and follows a changed output of another
//! unit to the unit that really changed.
//!
//! Knows only records and events: it never looks at the files of a build.

use crate::Context;
use crate::fail::{Done, Fail};
use crate::format::{ago, count, shorten};
use crate::history::{self, Build, is_query, outcome_name, sentence, unit_name};
use crate::view::{BAD, FAINT, GOOD, STRONG, View, WARN};
use kache_key::{Description, Digest};
use kache_store::{Event, Inputs, Outcome, Store};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;

/// Say why the last build, or a crate, was compiled and not restored
#[derive(clap::Args)]
#[command(
    alias = "why-miss",
    after_help = "\
Examples:
  kache explain               the last build: what missed, and the change behind it
  kache explain serde         the newest miss of a crate
  kache explain --json"
)]
pub struct Args {
    /// A crate, or a unit of it as `kache explain` prints them
    #[arg(value_name = "CRATE")]
    name: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Why one unit was not restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "cause", rename_all = "kebab-case")]
pub enum Cause {
    /// Nothing of this name was seen before.
    First,
    /// The key differs from an earlier one of this unit.
    Changed { change: Change, others: usize, compared_with: String, compared_time: u64 },
    /// The key is the one of an earlier compile, whose result is not there: evicted, or never stored.
    Gone { compared_time: u64, was_stored: bool },
    /// It was compiled before, and nothing of that was recorded.
    Unrecorded { compared_time: u64, because: String },
    /// kache stepped aside.
    Declined,
    /// No record tells what the key was made of.
    Unknown,
}

/// One thing that differs between two keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    pub what: String,
    pub before: Option<String>,
    pub now: Option<String>,
}

/// The explanation of one unit, and behind it those of the units whose outputs it read.
#[derive(Clone, Debug, Serialize)]
pub struct Why {
    pub unit: String,
    pub action: String,
    pub outcome: &'static str,
    pub time: u64,
    /// Why it was not cached or not stored, when it was not.
    pub reason: Option<String>,
    pub sentence: Option<String>,
    pub detail: Option<String>,
    #[serde(flatten)]
    pub cause: Cause,
    /// The unit that wrote what changed, in the same build.
    pub because_of: Option<Box<Why>>,
}

impl Why {
    /// The last of the chain: what really changed.
    pub fn root(&self) -> &Why {
        self.because_of.as_deref().map_or(self, Why::root)
    }

    /// In one line, without the unit's name.
    pub fn line(&self) -> String {
        let root = self.root();
        let text = match &root.cause {
            Cause::First => "never compiled before under this cache".to_string(),
            Cause::Changed { change, others, .. } => {
                let more = if *others == 0 { String::new() } else { format!(" (and {others} more)") };
                format!("{}: {}{more}", change.what, change.values())
            }
            Cause::Gone { was_stored: true, .. } => {
                "compiled before with the same key, but the entry is gone (evicted)".into()
            }
            Cause::Gone { was_stored: false, .. } => {
                "compiled before with the same key, but the result was not stored".into()
            }
            Cause::Unrecorded { because, .. } => format!("compiled before, but the result was not stored: {because}"),
            Cause::Declined => {
                let detail = root.detail.as_ref().map_or_else(String::new, |d| format!(": {d}"));
                format!("{}{detail}", root.sentence.as_deref().unwrap_or("not looked up"))
            }
            Cause::Unknown => match &root.sentence {
                Some(sentence) => sentence.clone(),
                None => "no record of what its key was made of".into(),
            },
        };
        if std::ptr::eq(self, root) { text } else { format!("through {}: {text}", root.unit) }
    }
}

impl Change {
    fn new(what: &str, before: Option<String>, now: Option<String>) -> Change {
        Change { what: what.to_string(), before, now }
    }

    pub fn values(&self) -> String {
        let short = |v: &str| shorten(v, 160);
        match (&self.before, &self.now) {
            (Some(before), Some(now)) => format!("{} → {}", short(before), short(now)),
            (None, Some(now)) => format!("new: {}", short(now)),
            (Some(before), None) => format!("no longer: {}", short(before)),
            (None, None) => "differs".into(),
        }
    }
}

/// What differs between two keys.
#[derive(Default)]
struct Differences {
    fields: Vec<Change>,
    /// Inputs of both that are in another state.
    inputs: Vec<Change>,
    /// Inputs that only one of them looked at: mostly a consequence of the others.
    one_sided: Vec<Change>,
}

impl Differences {
    fn between(before: &Inputs, now: &Inputs) -> Differences {
        let states = |inputs: &Inputs| -> BTreeMap<String, String> {
            inputs.inputs.iter().map(|(what, state)| (what.clone(), state.describe())).collect()
        };
        let (was, is) = (states(before), states(now));
        let mut found = Differences { fields: field_changes(&before.fields, &now.fields), ..Differences::default() };
        for (what, _) in &now.inputs {
            let change = |before: Option<&String>| Change::new(what, before.cloned(), Some(is[what].clone()));
            match was.get(what) {
                Some(old) if *old == is[what] => {}
                Some(old) => found.inputs.push(change(Some(old))),
                None => found.one_sided.push(change(None)),
            }
        }
        for (what, _) in before.inputs.iter().filter(|(what, _)| !is.contains_key(what)) {
            found.one_sided.push(Change::new(what, Some(was[what].clone()), None));
        }
        found
    }

    fn all(&self) -> impl Iterator<Item = &Change> {
        self.fields.iter().chain(&self.inputs).chain(&self.one_sided)
    }
}

/// All key fields that differ. What names a unit (cargo's `metadata` and `extra-filename`) follows from the rest, and
/// comes last.
fn field_changes(before: &Description, now: &Description) -> Vec<Change> {
    let (before, now) = (&before.0, &now.0);
    let only_in = |some: &[(String, String)], others: &[(String, String)]| -> Vec<(String, String)> {
        some.iter().filter(|f| !others.contains(f)).cloned().collect()
    };
    let mut gone = only_in(before, now);
    let mut changes = Vec::new();
    for (tag, value) in only_in(now, before) {
        // `-C opt-level=1` became `-C opt-level=2`; other arguments come and go.
        let flag = |v: &str| v.split_once('=').map_or_else(|| v.to_string(), |(flag, _)| flag.to_string());
        let same = |(t, v): &(String, String)| *t == tag && (tag != "argument" || flag(v) == flag(&value));
        let old = gone.iter().position(same).map(|at| gone.remove(at).1);
        changes.push(Change::new(&tag, old, Some(value)));
    }
    changes.extend(gone.into_iter().map(|(tag, value)| Change::new(&tag, Some(value), None)));
    if changes.is_empty() && before != now {
        changes.push(Change::new("order of the arguments", None, None));
    }
    let names_unit = |c: &Change| {
        let value = c.now.as_ref().or(c.before.as_ref());
        value.is_some_and(|v| v.contains(" metadata=") || v.contains(" extra-filename="))
    };
    changes.sort_by_key(names_unit);
    changes
}

/// The unit of the build that wrote what a path names: `<build>/debug/deps/libfoo-1a2b.rmeta` is of `foo-1a2b`.
fn writer_of<'a>(change: &Change, build: &'a Build) -> Option<&'a Event> {
    let named = [&change.what, change.now.as_ref()?];
    let paths = named
        .into_iter()
        .filter_map(|text| text.find("<build").map(|at| &text[at..]).or(text.find(&build.dir).map(|at| &text[at..])));
    paths.into_iter().find_map(|path| {
        path.split('/').rev().find_map(|part| {
            let stem = part.split('.').next().unwrap_or(part);
            let bare = stem.strip_prefix("lib").unwrap_or(stem);
            [stem, bare].into_iter().filter(|s| !s.is_empty()).find_map(|s| build.of_unit(s))
        })
    })
}

/// All that explanations are drawn from.
pub struct Explainer<'a> {
    store: &'a Store,
    /// Oldest first.
    events: &'a [Event],
    records: HashMap<String, Option<Inputs>>,
}

impl<'a> Explainer<'a> {
    pub fn new(store: &'a Store, events: &'a [Event]) -> Explainer<'a> {
        Explainer { store, events, records: HashMap::new() }
    }

    fn record(&mut self, event: &Event) -> Option<Inputs> {
        let key = event.key.as_ref()?;
        let store = self.store;
        self.records.entry(key.clone()).or_insert_with(|| store.inputs(&Digest::from_hex(key)?)).clone()
    }

    /// The newest earlier event to compare with: of the same unit, else of the same name and action.
    fn earlier(&mut self, event: &Event) -> Option<(&'a Event, Inputs)> {
        let events = self.events;
        let older =
            || events.iter().rev().filter(|e| e.time < event.time && e.action == event.action && e.key.is_some());
        let same_unit = older().filter(|e| e.unit == event.unit).find_map(|e| Some((e, self.record(e)?)));
        same_unit.or_else(|| older().filter(|e| e.name == event.name).find_map(|e| Some((e, self.record(e)?))))
    }

    pub fn why(&mut self, event: &Event, build: Option<&Build>) -> Why {
        self.why_within(event, build, &mut Vec::new())
    }

    fn why_within(&mut self, event: &Event, build: Option<&Build>, seen: &mut Vec<String>) -> Why {
        seen.push(event.unit.clone());
        let (cause, because_of) = self.cause(event, build, seen);
        Why {
            unit: unit_name(event).to_string(),
            action: event.action.clone(),
            outcome: outcome_name(event.outcome),
            time: event.time,
            sentence: event.reason.as_deref().map(|r| sentence(r).to_string()),
            reason: event.reason.clone(),
            detail: event.detail.clone().filter(|d| !d.is_empty()),
            cause,
            because_of,
        }
    }

    fn cause(&mut self, event: &Event, build: Option<&Build>, seen: &mut Vec<String>) -> (Cause, Option<Box<Why>>) {
        if !matches!(event.outcome, Outcome::Miss | Outcome::Hit | Outcome::Dup) {
            return (Cause::Declined, None);
        }
        let seen_before =
            self.events.iter().any(|e| e.time < event.time && e.name == event.name && e.action == event.action);
        if !seen_before {
            return (Cause::First, None);
        }
        let same_key = |e: &&Event| e.time < event.time && e.key.is_some() && e.key == event.key;
        if let Some(older) = self.events.iter().rev().find(same_key).filter(|_| event.outcome == Outcome::Miss) {
            let was_stored = older.stored || older.outcome != Outcome::Miss;
            return (Cause::Gone { compared_time: older.time, was_stored }, None);
        }
        let Some(now) = self.record(event) else { return (Cause::Unknown, None) };
        let Some((older, before)) = self.earlier(event) else {
            let of_unit = |e: &&Event| e.time < event.time && e.unit == event.unit && e.reason.is_some();
            let unrecorded = self.events.iter().rev().find(of_unit).and_then(|e| Some((e.time, told(e)?)));
            let cause = unrecorded.map(|(compared_time, because)| Cause::Unrecorded { compared_time, because });
            return (cause.unwrap_or(Cause::Unknown), None);
        };
        let changes = Differences::between(&before, &now);
        // A change of its own explains a unit; only without one it is the outputs of others that do.
        let writer = |c: &Change| build.and_then(|b| writer_of(c, b)).filter(|e| e.unit != event.unit);
        let own = changes.fields.iter().chain(&changes.inputs).find(|c| writer(c).is_none());
        let inherited = changes.all().find(|c| writer(c).is_some_and(|e| !seen.contains(&e.unit)));
        let Some(first) = own.or(inherited).or(changes.all().next()) else { return (Cause::Unknown, None) };
        let because_of = writer(first).filter(|e| !seen.contains(&e.unit)).cloned();
        let cause = Cause::Changed {
            change: first.clone(),
            others: (changes.fields.len() + changes.inputs.len()).saturating_sub(1),
            compared_with: unit_name(older).to_string(),
            compared_time: older.time,
        };
        (cause, because_of.map(|e| Box::new(self.why_within(&e, build, seen))))
    }
}

/// The reason an event gives, with what it is about.
pub fn told(event: &Event) -> Option<String> {
    let detail = event.detail.as_ref().filter(|d| !d.is_empty()).map_or_else(String::new, |d| format!(": {d}"));
    event.reason.as_ref().map(|reason| format!("{}{detail}", sentence(reason)))
}

pub fn run(args: Args, context: &Context, view: &mut View) -> Result<Done, Fail> {
    let mut events = Vec::new();
    context.store.each_event(0, |event| events.push(event))?;
    // Lines are written at the end of each invocation, by many processes.
    events.sort_by_key(|e| e.time);
    let mut explainer = Explainer::new(&context.store, &events);
    match args.name {
        Some(name) => explain_crate(&name, &mut explainer, args.json, view),
        None => explain_build(&mut explainer, args.json, view),
    }
}

#[derive(Serialize)]
struct OneReport {
    version: u32,
    explanation: Option<Why>,
}

fn explain_crate(name: &str, explainer: &mut Explainer, json: bool, view: &mut View) -> Result<Done, Fail> {
    let same = |text: &str| text == name || text.replace('_', "-") == name.replace('_', "-");
    let of_crate = |e: &&Event| !is_query(e) && (same(&e.name) || same(&e.unit));
    let events = explainer.events;
    if !events.iter().any(|e| of_crate(&e)) {
        return Err(Fail::Failed(format!("nothing called {name:?} was built through this cache yet")));
    }
    let not_restored = |e: &Event| !matches!(e.outcome, Outcome::Hit | Outcome::Dup);
    let newest = events.iter().rposition(|e| of_crate(&e) && not_restored(e));
    let why = newest.map(|at| explainer.why(&events[at], history::build_around(events, at).as_ref()));
    if json {
        view.json(&OneReport { version: 1, explanation: why })?;
        return Ok(Done::Fine);
    }
    match why {
        None => writeln!(view.out, "{name} was always restored: there is no miss to explain.")?,
        Some(why) => {
            let now = Event::now_ms();
            write_why(&why, now, &mut view.out)?;
        }
    }
    Ok(Done::Fine)
}

/// What stands behind a number of units of one build.
#[derive(Serialize)]
struct Group {
    /// The first of those units, in full.
    root: Why,
    /// Units that it happened to.
    units: Vec<String>,
    /// Units that missed because they read what those wrote.
    dependents: Vec<String>,
}

#[derive(Serialize)]
struct BuildReport {
    version: u32,
    build_dir: Option<String>,
    time: Option<u64>,
    outcomes: BTreeMap<String, history::Tally>,
    groups: Vec<Group>,
}

fn explain_build(explainer: &mut Explainer, json: bool, view: &mut View) -> Result<Done, Fail> {
    let build = history::last_build(explainer.events);
    let groups = build.as_ref().map_or_else(Vec::new, |b| group(b, explainer));
    if json {
        view.json(&BuildReport {
            version: 1,
            build_dir: build.as_ref().map(|b| b.dir.clone()),
            time: build.as_ref().map(Build::end),
            outcomes: build.as_ref().map_or_else(BTreeMap::new, |b| history::by_action(&b.events)),
            groups,
        })?;
        return Ok(Done::Fine);
    }
    let Some(build) = build else {
        writeln!(view.out, "No build went through this cache yet: there is nothing to explain.")?;
        return Ok(Done::Fine);
    };
    let now = Event::now_ms();
    let units = build.events.len() as u64;
    let missed = build.events.iter().filter(|e| !matches!(e.outcome, Outcome::Hit | Outcome::Dup)).count();
    let when = ago(now.saturating_sub(build.end()));
    writeln!(
        view.out,
        "{STRONG}Last build{STRONG:#} in {}, {when}: {}, {missed} not restored.",
        build.dir,
        count(units, "unit")
    )?;
    for group in &groups {
        writeln!(view.out)?;
        let list = |units: &[String]| shorten(&units.join(", "), 400);
        match (&group.root.cause, &group.units[..]) {
            (Cause::Changed { .. }, units) => {
                write_why(&group.root, now, &mut view.out)?;
                if units.len() > 1 {
                    let others = count(units.len() as u64 - 1, "other unit");
                    writeln!(view.out, "    {FAINT}the same for{FAINT:#} {others}: {}", list(&units[1..]))?;
                }
            }
            (_, [_]) => write_why(&group.root, now, &mut view.out)?,
            (_, units) => {
                writeln!(view.out, "{}: {}", count(units.len() as u64, "unit"), group.root.line())?;
                writeln!(view.out, "    {}", list(units))?;
            }
        }
        if !group.dependents.is_empty() {
            let many = count(group.dependents.len() as u64, "dependent");
            writeln!(view.out, "    {FAINT}and so{FAINT:#} {many}: {}", list(&group.dependents))?;
        }
    }
    Ok(Done::Fine)
}

/// The units of a build that were not restored, by what stands behind them; most units first.
fn group(build: &Build, explainer: &mut Explainer) -> Vec<Group> {
    let mut groups: Vec<(String, Group)> = Vec::new();
    for event in build.events.iter().filter(|e| !matches!(e.outcome, Outcome::Hit | Outcome::Dup)) {
        let why = explainer.why(event, Some(build));
        let root = why.root();
        // One changed thing is one group; so are all first compiles, and all that was declined for one reason.
        let key = match &root.cause {
            Cause::Changed { change, .. } => format!("{}\0{}", change.what, change.values()),
            Cause::Declined => {
                format!("declined\0{}\0{}", root.reason.as_deref().unwrap_or(""), root.detail.as_deref().unwrap_or(""))
            }
            Cause::First => "first".into(),
            Cause::Gone { was_stored, .. } => format!("gone\0{was_stored}"),
            Cause::Unrecorded { because, .. } => format!("unrecorded\0{because}"),
            Cause::Unknown => format!("unknown\0{}", root.reason.as_deref().unwrap_or("")),
        };
        let at = groups.iter().position(|(k, _)| *k == key).unwrap_or_else(|| {
            let units = vec![root.unit.clone()];
            groups.push((key, Group { root: root.clone(), units, dependents: Vec::new() }));
            groups.len() - 1
        });
        let group = &mut groups[at].1;
        let units = if why.because_of.is_none() { &mut group.units } else { &mut group.dependents };
        if !units.contains(&why.unit) {
            units.push(why.unit.clone());
        }
    }
    let mut groups: Vec<Group> = groups.into_iter().map(|(_, g)| g).collect();
    groups.sort_by_key(|g| std::cmp::Reverse(g.units.len() + g.dependents.len()));
    groups
}

fn write_why(why: &Why, now: u64, out: &mut dyn Write) -> std::io::Result<()> {
    let mark = if why.outcome == "miss" {
        WARN
    } else if why.outcome == "error" {
        BAD
    } else {
        GOOD
    };
    writeln!(
        out,
        "{STRONG}{}{STRONG:#} ({}): {mark}{}{mark:#}, {}",
        why.unit,
        why.action,
        why.outcome,
        ago(now.saturating_sub(why.time))
    )?;
    let mut link = Some(why);
    while let Some(why) = link {
        write_cause(why, now, out)?;
        if let (Some(text), false) = (&why.sentence, matches!(why.cause, Cause::Declined | Cause::Unknown)) {
            let detail = why.detail.as_ref().map_or_else(String::new, |d| format!(": {d}"));
            writeln!(out, "    not stored: {text}{detail}")?;
        }
        link = why.because_of.as_deref();
        if let Some(next) = link {
            let verb = if next.outcome == "miss" {
                "was compiled again in the same build"
            } else {
                "came out differently in the same build"
            };
            writeln!(out, "  which {STRONG}{}{STRONG:#} ({}) wrote; it {verb}:", next.unit, next.action)?;
        }
    }
    Ok(())
}

fn write_cause(why: &Why, now: u64, out: &mut dyn Write) -> std::io::Result<()> {
    match &why.cause {
        Cause::Changed { change, others, compared_with, compared_time } => {
            writeln!(out, "  {STRONG}{}{STRONG:#}", change.what)?;
            for (label, value) in [("before", &change.before), ("now", &change.now)] {
                let value = value.as_deref().map_or_else(|| "(not there)".to_string(), |v| shorten(v, 400));
                writeln!(out, "    {FAINT}{label:<7}{FAINT:#}{value}")?;
            }
            let more =
                if *others == 0 { String::new() } else { format!("; {} more", count(*others as u64, "difference")) };
            let with = if *compared_with == why.unit { String::new() } else { format!("{compared_with}, ") };
            writeln!(out, "    {FAINT}compared with {with}{}{more}{FAINT:#}", ago(now.saturating_sub(*compared_time)))
        }
        Cause::First | Cause::Gone { .. } | Cause::Unrecorded { .. } | Cause::Unknown | Cause::Declined => {
            let alone = Why { because_of: None, ..why.clone() };
            writeln!(out, "  {}", alone.line())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::testing::event;
    use crate::view::testing::view;
    use kache_key::State;

    fn inputs(fields: &[(&str, &str)], states: &[(&str, &str)]) -> Inputs {
        Inputs {
            name: "x".into(),
            unit: "x".into(),
            weak: Digest::of(b"w"),
            fields: Description(fields.iter().map(|(t, v)| (t.to_string(), v.to_string())).collect()),
            inputs: states.iter().map(|(w, s)| (w.to_string(), State::Text(s.as_bytes().to_vec()))).collect(),
        }
    }

    fn change(what: &str, before: Option<&str>, now: Option<&str>) -> Change {
        Change { what: what.into(), before: before.map(Into::into), now: now.map(Into::into) }
    }

    /// Guards: changed, added and left out fields are told apart, and names that follow from the rest come last.
    #[test]
    fn fields_differ() {
        let of = |old: &[(&str, &str)], new: &[(&str, &str)]| {
            field_changes(&inputs(old, &[]).fields, &inputs(new, &[]).fields)
        };
        let (a, b, c) = (("tool", "1"), ("argument", "-O"), ("argument", "-g"));
        assert_eq!(of(&[a, b], &[a, b]), []);
        assert_eq!(of(&[a, b], &[("tool", "2"), b]), [change("tool", Some("1"), Some("2"))]);
        assert_eq!(of(&[a, b], &[a, c, b]), [change("argument", None, Some("-g"))]);
        assert_eq!(of(&[a, c, b], &[a, b]), [change("argument", Some("-g"), None)]);
        assert_eq!(of(&[b, c], &[c, b]), [change("order of the arguments", None, None)]);
        let old = [("argument", "-C metadata=1"), ("argument", "-C opt-level=1")];
        let new = [("argument", "-C metadata=2"), ("argument", "-C opt-level=2")];
        assert_eq!(of(&old, &new)[0], change("argument", Some("-C opt-level=1"), Some("-C opt-level=2")));
    }

    /// Guards: fields come before inputs, changed inputs before those that only one key has.
    #[test]
    fn inputs_differ() {
        let before = inputs(&[("arg", "1")], &[("file a", "1"), ("file gone", "1"), ("file z", "1")]);
        let now = inputs(&[("arg", "2")], &[("file new", "1"), ("file a", "1"), ("file z", "2")]);
        let of = |a, b| Differences::between(a, b).all().map(|c| c.what.clone()).collect::<Vec<_>>();
        assert_eq!(of(&before, &now), ["arg", "file z", "file new", "file gone"]);
        assert!(of(&before, &before).is_empty());
    }

    /// A store in which `base` changed, `middle` read its output, and `top` that one's.
    fn story() -> (tempfile::TempDir, Store, Vec<Event>) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path(), None);
        let mut events = Vec::new();
        let mut put = |name: &str, time: u64, states: &[(&str, &str)]| {
            let key = Digest::of(format!("{name}{time}").as_bytes());
            store.put_inputs(&key, &inputs(&[("arg", "1")], states)).unwrap();
            events.push(Event { key: Some(key.hex()), ..event(name, Outcome::Miss, time) });
        };
        for (time, state) in [(10, "old"), (1000, "new")] {
            put("base", time, &[("file <workspace>/base/src/lib.rs", state)]);
            put("middle", time + 1, &[("file <build>/debug/deps/libbase-01.rmeta", state), ("file m.rs", "1")]);
            put("top", time + 2, &[("file <build>/debug/deps/libmiddle-01.rmeta", state)]);
        }
        (dir, store, events)
    }

    /// Guards: the chain leads from the last dependent to the unit that changed.
    #[test]
    fn chains_are_followed() {
        let (_dir, store, events) = story();
        let build = history::last_build(&events).unwrap();
        let why = Explainer::new(&store, &events).why(&events[5], Some(&build));
        assert_eq!(why.unit, "top-01");
        assert_eq!(why.because_of.as_ref().unwrap().unit, "middle-01");
        assert_eq!(why.root().unit, "base-01");
        assert_eq!(why.line(), "through base-01: file <workspace>/base/src/lib.rs: \"old\" → \"new\"");
    }

    /// Guards: one cause is told once, with all it led to.
    #[test]
    fn builds_are_grouped_by_cause() {
        let (_dir, store, mut events) = story();
        events.push(Event { reason: Some("link".into()), ..event("bin", Outcome::Passthrough, 1004) });
        events.push(event("other", Outcome::Hit, 1005));
        let build = history::last_build(&events).unwrap();
        let mut explainer = Explainer::new(&store, &events);
        let groups = group(&build, &mut explainer);
        let told: Vec<_> = groups.iter().map(|g| (g.units.join(" "), g.dependents.join(" "))).collect();
        let strings = |a: &str, b: &str| (a.to_string(), b.to_string());
        assert_eq!(told, [strings("base-01", "middle-01 top-01"), strings("bin-01", "")]);
        let (mut view, paper) = view();
        explain_build(&mut explainer, false, &mut view).unwrap();
        assert!(paper.text().contains("and so 2 dependents: middle-01, top-01"), "{}", paper.text());
    }

    /// Guards: first compiles, evicted entries and units without a record are not mistaken for changes.
    #[test]
    fn not_everything_is_a_change() {
        let (_dir, store, mut events) = story();
        events.push(event("fresh", Outcome::Miss, 1003));
        events.push(Event { key: events[0].key.clone(), ..event("base", Outcome::Miss, 1004) });
        events.push(event("base", Outcome::Miss, 1005));
        let mut explainer = Explainer::new(&store, &events);
        let causes = |e: &mut Explainer, at: usize| e.why(&events[at], None).cause;
        assert_eq!(causes(&mut explainer, 0), Cause::First);
        assert_eq!(causes(&mut explainer, 6), Cause::First);
        assert_eq!(causes(&mut explainer, 7), Cause::Gone { compared_time: 10_000, was_stored: true });
        assert_eq!(causes(&mut explainer, 8), Cause::Unknown);
    }
}
