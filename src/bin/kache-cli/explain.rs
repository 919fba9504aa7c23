//! `kache explain`: why something missed, told. What the reason is, `why` finds out.

mod archive;
mod why;

pub use why::{Explainer, told};

use crate::Context;
use crate::fail::{Done, Fail};
use crate::format::{Since, ago, count, printable, shorten};
use crate::history::{self, Build, Tally, is_probe};
use crate::index::{Index, Of, Trouble};
use crate::view::{BAD, FAINT, GOOD, STRONG, View, WARN};
use kache_store::{Event, Outcome};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use why::{Cause, Why};

/// The last build is looked for among so many events; among more, when it began before them.
const LAST_BUILD: usize = 5_000;

/// Causes that are told to people; those of most units come first.
const MOST_GROUPS: usize = 20;

/// The newest of so many events are explained.
const MOST: usize = 200_000;

/// Say why the last build, a crate or a file was compiled and not restored
#[derive(clap::Args)]
#[command(
    alias = "why-miss",
    after_help = "\
Examples:
  kache explain               the last build: what missed, and the change behind it
  kache explain serde         the newest miss of a crate
  kache explain src/main.c    the newest miss of a C source or object
  kache explain --since 2h    all that missed in this time
  kache explain --json"
)]
pub struct Args {
    /// A crate, a source or object file, or a unit as `kache explain` prints them
    #[arg(value_name = "CRATE|FILE")]
    name: Option<String>,
    /// How far back: 7d, 24h, 30m, or all; the last build if not given
    #[arg(long, value_parser = Since::parse, value_name = "DURATION")]
    since: Option<Since>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, context: &Context, view: &mut View) -> Result<Done, Fail> {
    let mut index = Index::open(&context.store, view)?;
    let since = args.since.map_or(0, |s| s.start(Event::now_ms()));
    match args.name {
        Some(name) => {
            let found = index.ask(view, |index| explain_one(&name, &context.cwd, since, index))?;
            tell_one(&name, found, args.json, view)
        }
        None => {
            let report = index.ask(view, |index| explain_builds(args.since.map(|_| since), MOST, index))?;
            if args.json {
                view.json(&report)?;
            } else {
                tell_builds(&report, args.since, &mut view.out)?;
            }
            Ok(Done::Fine)
        }
    }
}

#[derive(Serialize)]
struct OneReport {
    version: u32,
    explanation: Option<Why>,
}

/// What a name may mean, the likeliest first.
fn meaning(event: &Event, name: &str, files: &[String]) -> Option<usize> {
    let is_file = |path: &Option<String>| path.as_ref().is_some_and(|p| files.contains(p));
    let called = |path: &Option<String>| path.as_ref().is_some_and(|p| p.rsplit('/').next() == Some(name));
    let same = |text: &str| text == name || text.replace('_', "-") == name.replace('_', "-");
    let meanings = [
        is_file(&event.output),
        is_file(&event.source),
        same(&event.name) || same(&event.unit),
        called(&event.output),
        called(&event.source),
    ];
    meanings.iter().position(|m| *m)
}

/// The newest event of that name which was not restored, explained. `None`: nothing is called so; `Some(None)`: all of it
/// was restored.
fn explain_one(name: &str, cwd: &Path, since: u64, index: &Index) -> Result<Option<Option<Why>>, Trouble> {
    let file = kache_os::lexical(&cwd.join(name));
    let real = std::fs::canonicalize(&file).ok();
    let files: Vec<String> = [Some(file), real].into_iter().flatten().map(|f| f.display().to_string()).collect();
    // A link is asked for, and what it leads to was made.
    let words =
        std::iter::once(name).chain(files.iter().map(String::as_str)).map(|f| f.rsplit('/').next().unwrap_or(f));
    let words: BTreeSet<&str> = words.collect();
    let mut found: [Option<Option<Event>>; 5] = Default::default();
    for of in words.into_iter().map(Of::Word).chain([Of::Unit(name)]) {
        index.each_use(of, u64::MAX, &mut |event| {
            if event.time < since {
                return false;
            }
            if let Some(at) = meaning(&event, name, &files) {
                let missed = !matches!(event.outcome, Outcome::Hit | Outcome::Dup);
                let newest = found[at].get_or_insert_default();
                if missed && newest.as_ref().is_none_or(|n| n.time < event.time) {
                    *newest = Some(event);
                }
            }
            true
        })?;
    }
    let Some(newest) = found.into_iter().flatten().next() else { return Ok(None) };
    let Some(event) = newest else { return Ok(Some(None)) };
    let (around, _) = index.newest(0..event.time + 1, LAST_BUILD)?;
    let holds = |b: &Build| b.events.iter().any(|e| e.time == event.time && e.unit == event.unit);
    let begin = history::builds(around).into_iter().find(holds).map_or(0, |b| b.begin());
    Explainer::new(index).why(&event, begin).map(Some).map(Some)
}

