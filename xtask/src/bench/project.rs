//! One project through all phases, tools alternating, with a verdict that does not flatter.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::disk::{self, Disk};
use super::tool::{self, Kind, Tool};
use super::{Options, RESTORES, Times, children_cpu, subject, trees};
use crate::system::{Done, about};

/// In this order, and so named in every table.
const PHASES: &[&str] = &["cold", "same tree", "cross first", "cross again", "next B", "next A"];

/// What the times must keep to, as ratios within one run.
const WARM_TO_FLOOR: f64 = 1.25;
const COLD_TO_NONE: f64 = 1.03;

#[derive(Default)]
struct Measured {
    /// What the last cold build noted in the event log.
    cold: Vec<Value>,
    times: BTreeMap<&'static str, Times>,
    /// Which says more than the clock where others work on the machine.
    cpu: BTreeMap<&'static str, Times>,
    /// Units of the last build in each phase, as cargo counts them.
    units: BTreeMap<&'static str, usize>,
    /// Outcomes in the event log, by phase; only of this project.
    outcomes: BTreeMap<&'static str, BTreeMap<String, usize>>,
    second_tree: u64,
    target: u64,
    keys_differ: Vec<String>,
    kinship: trees::Kinship,
    /// Why a phase counts for nothing.
    invalid: Vec<String>,
}

/// A tool with its two checkouts and its state.
struct Bench<'a> {
    tool: &'a Tool,
    home: PathBuf,
    args: Vec<&'a str>,
    /// A filesystem of its own, where the space in use can be read from the filesystem.
    own_disk: bool,
}

impl Bench<'_> {
    fn tree(&self, second: bool) -> PathBuf {
        self.home.join(if second { "second-checkout/tree/src" } else { "a/src" })
    }

    fn state(&self) -> PathBuf {
        self.home.join("state")
    }

    fn used(&self) -> Done<u64> {
        if self.own_disk { disk::used(&self.home) } else { Ok(trees::disk_usage(&self.home)) }
    }

    fn build(&self, phase: &'static str, second: bool, wipe: bool, into: &mut Measured) -> Done<Vec<Value>> {
        let tree = self.tree(second);
        if wipe {
            trees::remove(&tree.join("target"))?;
        }
        let before = events(&self.tool.cache(&self.state())).len();
        let cpu = children_cpu();
        let built = self.tool.cargo(&self.args, &tree, &self.state())?;
        into.cpu.entry(phase).or_default().add(children_cpu() - cpu);
        into.times.entry(phase).or_default().add(built.seconds);
        into.units.insert(phase, built.units);
        let new = events(&self.tool.cache(&self.state())).split_off(before);
        let counts = into.outcomes.entry(phase).or_default();
        counts.clear();
        for event in new.iter().filter(|e| e["action"] != "query") {
            *counts.entry(event["outcome"].as_str().unwrap_or("?").to_owned()).or_default() += 1;
        }
        eprintln!("{:>10}  {phase:<12} {:8.3} s", self.tool.name, built.seconds);
        Ok(new)
    }

    /// One phase of a round, which begins with an empty cache.
    fn phase(&self, phase: &'static str, into: &mut Measured) -> Done {
        match phase {
            "cold" => {
                trees::remove(&self.state())?;
                trees::remove(&self.tree(true).join("target"))?;
                into.cold = self.build(phase, false, true, into)?;
            }
            _ if self.tool.kind == Kind::None => {}
            "same tree" => {
                for _ in 0..RESTORES {
                    drop(self.build(phase, false, true, into)?);
                }
            }
            "cross first" => {
                let before = self.used()?;
                let cross = self.build(phase, true, true, into)?;
                into.second_tree = self.used()?.saturating_sub(before);
                into.target = trees::disk_usage(&self.tree(true).join("target"));
                into.kinship = trees::kinship(&self.tree(false), &self.tree(true));
                into.keys_differ = keys_that_differ(&into.cold, &cross);
            }
            "cross again" => drop(self.build(phase, true, true, into)?),
            _ => drop(self.build(phase, phase == "next B", false, into)?),
        }
        Ok(())
    }
}

/// The event log of this project; nothing for other tools.
pub fn events(cache: &Path) -> Vec<Value> {
    let mut files = trees::files(&cache.join("v1/events"));
    files.sort();
    let texts = files.iter().filter_map(|p| fs::read_to_string(p).ok()).collect::<String>();
    texts.lines().filter_map(|l| serde_json::from_str(l).ok()).collect()
}

