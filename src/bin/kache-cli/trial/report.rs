//! What a measurement comes to: medians, what was not cached and why, a verdict; as a table and as JSON. Knows nothing
//! about how it was measured.

use super::{Phase, Run, Trial};
use crate::explain::{Explainer, told};
use crate::fail::Fail;
use crate::format::{Table, count, seconds, shorten, size};
use crate::history::{self, Tally, is_query, unit_name};
use crate::index::{self, Index, Trouble};
use crate::view::{BAD, FAINT, GOOD, PLAIN, STRONG, View};
use kache_store::{Event, Outcome};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;

#[derive(Clone, Copy, Default, Serialize)]
pub struct Space {
    /// What the second checkout's target directory added.
    #[serde(rename = "second_tree_bytes")]
    pub second_tree: u64,
    #[serde(rename = "target_bytes")]
    pub target: u64,
    #[serde(rename = "cache_bytes")]
    pub cache: u64,
}

#[derive(Serialize)]
pub struct Report {
    version: u32,
    project: String,
    command: String,
    runs: usize,
    units: usize,
    phases: Vec<PhaseReport>,
    disk: Space,
    not_cached: Vec<NotCached>,
    pub ok: bool,
    verdict: String,
}

#[derive(Serialize)]
struct PhaseReport {
    phase: Phase,
    /// The median.
    seconds: f64,
    all_seconds: Vec<f64>,
    outcomes: Tally,
    by_action: BTreeMap<String, Tally>,
    /// Of a next build: what was compiled, and should not have been.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    compiled: BTreeSet<String>,
}

/// A unit that came from the compiler where it could have come from the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct NotCached {
    unit: String,
    action: String,
    phases: Vec<Phase>,
    why: String,
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

pub fn report(trial: &Trial, runs: &[Run], disk: Space, view: &mut View) -> Result<Report, Fail> {
    let phases: Vec<PhaseReport> = Phase::ALL.into_iter().map(|phase| phase_report(phase, runs)).collect();
    let store = trial.store();
    let index = Index::passing(&store, view)?;
    let trees = [Phase::Cold, Phase::Second].map(|phase| trial.site.tree(phase));
    let told = |run| not_cached(run, &mut Explainer::new(&index), &trees);
    let not_cached =
        runs.last().map_or_else(|| Ok(Vec::new()), told).map_err(|e| index::told(&store.index_path(), e))?;
    let words = [vec!["cargo".to_string(), trial.subcommand.clone()], trial.args.clone()].concat();
    let (ok, mut verdict) = verdict(&phases, &not_cached, disk);
    if runs.len() == 1 {
        verdict += " (One run: small differences are chance, see --runs.)";
    }
    Ok(Report {
        version: 1,
        project: trial.project.name(),
        command: words.join(" "),
        runs: runs.len(),
        units: trial.units,
        phases,
        disk,
        not_cached,
        ok,
        verdict,
    })
}

/// Times are medians of all runs; outcomes are of the last run, what was wrongly compiled is of all.
fn phase_report(phase: Phase, runs: &[Run]) -> PhaseReport {
    let all_seconds: Vec<f64> = runs.iter().filter_map(|r| Some(r.get(&phase)?.seconds)).collect();
    let events = runs.last().and_then(|r| r.get(&phase)).map_or(&[][..], |m| &m.events);
    let by_action = history::by_action(events);
    let mut outcomes = Tally::default();
    events.iter().filter(|e| !is_query(e)).for_each(|e| outcomes.add(e.outcome, 1));
    let mut compiled = BTreeSet::new();
    for measured in runs.iter().filter_map(|r| r.get(&phase)).filter(|_| phase.is_next()) {
        compiled.extend(measured.compiled.iter().cloned());
        if measured.compiled.is_empty() {
            compiled.extend(measured.events.iter().filter(|e| !is_query(e)).map(|e| unit_name(e).to_string()));
        }
    }
    PhaseReport { phase, seconds: median(&all_seconds), all_seconds, outcomes, by_action, compiled }
}