fn tell_one(name: &str, found: Option<Option<Why>>, json: bool, view: &mut View) -> Result<Done, Fail> {
    let Some(explanation) = found else {
        let text = format!("nothing called {name:?} was built through this cache (yet, or in this time)");
        return Err(Fail::Failed(text));
    };
    if json {
        view.json(&OneReport { version: 1, explanation })?;
        return Ok(Done::Fine);
    }
    match explanation {
        None => writeln!(view.out, "{name} was always restored: there is no miss to explain.")?,
        Some(why) => write_why(&why, Event::now_ms(), &mut view.out)?,
    }
    Ok(Done::Fine)
}

/// What stands behind a number of units.
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
struct Report {
    version: u32,
    /// Builds that are told of: one, if no time was given.
    builds: usize,
    /// What came before the newest events was left out.
    cut: bool,
    /// Of the last of them.
    build_dir: Option<String>,
    time: Option<u64>,
    outcomes: BTreeMap<String, Tally>,
    /// Compiles by which a configure script or CMake tried something; counted nowhere else.
    probes: Tally,
    groups: Vec<Group>,
}

/// The builds since then; without a time, the last one. Only the newest events are looked at.
fn explain_builds(since: Option<u64>, most: usize, index: &Index) -> Result<Report, Trouble> {
    let (builds, cut) = match since {
        Some(since) => {
            let (events, cut) = index.newest(since..u64::MAX, most)?;
            (history::builds(events), cut)
        }
        None => {
            let mut look = LAST_BUILD.min(most);
            loop {
                match index.last_build(0, look)? {
                    (_, true) if look < most => look = most.min(look * 4),
                    (last, cut) => break (last.into_iter().collect(), cut),
                }
            }
        }
    };
    let (mut probes, mut units) = (Tally::default(), Vec::new());
    for event in builds.iter().flat_map(|b| &b.events) {
        if is_probe(event) { probes.add(event.outcome, 1) } else { units.push(event) }
    }
    let last = builds.last();
    Ok(Report {
        version: 1,
        builds: builds.len(),
        cut,
        build_dir: last.map(|b| b.dir.clone()),
        time: last.map(Build::end),
        outcomes: history::by_action(units),
        probes,
        groups: groups(&builds, &mut Explainer::new(index))?,
    })
}

fn tell_builds(report: &Report, since: Option<Since>, out: &mut dyn Write) -> std::io::Result<()> {
    let now = Event::now_ms();
    let (Some(dir), Some(time)) = (&report.build_dir, report.time) else {
        let when = since.map_or_else(|| "yet".to_string(), |s| format!("in {}", s.words()));
        return writeln!(out, "No build went through this cache {when}: there is nothing to explain.");
    };
    let of = |each: &dyn Fn(&Tally) -> u64| report.outcomes.values().map(each).sum::<u64>();
    let (units, restored) = (of(&Tally::total), of(&Tally::restored));
    match since {
        None => write!(out, "{STRONG}Last build{STRONG:#} in {dir}, {}", ago(now.saturating_sub(time)))?,
        Some(since) => {
            write!(out, "{STRONG}{}{STRONG:#} in {}", count(report.builds as u64, "build"), since.words())?;
        }
    }
    writeln!(out, ": {}, {} not restored.", count(units, "unit"), units - restored)?;
    if report.cut {
        let shown = count(units + report.probes.total(), "invocation");
        writeln!(out, "{WARN}Older ones are left out:{WARN:#} only the newest {shown} are looked at.")?;
    }
    if report.probes.total() > 0 {
        let (all, restored) = (report.probes.total(), report.probes.restored());
        writeln!(
            out,
            "{FAINT}Beside {} of a configure script, {} not restored.{FAINT:#}",
            count(all, "probe"),
            all - restored
        )?;
    }
    for group in report.groups.iter().take(MOST_GROUPS) {
        writeln!(out)?;
        let list = |units: &[String]| shorten(&units.join(", "), 400);
        match (&group.root.cause, &group.units[..]) {
            (Cause::Changed { .. }, units) => {
                write_why(&group.root, now, out)?;
                if units.len() > 1 {
                    let others = count(units.len() as u64 - 1, "other unit");
                    writeln!(out, "    {FAINT}the same for{FAINT:#} {others}: {}", list(&units[1..]))?;
                }
            }
            (_, [_]) => write_why(&group.root, now, out)?,
            (_, units) => {
                writeln!(out, "{}: {}", count(units.len() as u64, "unit"), group.root.line())?;
                writeln!(out, "    {}", list(units))?;
            }
        }
        if !group.dependents.is_empty() {
            let many = count(group.dependents.len() as u64, "dependent");
            writeln!(out, "    {FAINT}and so{FAINT:#} {many}: {}", list(&group.dependents))?;
        }
    }
    if let Some(others @ [_, ..]) = report.groups.get(MOST_GROUPS..) {
        let units = others.iter().map(|g| g.units.len() + g.dependents.len()).sum::<usize>() as u64;
        let number = others.len() as u64;
        writeln!(out, "\nBeside these {} of {}; --json tells all.", count(number, "cause"), count(units, "unit"))?;
    }
    Ok(())
}