/// Units that have one key in the first checkout and another one in the second.
fn keys_that_differ(first: &[Value], second: &[Value]) -> Vec<String> {
    let keys = |events: &[Value]| {
        let pair = |e: &Value| Some((e["unit"].as_str()?.to_owned(), e["key"].as_str()?.to_owned()));
        events.iter().filter_map(pair).collect::<BTreeMap<_, _>>()
    };
    let (first, second) = (keys(first), keys(second));
    second.into_iter().filter(|(unit, key)| first.get(unit).is_some_and(|k| k != key)).map(|(unit, _)| unit).collect()
}

pub fn run(options: &Options) -> Done {
    fs::create_dir_all(&options.root).map_err(|e| about(options.root.display(), e))?;
    let disk = options.fs.as_deref().map(|kind| Disk::new(kind, &options.root)).transpose()?;
    let work = disk.as_ref().map_or(options.root.as_path(), Disk::at);
    let subject = subject::fetch(&options.subject, work)?;
    let tools = tool::choose(options.tools.as_deref(), work)?;
    let runs = options.runs.unwrap_or(5);

    let mut args: Vec<&str> = options.cmd.split_whitespace().collect();
    if options.profile != "dev" {
        args.extend(["--profile", &options.profile]);
    }
    let mut benches = Vec::new();
    for tool in &tools {
        let home = work.join(&subject.name).join(&tool.name);
        trees::remove(&home)?;
        let bench = Bench { tool, home, args: args.clone(), own_disk: disk.is_some() };
        trees::copy(&subject.dir, &bench.tree(false))?;
        trees::copy(&subject.dir, &bench.tree(true))?;
        benches.push((bench, Measured::default()));
    }
    for run in 1..=runs {
        eprintln!("run {run} of {runs}");
        // Each phase with all tools, one right after the other: what is compared is seconds apart, not minutes.
        for phase in PHASES {
            for which in super::order(benches.len(), run - 1) {
                let (bench, measured) = &mut benches[which];
                bench.phase(phase, measured)?;
            }
        }
        for (bench, _) in &benches {
            bench.tool.stop(&bench.state());
        }
    }
    for (bench, measured) in &mut benches {
        judge(bench.tool, measured);
    }
    report(options, &subject.name, &benches)
}

/// A phase that was to restore and restored nothing says nothing about restoring.
fn judge(tool: &Tool, measured: &mut Measured) {
    if tool.kind == Kind::Ours {
        for phase in ["same tree", "cross first", "cross again"] {
            let count = |outcome: &str| measured.outcomes.get(phase).and_then(|o| o.get(outcome)).copied().unwrap_or(0);
            if count("hit") + count("dup") == 0 {
                measured.invalid.push(format!("{phase}: restored nothing"));
            } else if count("miss") > 0 {
                measured.invalid.push(format!("{phase}: {} units were compiled again", count("miss")));
            }
        }
    } else if tool.restores() {
        let median = |phase: &str| measured.times.get(phase).and_then(Times::median);
        for phase in ["same tree", "cross first"] {
            if let (Some(warm), Some(cold)) = (median(phase), median("cold"))
                && warm > 0.9 * cold
            {
                measured.invalid.push(format!("{phase}: as slow as cold, so probably nothing was restored"));
            }
        }
    }
    if !matches!(tool.kind, Kind::Floor | Kind::CopyingFloor) {
        for phase in ["next A", "next B"] {
            if let Some(units @ 1..) = measured.units.get(phase).copied() {
                measured.invalid.push(format!("{phase}: {units} units were built again"));
            }
        }
    }
}