/// What was compiled though it could have been restored, or was not stored when it could have been.
fn not_cached(run: &Run, explainer: &mut Explainer, trees: &[PathBuf]) -> Result<Vec<NotCached>, Trouble> {
    let mut found: Vec<(String, NotCached)> = Vec::new();
    for (phase, measured) in run.iter().filter(|(p, _)| **p == Phase::Cold || p.restores()) {
        for event in measured.events.iter().filter(|e| !is_query(e)) {
            let expected = match event.outcome {
                Outcome::Hit | Outcome::Dup => true,
                Outcome::Miss => *phase == Phase::Cold && event.stored,
                Outcome::Passthrough | Outcome::Skipped | Outcome::Error => false,
            };
            if expected {
                continue;
            }
            let begin = measured.events.iter().map(history::begin).min().unwrap_or(0);
            let (kind, why) = why_not(event, begin, run, explainer)?;
            let unit = unit_name(event).to_string();
            let same = found.iter_mut().find(|(k, n)| *k == kind && n.unit == unit && n.action == event.action);
            match same {
                Some((_, same)) if same.phases.contains(phase) => {}
                Some((_, same)) => same.phases.push(*phase),
                None => {
                    let why = trees.iter().fold(why, |why, tree| why.replace(&format!("{}/", tree.display()), ""));
                    let one = NotCached { unit, action: event.action.clone(), phases: vec![*phase], why };
                    found.push((kind, one));
                }
            }
        }
    }
    Ok(found.into_iter().map(|(_, n)| n).collect())
}

/// The reason, by which equal ones are told together, and all that is known of it.
fn why_not(event: &Event, begin: u64, run: &Run, explainer: &mut Explainer) -> Result<(String, String), Trouble> {
    if let Some(text) = told(event) {
        return Ok((event.reason.clone().unwrap_or_default(), text));
    }
    let of_unit = |e: &&Event| e.unit == event.unit && e.action == event.action && e.time < event.time;
    let mut earlier = run.values().flat_map(|m| &m.events).filter(of_unit);
    let unstored = earlier.rfind(|e| !e.stored && e.outcome == Outcome::Miss);
    Ok(match unstored.and_then(|e| Some((e.reason.clone()?, told(e)?))) {
        Some((kind, text)) => (kind, format!("an earlier result was not stored: {text}")),
        None => (String::new(), explainer.why(event, begin)?.line()),
    })
}

/// What it comes to, in plain words; and whether all was as it should be.
fn verdict(phases: &[PhaseReport], not_cached: &[NotCached], disk: Space) -> (bool, String) {
    let of = |phase: Phase| phases.iter().find(|p| p.phase == phase);
    let time = |phase: Phase| of(phase).map_or(0.0, |p| p.seconds);
    if of(Phase::Cold).is_none_or(|p| p.outcomes.total() == 0) {
        return (
            false,
            "Invalid: kache was never called, so nothing was measured. Does the project set its own wrapper?".into(),
        );
    }
    let mut wrong = Vec::new();
    for phase in phases.iter().filter(|p| p.phase.restores() && p.outcomes.restored() == 0) {
        wrong.push(format!("\"{}\" restored nothing, so its time says nothing", phase.phase.name()));
    }
    for phase in phases.iter().filter(|p| !p.compiled.is_empty()) {
        wrong.push(format!(
            "\"{}\" compiled {} of a finished tree",
            phase.phase.name(),
            count(phase.compiled.len() as u64, "unit")
        ));
    }
    if !wrong.is_empty() {
        return (false, format!("Not as it should be: {}.", wrong.join("; ")));
    }
    let base = time(Phase::NoCache);
    let speed = |phase: Phase| {
        let times = base / time(phase).max(0.001);
        if times >= 1.05 { format!("{times:.1} times as fast") } else { format!("no faster ({:.2} ×)", 1.0 / times) }
    };
    let cold = 100.0 * (time(Phase::Cold) / base.max(0.001) - 1.0);
    let cold = match cold {
        c if c >= 1.0 => format!("takes {c:.0} % longer"),
        c if c > -1.0 => "costs nothing you can measure".into(),
        c => format!("was {:.0} % faster, by chance", -c),
    };
    let left: BTreeSet<_> =
        not_cached.iter().filter(|n| n.phases.iter().any(|p| p.restores())).map(|n| (&n.unit, &n.action)).collect();
    let left = match left.len() {
        0 => "everything was restored".into(),
        n => format!("{} had to be compiled again", count(n as u64, "unit")),
    };
    let text = format!(
        "With kache, building again is {}, and a second checkout {}; {left}. The first build {cold}. The second checkout \
        adds {} to the disk where its target directory holds {}. Finished trees stayed finished.",
        speed(Phase::Warm),
        speed(Phase::Second),
        size(disk.second_tree),
        size(disk.target),
    );
    (true, text)
}