/// What was not restored, by what stands behind it; most units first. Of probes only those that had an earlier one to
/// compare with: new ones are what probes are.
fn groups(builds: &[Build], explainer: &mut Explainer) -> Result<Vec<Group>, Trouble> {
    let events = builds.iter().flat_map(|b| std::iter::repeat(b.begin()).zip(&b.events));
    let mut groups: Vec<Group> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for (begin, event) in events.filter(|(_, e)| !matches!(e.outcome, Outcome::Hit | Outcome::Dup)) {
        let why = explainer.why(event, begin)?;
        let root = why.root();
        // One changed thing is one group; so are all first compiles, and all that was declined for one reason.
        let key = match &root.cause {
            Cause::Changed { change, .. } => format!("{}\0{}", change.what, change.values()),
            _ if is_probe(event) => continue,
            Cause::Declined => {
                format!("declined\0{}\0{}", root.reason.as_deref().unwrap_or(""), root.detail.as_deref().unwrap_or(""))
            }
            Cause::First => format!("first\0{}", root.reason.as_deref().unwrap_or("")),
            Cause::Gone { was_stored, .. } => format!("gone\0{was_stored}"),
            Cause::Unrecorded { because, .. } => format!("unrecorded\0{because}"),
            Cause::Unknown => format!("unknown\0{}", root.reason.as_deref().unwrap_or("")),
        };
        let at = *known.entry(key).or_insert(groups.len());
        if at == groups.len() {
            groups.push(Group { root: root.clone(), units: vec![root.unit.clone()], dependents: Vec::new() });
        }
        let group = &mut groups[at];
        let units = if why.because_of.is_none() { &mut group.units } else { &mut group.dependents };
        if !units.contains(&why.unit) {
            units.push(why.unit.clone());
        }
    }
    groups.sort_by_key(|g| std::cmp::Reverse(g.units.len() + g.dependents.len()));
    Ok(groups)
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
        if let (Some(next), Cause::Changed { change, .. }) = (link, &why.cause) {
            let verb = if next.outcome == "miss" { "was compiled again" } else { "came out differently" };
            let unit = &next.unit;
            match change.what.ends_with(".a") {
                true => writeln!(out, "  which holds {STRONG}{unit}{STRONG:#} ({}); that {verb}:", next.action)?,
                false => writeln!(out, "  which {STRONG}{unit}{STRONG:#} ({}) wrote; it {verb}:", next.action)?,
            }
        }
    }
    Ok(())
}

