//! Why one action missed: what two keys were made of is compared, and a changed output of another unit is followed to the
//! unit that really changed.
//!
//! Knows the index and the records; of a build's files it looks at archives alone, for the names of what they hold.

use super::archive;

use crate::format::{printable, shorten};
use crate::history::{begin, is_probe, outcome_name, package, sentence, unit_name};
use crate::index::{Index, Of, Trouble};
use kache_key::{Description, Digest};
use kache_store::{Event, Inputs, Outcome};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// So many earlier events of a unit are compared with; a configure script's probes share one name.
const PAST: usize = 40;
const PAST_OF_PROBES: usize = 2000;

/// Inputs that only one key has are followed up to this many.
const MOST_ONE_SIDED: usize = 100;

/// So many records, and names of probes, are kept to be asked for again.
const KEPT: usize = 256;

/// A compile may end after the one that reads its first results; not by more than this.
const OVERLAP_MS: u64 = 3_600_000;

/// Why one unit was not restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "cause", rename_all = "kebab-case")]
pub enum Cause {
    /// Nothing of this name was seen before.
    First,
    /// The key differs from an earlier one of this unit.
    Changed { change: Change, others: usize, compared_with: String, compared_dir: Option<String>, compared_time: u64 },
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
    /// The build directory, of C the project's.
    pub dir: Option<String>,
    pub source: Option<String>,
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
        let short = |v: &str| printable(&shorten(v, 160));
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
    /// Cargo calls it otherwise, which follows from something else; mostly from one of the above.
    renamed: Option<Change>,
}

impl Differences {
    fn between(before: &Inputs, now: &Inputs) -> Differences {
        let states = |inputs: &Inputs| -> BTreeMap<String, String> {
            inputs.inputs.iter().map(|(what, state)| (tidy(what), state.describe())).collect()
        };
        let (was, is) = (states(before), states(now));
        let mut found = Differences { fields: field_changes(&before.fields, &now.fields), ..Differences::default() };
        for (what, state) in &is {
            let change = |before: Option<&String>| Change::new(what, before.cloned(), Some(state.clone()));
            match was.get(what) {
                Some(old) if old == state => {}
                Some(old) => found.inputs.push(change(Some(old))),
                None => found.one_sided.push(change(None)),
            }
        }
        for (what, state) in was.iter().filter(|(what, _)| !is.contains_key(*what)) {
            found.one_sided.push(Change::new(what, Some(state.clone()), None));
        }
        let names_unit = |c: &Change| {
            let value = c.now.as_ref().or(c.before.as_ref());
            value.is_some_and(|v| [" metadata=", " extra-filename=", "--out-dir "].iter().any(|name| v.contains(name)))
        };
        if found.fields.iter().any(names_unit) {
            found.fields.retain(|c| !names_unit(c));
            found.renamed = Some(Change::new("the name that cargo gives it", None, None));
        }
        // The source is an input as well, with its name.
        if !found.inputs.is_empty() {
            found.fields.retain(|c| c.what != "source");
        }
        found
    }

    fn all(&self) -> impl Iterator<Item = &Change> {
        self.fields.iter().chain(&self.inputs).chain(&self.one_sided).chain(&self.renamed)
    }
}

/// `file <workspace>/src/../x.h` is `file <workspace>/x.h`, however the compiler came to it.
fn tidy(what: &str) -> String {
    match what.split_once(" <") {
        Some((kind, path)) if path.contains("/../") => {
            format!("{kind} {}", kache_os::lexical(Path::new(&format!("<{path}"))).display())
        }
        _ => what.to_string(),
    }
}

/// All key fields that differ.
fn field_changes(before: &Description, now: &Description) -> Vec<Change> {
    let (before, now) = (&before.0, &now.0);
    let only_in = |some: &[(String, String)], others: &[(String, String)]| -> Vec<(String, String)> {
        some.iter().filter(|f| !others.contains(f)).cloned().collect()
    };
    let mut gone = only_in(before, now);
    let mut changes = Vec::new();
    for (tag, value) in only_in(now, before) {
        // `-C opt-level=1` became `-C opt-level=2`, and `-O1` became `-O2`; other arguments come and go.
        let flag = |v: &str| match v {
            v if v.starts_with("-O") => "-O".to_string(),
            v => v.split_once('=').map_or(v, |(flag, _)| flag).to_string(),
        };
        let same = |(t, v): &(String, String)| *t == tag && (tag != "argument" || flag(v) == flag(&value));
        let old = gone.iter().position(same).map(|at| gone.remove(at).1);
        changes.push(Change::new(&tag, old, Some(value)));
    }
    changes.extend(gone.into_iter().map(|(tag, value)| Change::new(&tag, Some(value), None)));
    if changes.is_empty() && before != now {
        changes.push(Change::new("order of the arguments", None, None));
    }
    changes
}