/// Each promise with what was measured.
fn verdict(benches: &[(Bench<'_>, Measured)]) -> Vec<(String, bool)> {
    let of = |kind: Kind| benches.iter().find(|(b, _)| b.tool.kind == kind).map(|(_, m)| m);
    let median = |m: &Measured, phase: &str| m.times.get(phase).and_then(Times::median);
    let Some(ours) = of(Kind::Ours) else { return Vec::new() };
    let mut said = Vec::new();
    let mut ratio = |phase: &str, other: Option<&Measured>, name: &str, most: f64| {
        if let (Some(a), Some(b)) = (median(ours, phase), other.and_then(|m| median(m, phase))) {
            said.push((format!("{phase}: {:.3} × {name} (at most {most})", a / b), a / b <= most));
        }
    };
    ratio("same tree", of(Kind::Floor), "floor", WARM_TO_FLOOR);
    ratio("cross first", of(Kind::Floor), "floor", WARM_TO_FLOOR);
    for phase in ["same tree", "cross first"] {
        ratio(phase, of(Kind::CopyingFloor), "a floor that copies what is no library", WARM_TO_FLOOR);
    }
    ratio("cold", of(Kind::None), "no cache", COLD_TO_NONE);
    said.extend(ours.invalid.iter().map(|why| (why.clone(), false)));
    let keys = ours.keys_differ.len();
    said.push((format!("keys that differ between the checkouts: {keys}"), keys == 0));
    let leaks = ours.kinship.leaks.len();
    said.push((format!("outputs of the second checkout that name the first: {leaks}"), leaks == 0));
    said
}

fn report(options: &Options, subject: &str, benches: &[(Bench<'_>, Measured)]) -> Done {
    let verdict = verdict(benches);
    if options.json {
        let tools: Vec<_> = benches.iter().map(|(bench, m)| row(bench, m)).collect();
        let verdict: Vec<_> = verdict.iter().map(|(rule, holds)| json!({"rule": rule, "holds": holds})).collect();
        let all = json!({
            "subject": subject, "cmd": options.cmd, "profile": options.profile, "fs": options.fs,
            "tools": tools, "verdict": verdict,
        });
        println!("{all:#}");
        return Ok(());
    }
    println!("\n{subject}, cargo {}, profile {}: seconds, median (least–most)\n", options.cmd, options.profile);
    print!("{:<10}", "");
    PHASES.iter().for_each(|phase| print!("{phase:>22}"));
    println!("{:>12}{:>12}", "2nd tree MB", "target MB");
    for (bench, m) in benches {
        print!("{:<10}", bench.tool.name);
        for phase in PHASES {
            let times = m.times.get(phase);
            let cell = times.and_then(|t| Some((t.median()?, t.range()?)));
            print!("{:>22}", cell.map_or("–".into(), |(mid, (a, z))| format!("{mid:.3} ({a:.3}–{z:.3})")));
        }
        println!("{:>12.1}{:>12.1}", m.second_tree as f64 / 1e6, m.target as f64 / 1e6);
    }
    for (bench, m) in benches {
        let Measured { kinship, keys_differ, invalid, .. } = m;
        println!(
            "\n{}: {} outputs equal in both checkouts, {} differ",
            bench.tool.name,
            kinship.equal,
            kinship.different.len()
        );
        for (what, list) in [
            ("differs", &kinship.different),
            ("names the first checkout", &kinship.leaks),
            ("another key", keys_differ),
            ("invalid", invalid),
        ] {
            list.iter().take(12).for_each(|line| println!("  {what}: {line}"));
            if list.len() > 12 {
                println!("  {what}: {} more", list.len() - 12);
            }
        }
        for (phase, counts) in m.outcomes.iter().filter(|(_, counts)| !counts.is_empty()) {
            println!("  {phase}: {counts:?}");
        }
    }
    println!();
    let cold = |kind: Kind| benches.iter().find(|(b, _)| b.tool.kind == kind)?.1.cpu.get("cold")?.median();
    if let (Some(ours), Some(none)) = (cold(Kind::Ours), cold(Kind::None)) {
        println!("cold, processor time: {:.3} × no cache", ours / none);
    }
    for (rule, holds) in verdict {
        println!("{}  {rule}", if holds { "holds" } else { "FAILS" });
    }
    Ok(())
}

fn row(bench: &Bench<'_>, m: &Measured) -> Value {
    let phases: Vec<_> = m
        .times
        .iter()
        .map(|(phase, times)| {
            json!({
                "phase": phase, "median": times.median(), "all": times.all(),
                "cpu": m.cpu.get(phase).map(Times::all),
                "units": m.units.get(phase), "outcomes": m.outcomes.get(phase),
            })
        })
        .collect();
    json!({
        "tool": bench.tool.name, "phases": phases, "second_tree_bytes": m.second_tree, "target_bytes": m.target,
        "keys_differ": m.keys_differ, "outputs_equal": m.kinship.equal, "outputs_different": m.kinship.different,
        "leaks": m.kinship.leaks, "invalid": m.invalid,
    })
}