fn write_cause(why: &Why, now: u64, out: &mut dyn Write) -> std::io::Result<()> {
    match &why.cause {
        Cause::Changed { change, others, compared_with, compared_dir, compared_time } => {
            writeln!(out, "  {STRONG}{}{STRONG:#}", printable(&change.what))?;
            let told = change.before.is_some() || change.now.is_some();
            for (label, value) in [("before", &change.before), ("now", &change.now)].into_iter().filter(|_| told) {
                let value = value.as_deref().map_or_else(|| "(not there)".to_string(), |v| printable(&shorten(v, 400)));
                writeln!(out, "    {FAINT}{label:<7}{FAINT:#}{value}")?;
            }
            let more =
                if *others == 0 { String::new() } else { format!("; {} more", count(*others as u64, "difference")) };
            let with = if *compared_with == why.unit { String::new() } else { format!("{compared_with}, ") };
            let place = compared_dir.as_ref().map_or_else(String::new, |dir| format!("in {dir}, "));
            let when = ago(now.saturating_sub(*compared_time));
            writeln!(out, "    {FAINT}compared with {with}{place}{when}{more}{FAINT:#}")
        }
        Cause::First | Cause::Gone { .. } | Cause::Unrecorded { .. } | Cause::Unknown | Cause::Declined => {
            let alone = Why { because_of: None, ..why.clone() };
            writeln!(out, "  {}", alone.line())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::why::tests::{fine, index, story};
    use super::*;
    use crate::history::testing::event;
    use crate::view::testing::view;

    /// Guards: one cause is told once, with all it led to.
    #[test]
    fn builds_are_grouped_by_cause() {
        let (_dir, store, mut events) = story();
        events.push(Event { reason: Some("link".into()), ..event("bin", Outcome::Passthrough, 1004) });
        events.push(event("other", Outcome::Hit, 1005));
        let index = index(&store, &events);
        let report = fine(explain_builds(None, MOST, &index));
        assert!(!report.cut);
        let told: Vec<_> = report.groups.iter().map(|g| (g.units.join(" "), g.dependents.join(" "))).collect();
        let strings = |a: &str, b: &str| (a.to_string(), b.to_string());
        assert_eq!(told, [strings("base-01", "middle-01 top-01"), strings("bin-01", "")]);
        let (mut view, paper) = view();
        tell_builds(&report, None, &mut view.out).unwrap();
        assert!(paper.text().contains("5 units, 4 not restored"), "{}", paper.text());
        assert!(paper.text().contains("and so 2 dependents: middle-01, top-01"), "{}", paper.text());
        let of = |since, most| fine(explain_builds(since, most, &index));
        assert_eq!((of(Some(0), 100).builds, of(Some(0), 100).cut), (2, false));
        assert_eq!((of(Some(0), 8).builds, of(Some(0), 8).cut), (2, false));
        assert_eq!((of(Some(0), 7).builds, of(Some(0), 7).cut), (2, true));
        assert_eq!((of(None, 6).cut, of(None, 5).cut), (false, true));
        assert_eq!(of(Some(2_000_000), 100).builds, 0);
        tell_builds(&of(None, 4), None, &mut view.out).unwrap();
        assert!(paper.text().contains("only the newest 4 invocations are looked at"), "{}", paper.text());
    }

    /// Guards: a path means its file, and of several meanings of a name the likeliest counts.
    #[test]
    fn names_have_meanings() {
        let file =
            |e: Event, path: &str| Event { output: Some(path.into()), source: Some(path.replace(".o", ".c")), ..e };
        let events = [
            file(event("a.o", Outcome::Miss, 10), "/w/a.o"),
            file(event("a.o", Outcome::Miss, 20), "/v/a.o"),
            event("serde_json", Outcome::Miss, 30),
            event("serde_json", Outcome::Hit, 40),
            file(event("prog", Outcome::Miss, 50), "/w/prog"),
            Event { source: Some("/w/a.o".into()), ..event("prog", Outcome::Miss, 60) },
            event("always", Outcome::Hit, 70),
        ];
        let (_dir, store, _) = story();
        let index = index(&store, &events);
        let time = |name: &str| fine(explain_one(name, Path::new("/w"), 0, &index)).map(|w| w.map(|w| w.time / 1000));
        assert_eq!(time("a.c"), Some(Some(10)));
        assert_eq!(time("./x/../a.o"), Some(Some(10)));
        assert_eq!(time("/v/a.c"), Some(Some(20)));
        assert_eq!(time("serde-json"), Some(Some(30)));
        assert_eq!(time("serde_json-01"), Some(Some(30)));
        assert_eq!(time("prog"), Some(Some(50)));
        assert_eq!(time("always"), Some(None));
        assert_eq!([time("/u/a.c"), time("b.c"), time("")], [None, None, None]);
        assert!(fine(explain_one("a.c", Path::new("/w"), 25_000, &index)).is_none());
    }
}