pub fn show(report: &Report, out: &mut dyn Write) -> std::io::Result<()> {
    let runs = if report.runs == 1 { "one run".into() } else { format!("medians of {} runs", report.runs) };
    writeln!(
        out,
        "{STRONG}{}{STRONG:#}: {}, {}, {runs}\n",
        report.project,
        report.command,
        count(report.units as u64, "unit")
    )?;
    phase_table(report).write(out)?;
    let disk = report.disk;
    writeln!(
        out,
        "\nSecond checkout adds {} to the disk; its target directory holds {}. The cache holds {}.", //
        size(disk.second_tree),
        size(disk.target),
        size(disk.cache)
    )?;
    for phase in report.phases.iter().filter(|p| !p.compiled.is_empty()) {
        let names = phase.compiled.iter().cloned().collect::<Vec<_>>().join(", ");
        writeln!(out, "\n{BAD}{} compiled:{BAD:#} {}", phase.phase.name(), shorten(&names, 400))?;
    }
    if !report.not_cached.is_empty() {
        writeln!(out, "\n{STRONG}Not cached{STRONG:#}")?;
        for group in alike(&report.not_cached) {
            let first = group[0];
            let phases = first.phases.iter().map(|p| p.name()).collect::<Vec<_>>().join(", ");
            let units: Vec<&str> = group.iter().map(|n| n.unit.as_str()).collect();
            let many = if units.len() > 3 { format!("{} units: ", units.len()) } else { String::new() };
            writeln!(out, "{many}{} {FAINT}({}; {phases}){FAINT:#}", shorten(&units.join(", "), 200), first.action)?;
            writeln!(out, "    {}", shorten(&first.why, 300))?;
        }
    }
    let style = if report.ok { GOOD } else { BAD };
    writeln!(out, "\n{style}{}{style:#}", report.verdict)
}

/// Units that were not cached in the same phases for the same reason, most units first.
fn alike(not_cached: &[NotCached]) -> Vec<Vec<&NotCached>> {
    // What else differed is no other reason.
    let reason = |n: &NotCached| n.why.split(" (and ").next().unwrap_or("").to_string();
    let mut groups: Vec<Vec<&NotCached>> = Vec::new();
    for n in not_cached {
        let same =
            |g: &Vec<&NotCached>| g[0].action == n.action && g[0].phases == n.phases && reason(g[0]) == reason(n);
        match groups.iter_mut().find(|g| same(g)) {
            Some(group) => group.push(n),
            None => groups.push(vec![n]),
        }
    }
    groups.sort_by_key(|g| std::cmp::Reverse(g.len()));
    groups
}