/// All that explanations are drawn from.
pub struct Explainer<'a> {
    index: &'a Index<'a>,
    records: HashMap<String, Option<Inputs>>,
    /// Of units that are called the same again and again: read once.
    probes: HashMap<String, Vec<Event>>,
}

impl<'a> Explainer<'a> {
    pub fn new(index: &'a Index<'a>) -> Explainer<'a> {
        Explainer { index, records: HashMap::new(), probes: HashMap::new() }
    }

    fn record(&mut self, event: &Event) -> Option<Inputs> {
        let key = event.key.as_ref()?;
        let store = self.index.store();
        if self.records.len() >= KEPT {
            self.records.clear();
        }
        self.records.entry(key.clone()).or_insert_with(|| store.inputs(&Digest::from_hex(key)?)).clone()
    }

    /// Earlier events to compare with, the most fitting first: of the same unit; else, but for C, of the same crate and
    /// action.
    ///
    /// Cargo's names tell units apart wherever they are built. The name of a C object says little: another place counts
    /// only where the source is the same file, or its content and the arguments are; and a probe's name says nothing.
    fn earlier(&mut self, event: &Event, build_begin: u64) -> Result<Vec<Event>, Trouble> {
        let alike = |e: &Event| e.action == event.action && e.unit == event.unit;
        if is_probe(event) && !self.probes.contains_key(&event.unit) {
            let all = self.newest(Of::Unit(&event.unit), u64::MAX, PAST_OF_PROBES, &alike)?;
            if self.probes.len() >= KEPT {
                self.probes.clear();
            }
            self.probes.insert(event.unit.clone(), all);
        }
        let mut past = match self.probes.get(&event.unit) {
            Some(probes) => probes.iter().filter(|e| e.time < event.time).cloned().collect(),
            None => self.newest(Of::Unit(&event.unit), event.time, PAST, &alike)?,
        };
        let same_weak = |e: &Event| e.weak.is_some() && e.weak == event.weak;
        let same_place = |e: &Event| e.build_dir == event.build_dir;
        let of_c = event.action == "cc";
        if of_c {
            let same_source = |e: &Event| e.source.is_some() && e.source == event.source;
            past.retain(|e| same_weak(e) || !is_probe(event) && (same_place(e) || same_source(e)));
        }
        past.sort_by_key(|e| (!same_place(e), !same_weak(e)));
        if past.is_empty() && !of_c {
            // One build may compile a crate in several ways, which are not each other's past.
            let before = |e: &Event| e.time < build_begin || e.build_dir != event.build_dir;
            let kind = |e: &Event| (e.action.clone(), e.name.clone());
            let same_package = |e: &Event| e.source.as_deref().map(package) == event.source.as_deref().map(package);
            let alike = |e: &Event| kind(e) == kind(event) && before(e) && same_package(e);
            past = self.newest(Of::Like(event), event.time, PAST, &alike)?;
        }
        Ok(past)
    }

    fn newest(&self, of: Of, before: u64, most: usize, alike: &dyn Fn(&Event) -> bool) -> Result<Vec<Event>, Trouble> {
        let mut found = Vec::new();
        self.index.each_use(of, before, &mut |e| {
            found.extend(Some(e).filter(alike));
            found.len() < most
        })?;
        Ok(found)
    }

    /// `build_begin`: when the build began that it belongs to.
    pub fn why(&mut self, event: &Event, build_begin: u64) -> Result<Why, Trouble> {
        self.why_within(event, build_begin, &mut Vec::new())
    }

    fn why_within(&mut self, event: &Event, build_begin: u64, seen: &mut Vec<String>) -> Result<Why, Trouble> {
        seen.push(event.unit.clone());
        let (cause, because_of) = self.cause(event, build_begin, seen)?;
        Ok(Why {
            unit: unit_name(event).to_string(),
            action: event.action.clone(),
            outcome: outcome_name(event.outcome),
            time: event.time,
            dir: event.build_dir.clone(),
            source: event.source.clone(),
            sentence: event.reason.as_deref().map(|r| sentence(r).to_string()),
            reason: event.reason.clone(),
            detail: event.detail.clone().filter(|d| !d.is_empty()),
            cause,
            because_of,
        })
    }

    fn cause(
        &mut self,
        event: &Event,
        build_begin: u64,
        seen: &mut Vec<String>,
    ) -> Result<(Cause, Option<Box<Why>>), Trouble> {
        if !matches!(event.outcome, Outcome::Miss | Outcome::Hit | Outcome::Dup) {
            return Ok((Cause::Declined, None));
        }
        let past = self.earlier(event, build_begin)?;
        if past.is_empty() {
            return Ok((Cause::First, None));
        }
        let same_key = |e: &&Event| e.key.is_some() && e.key == event.key;
        if let Some(older) = past.iter().find(same_key).filter(|_| event.outcome == Outcome::Miss) {
            let was_stored = older.stored || older.outcome != Outcome::Miss;
            return Ok((Cause::Gone { compared_time: older.time, was_stored }, None));
        }
        let Some(now) = self.record(event) else { return Ok((Cause::Unknown, None)) };
        let recorded = past.iter().filter(|e| !same_key(e)).find_map(|e| Some((e, self.record(e)?)));
        let Some((older, before)) = recorded else {
            let unrecorded = past.iter().find_map(|e| Some((e.time, told(e)?)));
            let cause = unrecorded.map(|(compared_time, because)| Cause::Unrecorded { compared_time, because });
            return Ok((cause.unwrap_or(Cause::Unknown), None));
        };
        let changes = Differences::between(&before, &now);
        // A change of its own explains a unit; only without one it is the outputs of others that do.
        let (mut own, mut inherited) = (None, None);
        for change in changes.fields.iter().chain(&changes.inputs) {
            match self.writer(change, event, older.time)? {
                None => {
                    own = Some(change);
                    break;
                }
                Some(writer) if inherited.is_none() && !seen.contains(&writer.unit) => {
                    inherited = Some((change, writer));
                }
                Some(_) => {}
            }
        }
        for change in changes.one_sided.iter().take(MOST_ONE_SIDED).filter(|_| own.is_none()) {
            if inherited.is_none() {
                let writer = self.writer(change, event, older.time)?.filter(|w| !seen.contains(&w.unit));
                inherited = writer.map(|w| (change, w));
            }
        }
        let (first, writer) = match (own, inherited) {
            (Some(own), _) => (Some(own), None),
            (None, Some((change, writer))) => (Some(change), Some(writer)),
            (None, None) => (changes.all().next(), None),
        };
        let Some(first) = first else { return Ok((Cause::Unknown, None)) };
        let cause = Cause::Changed {
            change: first.clone(),
            others: (changes.fields.len() + changes.inputs.len()).saturating_sub(1),
            compared_with: unit_name(older).to_string(),
            compared_dir: older.build_dir.clone().filter(|_| older.build_dir != event.build_dir),
            compared_time: older.time,
        };
        let because_of = writer.map(|e| self.why_within(&e, build_begin, seen)).transpose()?;
        Ok((cause, because_of.map(Box::new)))
    }

    /// The action that wrote what a change names, after `since`.
    fn writer(&self, change: &Change, reader: &Event, since: u64) -> Result<Option<Event>, Trouble> {
        let (Some(dir), Some(now)) = (&reader.build_dir, &change.now) else { return Ok(None) };
        let wrote = |e: &Event| {
            e.build_dir.as_ref() == Some(dir) && e.unit != reader.unit && begin(e) < reader.time && e.time > since
        };
        let newest = |of: Of| -> Result<Option<Event>, Trouble> {
            let mut found = None;
            self.index.each_use(of, reader.time.saturating_add(OVERLAP_MS), &mut |e| {
                let (old, fits) = (e.time <= since, wrote(&e));
                found = Some(e).filter(|_| fits);
                !old && !fits
            })?;
            Ok(found)
        };
        for text in [&change.what, now] {
            let Some((path, built)) = within(text, dir) else { continue };
            if let Some(writer) = newest(Of::Unit(path))? {
                return Ok(Some(writer));
            }
            // `<build>/debug/deps/libfoo-1a2b.rmeta` is of `foo-1a2b`.
            for part in path.rsplit('/').filter(|_| built) {
                let stem = part.split('.').next().unwrap_or(part);
                let bare = stem.strip_prefix("lib").unwrap_or(stem);
                for unit in [stem, bare].into_iter().filter(|s| !s.is_empty()) {
                    if let Some(writer) = newest(Of::Unit(unit))? {
                        return Ok(Some(writer));
                    }
                }
            }
            // An archive is made by a program that is no compiler; what changed is one of the objects in it.
            let mut made_of = None;
            for member in archive::members(&Path::new(dir).join(path)) {
                match newest(Of::Word(&member))? {
                    Some(object) if object.outcome == Outcome::Miss => return Ok(Some(object)),
                    object => made_of = made_of.or(object),
                }
            }
            if made_of.is_some() {
                return Ok(made_of);
            }
        }
        Ok(None)
    }
}