fn phase_table(report: &Report) -> Table {
    let mut table =
        Table::new(&["phase", "kind", ">time", ">of no cache", ">hit", ">dup", ">miss", ">passed", ">error"]);
    let base = report.phases.iter().find(|p| p.phase == Phase::NoCache).map_or(0.0, |p| p.seconds);
    for p in &report.phases {
        let ratio = match p.phase {
            Phase::NoCache => String::new(),
            _ if base <= 0.0 => String::new(),
            _ => format!("{:.3}", p.seconds / base),
        };
        let numbers = |t: &Tally| [t.hit, t.dup, t.miss, t.passthrough + t.skipped, t.error].map(|n| n.to_string());
        let mut row = vec![
            (p.phase.name().to_string(), STRONG),
            (String::new(), PLAIN),
            (seconds(p.seconds), STRONG),
            (ratio, PLAIN),
        ];
        if p.outcomes.total() > 0 {
            row.extend(numbers(&p.outcomes).map(|n| (n, PLAIN)));
        } else if p.phase.is_next() && p.compiled.is_empty() {
            row[1] = ("compiled nothing".into(), FAINT);
        }
        table.styled(row);
        for (action, tally) in p.by_action.iter().filter(|_| p.by_action.len() > 1) {
            let head = [String::new(), action.clone(), String::new(), String::new()];
            table.styled(head.into_iter().chain(numbers(tally)).map(|c| (c, FAINT)).collect());
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::Measured;
    use super::*;
    use crate::history::testing::event;
    use crate::view::testing::view;
    use kache_store::Store;

    fn measured(seconds: f64, events: Vec<Event>) -> Measured {
        Measured { seconds, compiled: BTreeSet::new(), events }
    }

    /// A run in which all went well.
    fn good_run() -> Run {
        let at = |outcome, time| vec![event("a", outcome, time), event("b", outcome, time + 1)];
        Run::from([
            (Phase::NoCache, measured(10.0, vec![])),
            (Phase::Cold, measured(10.2, at(Outcome::Miss, 10))),
            (Phase::Warm, measured(0.2, at(Outcome::Hit, 20))),
            (Phase::Second, measured(0.25, at(Outcome::Hit, 30))),
            (Phase::NextFirst, measured(0.1, vec![])),
            (Phase::NextSecond, measured(0.1, vec![])),
        ])
    }

    fn judge(run: Run) -> (bool, String, Vec<NotCached>) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path(), None);
        let events: Vec<Event> = run.values().flat_map(|m| m.events.clone()).collect();
        events.iter().for_each(|e| store.append_event(e));
        let Ok(index) = Index::passing(&store, &mut view().0) else { panic!("index") };
        let left = not_cached(&run, &mut Explainer::new(&index), &[PathBuf::from("/w")]);
        let left = left.unwrap_or_else(|_| panic!("the index answers"));
        let runs = [run];
        let phases: Vec<_> = Phase::ALL.into_iter().map(|p| phase_report(p, &runs)).collect();
        let (ok, text) = verdict(&phases, &left, Space::default());
        (ok, text, left)
    }

    #[test]
    fn good_runs_are_told() {
        let (ok, text, left) = judge(good_run());
        assert!(ok && left.is_empty(), "{left:?}");
        assert!(text.contains("building again is 50.0 times as fast, and a second checkout 40.0 times"), "{text}");
        assert!(text.contains("everything was restored. The first build takes 2 % longer"), "{text}");
    }

    /// Guards: a phase without a restore and a finished tree that compiles are never called a success.
    #[test]
    fn bad_runs_are_told() {
        let mut run = good_run();
        run.get_mut(&Phase::Second).unwrap().events.iter_mut().for_each(|e| e.outcome = Outcome::Miss);
        run.get_mut(&Phase::NextFirst).unwrap().events.push(event("a", Outcome::Hit, 40));
        let (ok, text, _) = judge(run);
        assert!(!ok);
        assert!(
            text.contains("\"second checkout\" restored nothing")
                && text.contains("\"next build, first\" compiled 1 unit"),
            "{text}"
        );
        let mut silent = good_run();
        silent.values_mut().for_each(|m| m.events.clear());
        assert!(!judge(silent).0);
    }

    /// Guards: every unit that was not cached is named with its reason, also when the reason lies in an earlier phase.
    #[test]
    fn what_was_not_cached_is_named() {
        let mut run = good_run();
        let cold = run.get_mut(&Phase::Cold).unwrap();
        cold.events[0].stored = false;
        cold.events[0].reason = Some("too-new".into());
        cold.events[0].detail = Some("/w/src/a.rs".into());
        run.get_mut(&Phase::Warm).unwrap().events[0].outcome = Outcome::Miss;
        let declined = |time| Event { reason: Some("link".into()), ..event("c", Outcome::Passthrough, time) };
        run.get_mut(&Phase::Warm).unwrap().events.push(declined(22));
        run.get_mut(&Phase::Second).unwrap().events.push(declined(32));
        let (ok, text, left) = judge(run);
        assert!(ok);
        let told: Vec<_> = left.iter().map(|n| (n.unit.as_str(), n.phases.len())).collect();
        assert_eq!(told, [("a-01", 2), ("c-01", 2)]);
        assert!(left[0].why.ends_with(": src/a.rs"), "{left:?}");
        assert!(text.contains("2 units had to be compiled again"), "{text}");
    }

    /// Guards: units with one reason are told together.
    #[test]
    fn equal_reasons_are_one() {
        let n = |unit: &str, why: &str, phase| NotCached {
            unit: unit.into(),
            action: "rustc".into(),
            phases: vec![phase],
            why: why.into(),
        };
        let all = [
            n("a", "x", Phase::Warm),
            n("b", "y", Phase::Warm),
            n("c", "y (and 2 more)", Phase::Warm),
            n("d", "y", Phase::Second),
        ];
        let groups: Vec<String> = alike(&all).iter().map(|g| g.iter().map(|n| n.unit.as_str()).collect()).collect();
        assert_eq!(groups, ["bc", "a", "d"]);
    }

    #[test]
    fn medians() {
        assert_eq!([median(&[3.0, 1.0, 2.0]), median(&[1.0, 2.0]), median(&[])], [2.0, 1.5, 0.0]);
    }
}