/// The path that a text names, from the build directory or the project's top, and whether it is cargo's way to say so.
fn within<'t>(text: &'t str, dir: &str) -> Option<(&'t str, bool)> {
    let after = |start: &str| text.find(start).map(|at| &text[at + start.len()..]);
    let build = after("<build>/").or_else(|| after("<build-real>/")).or_else(|| after(dir)?.strip_prefix('/'));
    let found = build.map(|path| (path, true)).or_else(|| Some((after("<workspace>/")?, false)));
    found.map(|(path, built)| (path.split('"').next().unwrap_or(path), built))
}

/// The reason an event gives, with what it is about.
pub fn told(event: &Event) -> Option<String> {
    let detail = event.detail.as_ref().filter(|d| !d.is_empty()).map_or_else(String::new, |d| format!(": {d}"));
    event.reason.as_ref().map(|reason| format!("{}{detail}", sentence(reason)))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::history::testing::event;
    use crate::view::testing::view;
    use kache_key::State;
    use kache_store::Store;

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
    }

    /// Guards: fields come before inputs, changed inputs before those that only one key has.
    #[test]
    fn inputs_differ() {
        let before = inputs(&[("arg", "1")], &[("file a", "1"), ("file gone", "1"), ("file z", "1")]);
        let now = inputs(&[("arg", "2")], &[("file new", "1"), ("file a", "1"), ("file z", "2")]);
        let of = |a, b| Differences::between(a, b).all().map(|c| c.what.clone()).collect::<Vec<_>>();
        assert_eq!(of(&before, &now), ["arg", "file z", "file new", "file gone"]);
        assert!(of(&before, &before).is_empty());
        let named = |n: &str, level: &str| {
            let names =
                [format!("-C metadata={n}"), format!("--out-dir <build>/x-{n}"), format!("-C opt-level={level}")];
            inputs(&names.each_ref().map(|text| ("argument", text.as_str())), &[("file <workspace>/a/../b", n)])
        };
        let all = ["argument", "file <workspace>/b", "the name that cargo gives it"];
        let (one, two, three) = (named("1", "1"), named("2", "2"), named("2", "1"));
        assert_eq!(of(&one, &two), all);
        assert_eq!(of(&one, &three), all[1..]);
    }

    /// A store in which `base` changed, `middle` read its output, and `top` that one's.
    pub fn story() -> (tempfile::TempDir, Store, Vec<Event>) {
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

    pub fn index<'s>(store: &'s Store, events: &[Event]) -> Index<'s> {
        events.iter().for_each(|e| store.append_event(e));
        Index::passing(store, &mut view().0).unwrap_or_else(|_| panic!("index"))
    }

    pub fn fine<T>(result: Result<T, Trouble>) -> T {
        result.unwrap_or_else(|_| panic!("the index answers"))
    }

    /// Guards: the chain leads from the last dependent to the unit that changed.
    #[test]
    fn chains_are_followed() {
        let (_dir, store, events) = story();
        let index = index(&store, &events);
        let why = fine(Explainer::new(&index).why(&events[5], 0));
        assert_eq!(why.unit, "top-01");
        assert_eq!(why.because_of.as_ref().unwrap().unit, "middle-01");
        assert_eq!(why.root().unit, "base-01");
        assert_eq!(why.line(), "through base-01: file <workspace>/base/src/lib.rs: \"old\" → \"new\"");
    }

    /// Guards: first compiles, evicted entries and units without a record are not mistaken for changes.
    #[test]
    fn not_everything_is_a_change() {
        let (_dir, store, mut events) = story();
        events.push(event("fresh", Outcome::Miss, 1003));
        events.push(Event { key: events[0].key.clone(), ..event("base", Outcome::Miss, 1004) });
        events.push(event("base", Outcome::Miss, 1005));
        let index = index(&store, &events);
        let cause = |at: usize| fine(Explainer::new(&index).why(&events[at], 0)).cause;
        assert_eq!(cause(0), Cause::First);
        assert_eq!(cause(6), Cause::First);
        assert_eq!(cause(7), Cause::Gone { compared_time: 10_000, was_stored: true });
        assert_eq!(cause(8), Cause::Unknown);
    }

    /// Guards: a build script whose unit is new is compared with that of its own package, however many others were compiled
    /// since then; another version of the package is the same.
    #[test]
    fn build_scripts_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path(), None);
        let script = |package: &str, unit: usize, time: u64| {
            let key = Digest::of(format!("{package}{unit}{time}").as_bytes());
            Event {
                unit: format!("build_script_build-{unit}"),
                source: Some(format!("/registry/{package}/build.rs")),
                key: Some(key.hex()),
                ..event("build_script_build", Outcome::Miss, time)
            }
        };
        let mut events: Vec<Event> = (0..6000).map(|n| script(&format!("p{n}-1.0.0"), n, 1000 + n as u64)).collect();
        events.insert(0, script("libc-0.2.1", 10_000, 10));
        events.push(script("libc-0.2.2", 10_001, 9000));
        for (event, state) in [(&events[0], "old"), (&events[6001], "new")] {
            let key = Digest::from_hex(event.key.as_ref().unwrap()).unwrap();
            store.put_inputs(&key, &inputs(&[("arg", "1")], &[("file <registry>/build.rs", state)])).unwrap();
        }
        let index = index(&store, &events);
        let why = fine(Explainer::new(&index).why(&events[6001], 8_000_000));
        let Cause::Changed { change, compared_time, .. } = why.cause else { panic!("{:?}", why.cause) };
        assert_eq!((&*change.what, compared_time), ("file <registry>/build.rs", 10_000));
    }

    /// Guards: of C, one name in two places is two things, unless source and arguments are the same; a probe is compared
    /// with the same probe alone; and a changed header leads through object and archive to the link.
    #[test]
    fn objects_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path(), None);
        let project = dir.path().display().to_string();
        let mut events = Vec::new();
        let mut put = |unit: &str, place: &str, weak: &str, time: u64, states: &[(&str, &str)]| {
            let name = unit.rsplit('/').next().unwrap();
            let key = Digest::of(format!("{unit}{place}{time}").as_bytes());
            let source = ("source", if weak.ends_with('2') { "bb" } else { "aa" });
            store.put_inputs(&key, &inputs(&[("argument", "-c"), source], states)).unwrap();
            let path = |file: String| Some(format!("{place}/{file}"));
            events.push(Event {
                action: "cc".into(),
                unit: unit.into(),
                output: path(unit.into()),
                source: path(unit.replace(".o", ".c")),
                weak: Some(weak.into()),
                build_dir: Some(place.into()),
                key: Some(key.hex()),
                ..event(name, Outcome::Miss, time)
            });
        };
        let p = project.as_str();
        let header = |state| [("file <workspace>/all.h", state), ("file <workspace>/a.c", "1")];
        put("src/main.o", "/other", "m", 1, &[("file <workspace>/src/main.c", "1")]);
        put("src/main.o", p, "m2", 2, &[("file <workspace>/src/main.c", "2")]);
        put("conftest.o", p, "c", 3, &[("file <workspace>/conftest.c", "1")]);
        put("conftest.o", p, "c2", 4, &[("file <workspace>/conftest.c", "2")]);
        put("a.o", p, "a", 5, &header("old"));
        put("prog", p, "p", 6, &[("file <workspace>/liball.a", "old")]);
        put("a.o", "/copy", "a", 1000, &header("new"));
        put("conftest.o", p, "c", 1001, &[("file <workspace>/conftest.c", "1"), ("variable X", "now")]);
        put("a.o", p, "a", 1005, &header("new"));
        put("prog", p, "p", 1006, &[("file <workspace>/liball.a", "new")]);
        put("a.o", p, "a2", 2000, &[("file <workspace>/all.h", "new"), ("file <workspace>/a.c", "2")]);
        let member = format!("!<arch>\n{:<48}{:<10}`\nobj\n", "a.o/", 3);
        std::fs::write(dir.path().join("liball.a"), member).unwrap();
        let index = index(&store, &events);
        let why = |at: usize| fine(Explainer::new(&index).why(&events[at], 0));
        let changed = |at: usize| match why(at).cause {
            Cause::Changed { change, others, compared_time, .. } => (change.what, others, compared_time / 1000),
            other => panic!("{other:?}"),
        };
        assert_eq!([1, 3].map(|at| why(at).cause), [Cause::First, Cause::First]);
        assert_eq!(changed(6), ("file <workspace>/all.h".into(), 0, 5));
        assert_eq!(changed(7), ("variable X".into(), 0, 3));
        assert_eq!(changed(8), ("file <workspace>/all.h".into(), 0, 5));
        let link = why(9);
        assert_eq!(link.root().line(), "file <workspace>/all.h: \"old\" → \"new\"");
        assert_eq!(link.root().unit, "a.o");
        assert_eq!(changed(10), ("file <workspace>/a.c".into(), 0, 1005));
    }
}
