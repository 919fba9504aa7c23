//! `kache try`: measures kache on a cargo project, in copies of it and with a cache of its own.
//!
//! Touches neither the project, nor its target directory, nor the user's cache or settings. Knows nothing about how
//! kache works: it sees times, what cargo says, and the event log.

mod cargo;
mod checkout;

use crate::Context;
use crate::explain::Explainer;
use crate::fail::{Done, Fail};
use crate::format::{Table, count, seconds, shorten, size};
use crate::history::{self, Tally, is_query, sentence, unit_name};
use crate::view::{BAD, FAINT, GOOD, PLAIN, STRONG, View};
use checkout::{Disk, Project};
use kache_store::{Event, Outcome, Store};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Measure kache on a cargo project, without touching it
///
/// Copies the sources to two places and builds them without a cache, with an empty one, again with the target directory
/// removed, and in the second place. Your target directory, settings and cache stay as they are.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  kache try                                this project, debug build
  kache try ../app --release --runs 3      medians of three runs
  kache try . -- check --workspace         another cargo command
  kache try . -- --features full           more arguments for cargo build

KACHE_ variables other than those of cache and configuration count, so settings can be compared:
  KACHE_OBSERVE=0 kache try

Exit codes: 0 as it should be, 1 a phase restored nothing, a finished build compiled again, or a build failed.")]
pub struct Args {
    /// The project: a directory with a Cargo.toml
    #[arg(value_name = "DIR", default_value = ".")]
    project: PathBuf,
    /// Measure this many times and show medians
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=99))]
    runs: u32,
    /// Build with --release
    #[arg(long)]
    release: bool,
    /// Where the copies and the cache go for the time being [default: a temporary directory on the project's file system]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Leave the copies and the cache for a closer look
    #[arg(long)]
    keep: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Arguments for cargo, beginning with its command when that is not build
    #[arg(last = true, value_name = "CARGO ARGS")]
    cargo: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Phase {
    NoCache,
    Cold,
    Warm,
    Second,
    NextFirst,
    NextSecond,
}

impl Phase {
    const ALL: [Phase; 6] =
        [Phase::NoCache, Phase::Cold, Phase::Warm, Phase::Second, Phase::NextFirst, Phase::NextSecond];

    fn name(self) -> &'static str {
        match self {
            Phase::NoCache => "no cache",
            Phase::Cold => "cold",
            Phase::Warm => "warm",
            Phase::Second => "second checkout",
            Phase::NextFirst => "next build, first",
            Phase::NextSecond => "next build, second",
        }
    }

    /// A finished tree is built again: nothing is to do.
    fn is_next(self) -> bool {
        matches!(self, Phase::NextFirst | Phase::NextSecond)
    }

    /// Everything was compiled before: all of it should come from the cache.
    fn restores(self) -> bool {
        matches!(self, Phase::Warm | Phase::Second)
    }
}

/// One phase of one run.
struct Measured {
    seconds: f64,
    compiled: BTreeSet<String>,
    events: Vec<Event>,
}

type Run = BTreeMap<Phase, Measured>;

/// Where the measurement takes place; gone when it is over.
struct Site {
    root: PathBuf,
    keep: bool,
}

impl Site {
    fn make(args: &Args, project: &Project, context: &Context) -> Result<Site, Fail> {
        let device = |path: &Path| kache_os::stat(path).map(|m| m.dev).ok();
        let home = device(&project.base);
        let temp = std::env::temp_dir();
        let cache = context.cache_dir().ancestors().find(|p| p.exists()).map(Path::to_path_buf);
        let near = [Some(temp.clone()), cache, project.base.parent().map(Path::to_path_buf)];
        let on_same = near.into_iter().flatten().filter(|p| device(p) == home);
        let parents: Vec<PathBuf> = match &args.dir {
            Some(dir) => vec![std::path::absolute(dir)?],
            None => on_same.chain([temp]).collect(),
        };
        let mut why = None;
        for parent in &parents {
            match tempfile::Builder::new().prefix("kache-try-").tempdir_in(parent) {
                Ok(dir) => return Ok(Site { root: std::fs::canonicalize(dir.keep())?, keep: args.keep }),
                Err(e) => why = Some(e),
            }
        }
        Err(Fail::Failed(why.map_or_else(|| "no place for temporary files".into(), |e| e.to_string())))
    }

    /// The checkouts' paths differ in length, and so in every offset they might leave in an output.
    fn tree(&self, phase: Phase) -> PathBuf {
        match phase {
            Phase::Second | Phase::NextSecond => self.root.join("elsewhere/second-checkout"),
            _ => self.root.join("one/first"),
        }
    }

    fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // A process that was just killed may still have been creating a file.
        for _ in 0..if self.keep { 0 } else { 30 } {
            match std::fs::remove_dir_all(&self.root) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    std::thread::sleep(std::time::Duration::from_millis(100))
                }
                _ => break,
            }
        }
    }
}

/// Cargo with the surroundings of the measurement: nothing of the user's wrapper, cache or target directory.
fn clean_cargo(context: &Context) -> Command {
    let mut command = Command::new("cargo");
    const OURS: [&str; 10] = [
        "KACHE_CACHE_DIR",
        "KACHE_DISABLED",
        "KACHE_FALLBACK",
        "KACHE_LOG_FILE",
        "KACHE_MAX_SIZE",
        "CARGO_BUILD_RUSTC_WRAPPER",
        "CARGO_TARGET_DIR",
        "CARGO_BUILD_TARGET_DIR",
        "CARGO_BUILD_BUILD_DIR",
        "OLDPWD",
    ];
    // What `cargo run` leaves when it started us; a build of the project would not have it.
    const OF_CARGO_RUN: [&str; 7] = [
        "CARGO",
        "CARGO_MANIFEST_DIR",
        "CARGO_MANIFEST_PATH",
        "CARGO_BIN_NAME",
        "CARGO_CRATE_NAME",
        "CARGO_PRIMARY_PACKAGE",
        "OUT_DIR",
    ];
    for name in OURS.iter().chain(&OF_CARGO_RUN) {
        command.env_remove(name);
    }
    for name in context.env.keys().filter(|name| name.starts_with("CARGO_PKG_")) {
        command.env_remove(name);
    }
    command.env("RUSTC_WRAPPER", "").env("CARGO_TERM_COLOR", "never").env("CARGO_TERM_PROGRESS_WHEN", "never");
    command
}

/// Everything needed to run a phase.
struct Trial<'a> {
    context: &'a Context,
    project: Project,
    site: Site,
    subcommand: String,
    args: Vec<String>,
    interrupted: Arc<AtomicBool>,
    /// Units of the whole build, once a build has told.
    units: usize,
}

impl Trial<'_> {
    fn target(&self, phase: Phase) -> PathBuf {
        self.site.tree(phase).join(&self.project.workspace).join("target")
    }

    fn cargo(&self, phase: Phase, subcommand: &str) -> Command {
        let dir = self.site.tree(phase).join(&self.project.dir);
        let mut command = clean_cargo(self.context);
        command.arg(subcommand).env("PWD", &dir).current_dir(&dir);
        for config in self.project.configs_above() {
            command.arg("--config").arg(config);
        }
        command
    }

    fn check_interrupt(&self) -> Result<(), Fail> {
        if self.interrupted.load(Ordering::Relaxed) { Err(Fail::Interrupted) } else { Ok(()) }
    }

    /// Makes both checkouts. Gives what cargo said when dependencies could not be fetched: the build may do without some.
    fn set_up(&self, view: &mut View) -> Result<Option<String>, Fail> {
        view.progress(|| format!("copying {}", self.project.base.display()));
        let (first, second) = (self.site.tree(Phase::Cold), self.site.tree(Phase::Second));
        self.project.copy(&first, &self.site.root)?;
        self.check_interrupt()?;
        let mut fetch = |offline: bool| {
            let mut command = self.cargo(Phase::Cold, "fetch");
            command.args(offline.then_some("--offline"));
            let mut report = |_: usize, s: f64| view.progress(|| format!("fetching dependencies, {}", seconds(s)));
            cargo::run(command, &self.interrupted, &mut report)
        };
        let fetched = fetch(false)?;
        let failure = match fetched.status.success() || fetch(true)?.status.success() {
            true => None,
            false => Some(cargo::failure(&fetched.said)),
        };
        checkout::copy_tree(&first, &second, &mut |_| false)?;
        self.check_interrupt()?;
        Ok(failure)
    }

    fn phase(&mut self, phase: Phase, label: &str, view: &mut View) -> Result<Measured, Fail> {
        let mut command = self.cargo(phase, &self.subcommand);
        command.arg("--message-format=json-render-diagnostics").args(&self.args);
        command.env("CARGO_NET_OFFLINE", "true");
        if self.project.target_is_elsewhere {
            command.env("CARGO_TARGET_DIR", self.target(phase)).env("CARGO_BUILD_BUILD_DIR", self.target(phase));
        }
        if phase != Phase::NoCache {
            command.env("RUSTC_WRAPPER", self.context.wrapper());
            command
                .env("KACHE_CACHE_DIR", self.site.cache())
                .env("KACHE_CONFIG", self.site.root.join("no-config.toml"));
        }
        let before = self.events()?.len();
        let total = self.units;
        let of =
            |units: usize| if total > 0 { format!("{units} of {total} units") } else { count(units as u64, "unit") };
        let mut report = |units: usize, s: f64| view.progress(|| format!("{label}: {}, {}", of(units), seconds(s)));
        let ran = cargo::run(command, &self.interrupted, &mut report)?;
        if !ran.status.success() {
            return Err(Fail::Failed(cargo::failure(&ran.said)));
        }
        self.units = self.units.max(ran.units);
        let mut events = self.events()?;
        let events = events.split_off(before.min(events.len()));
        Ok(Measured { seconds: ran.seconds, compiled: ran.compiled, events })
    }

    fn store(&self) -> Store {
        Store::new(&self.site.cache(), None)
    }

    fn events(&self) -> Result<Vec<Event>, Fail> {
        let mut events = Vec::new();
        self.store().each_event(0, |event| events.push(event))?;
        Ok(events)
    }

    fn remove_target(&self, phase: Phase) -> Result<(), Fail> {
        remove(&self.target(phase))
    }

    /// All phases once, beginning with an empty cache. What the second tree added to the disk, and all it takes.
    fn run(&mut self, turn: u32, turns: u32, view: &mut View) -> Result<(Run, Space), Fail> {
        remove(&self.site.cache())?;
        let mut run = Run::new();
        let mut space = Space::default();
        let mut before = Disk::default();
        // The one that comes first reads the toolchain from the disk: take turns.
        let (mut order, baseline) = (Phase::ALL.to_vec(), Phase::NoCache);
        if turn % 2 == 1 {
            order.rotate_left(1);
        }
        for phase in order {
            if !phase.is_next() {
                self.remove_target(phase)?;
            }
            if phase == Phase::Second {
                // A lock file that the first build made belongs to the project.
                let lock = self.project.workspace.join("Cargo.lock");
                let (from, to) = (self.site.tree(Phase::Cold).join(&lock), self.site.tree(Phase::Second).join(&lock));
                if from.is_file() {
                    std::fs::copy(from, to)?;
                }
                before = Disk::of(&[&self.site.cache(), &self.target(Phase::Warm)]);
            }
            let which =
                if turns > 1 { format!("run {} of {turns}, {}", turn + 1, phase.name()) } else { phase.name().into() };
            let measured = self.phase(phase, &which, view).map_err(|fail| self.tell_failure(fail, phase, baseline))?;
            if phase == Phase::Second {
                let after = Disk::of(&[&self.site.cache(), &self.target(phase)]);
                let cloned: u64 = measured.events.iter().map(|e| e.cloned).sum();
                space.second_tree = after.beyond(&before).saturating_sub(cloned);
                space.target = Disk::of(&[&self.target(phase)]).bytes();
                space.cache = Disk::of(&[&self.site.cache()]).bytes();
            }
            run.insert(phase, measured);
        }
        Ok((run, space))
    }

    fn tell_failure(&self, fail: Fail, phase: Phase, baseline: Phase) -> Fail {
        let Fail::Failed(said) = fail else { return fail };
        Fail::Failed(match phase == baseline {
            true => format!("the project does not build, without kache either:\n\n{said}"),
            false => format!(
                "the build failed in phase \"{}\", with kache, though it worked without.\n\
                This is a fault of kache, please report it:\n\n{said}",
                phase.name()
            ),
        })
    }
}

fn remove(dir: &Path) -> Result<(), Fail> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => kache_os::at(dir, Err(e)).map_err(Fail::from),
        _ => Ok(()),
    }
}

#[derive(Clone, Copy, Default, Serialize)]
struct Space {
    /// What the second checkout's target directory added.
    #[serde(rename = "second_tree_bytes")]
    second_tree: u64,
    #[serde(rename = "target_bytes")]
    target: u64,
    #[serde(rename = "cache_bytes")]
    cache: u64,
}

#[derive(Serialize)]
struct Report {
    version: u32,
    project: String,
    command: String,
    runs: usize,
    units: usize,
    phases: Vec<PhaseReport>,
    disk: Space,
    not_cached: Vec<NotCached>,
    ok: bool,
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

pub fn run(args: Args, context: &Context, view: &mut View) -> Result<Done, Fail> {
    if !context.wrapper().is_file() {
        let missing = context.wrapper();
        return Err(Fail::Failed(format!(
            "the wrapper {} is not there: install kache and kache-cli side by side",
            missing.display()
        )));
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    let handled = ctrlc::set_handler(move || {
        // Once asks us to clean up; twice is for those who can't wait.
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    handled.map_err(|e| Fail::Failed(format!("interrupts can't be handled: {e}")))?;
    let home = context.var("HOME").map(PathBuf::from);
    let project = Project::find(&context.cwd.join(&args.project), home.as_deref(), &|| clean_cargo(context))?;
    let site = Site::make(&args, &project, context)?;
    let (subcommand, rest) = match args.cargo.split_first() {
        Some((first, rest)) if !first.starts_with('-') => (first.clone(), rest),
        _ => ("build".into(), &args.cargo[..]),
    };
    let release = args.release.then(|| "--release".to_string());
    let cargo_args: Vec<String> = release.into_iter().chain(rest.iter().cloned()).collect();
    let mut trial = Trial { context, project, site, subcommand, args: cargo_args, interrupted, units: 0 };
    let measured = measure(&mut trial, args.runs, view);
    view.progress_done();
    let (runs, space) = measured?;
    let report = report(&trial, &runs, space)?;
    if args.json {
        view.json(&report)?;
    } else {
        show(&report, &mut view.out)?;
    }
    if args.keep {
        writeln!(view.err, "kept: {}", trial.site.root.display())?;
    }
    Ok(Done::when(report.ok))
}

fn measure(trial: &mut Trial, turns: u32, view: &mut View) -> Result<(Vec<Run>, Space), Fail> {
    let unfetched = trial.set_up(view)?;
    let mut runs = Vec::new();
    let mut space = Space::default();
    for turn in 0..turns {
        let run = trial.run(turn, turns, view);
        // What could not be fetched may not have been needed; when the build fails, it is the reason.
        let run = match (run, &unfetched) {
            (Err(Fail::Failed(_)), Some(said)) => {
                return Err(Fail::Failed(format!("dependencies can't be fetched (is there a network?):\n\n{said}")));
            }
            (other, _) => other,
        };
        let (run, of_run) = run?;
        runs.push(run);
        space = of_run;
    }
    Ok((runs, space))
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

fn report(trial: &Trial, runs: &[Run], disk: Space) -> Result<Report, Fail> {
    let phases: Vec<PhaseReport> = Phase::ALL.into_iter().map(|phase| phase_report(phase, runs)).collect();
    let events = trial.events()?;
    let store = trial.store();
    let not_cached = runs.last().map_or_else(Vec::new, |run| not_cached(run, &mut Explainer::new(&store, &events)));
    let words = [vec!["cargo".to_string(), trial.subcommand.clone()], trial.args.clone()].concat();
    let (ok, verdict) = verdict(&phases, &not_cached, disk);
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
    events.iter().filter(|e| !is_query(e)).for_each(|e| outcomes.add(e.outcome));
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
fn not_cached(run: &Run, explainer: &mut Explainer) -> Vec<NotCached> {
    let mut found: Vec<NotCached> = Vec::new();
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
            let build =
                history::Build { dir: event.build_dir.clone().unwrap_or_default(), events: measured.events.clone() };
            let why = why_not(event, run, &build, explainer);
            let unit = unit_name(event).to_string();
            match found.iter_mut().find(|n| n.unit == unit && n.action == event.action && n.why == why) {
                Some(same) if same.phases.contains(phase) => {}
                Some(same) => same.phases.push(*phase),
                None => found.push(NotCached { unit, action: event.action.clone(), phases: vec![*phase], why }),
            }
        }
    }
    found
}

fn why_not(event: &Event, run: &Run, build: &history::Build, explainer: &mut Explainer) -> String {
    let told = |e: &Event| {
        let detail = e.detail.as_ref().filter(|d| !d.is_empty()).map_or_else(String::new, |d| format!(": {d}"));
        e.reason.as_ref().map(|r| format!("{}{detail}", sentence(r)))
    };
    if let Some(text) = told(event) {
        return text;
    }
    let earlier = run
        .values()
        .flat_map(|m| &m.events)
        .filter(|e| e.unit == event.unit && e.action == event.action && e.time < event.time);
    let unstored = earlier.filter(|e| !e.stored && e.outcome == Outcome::Miss).last();
    match unstored.and_then(told) {
        Some(text) => format!("an earlier result was not stored: {text}"),
        None => explainer.why(event, Some(build)).line(),
    }
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
    let cold = if cold.abs() < 1.0 { "costs nothing you can measure".into() } else { format!("takes {cold:+.0} %") };
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

fn show(report: &Report, out: &mut dyn Write) -> std::io::Result<()> {
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
        let mut table = Table::new(&["unit", "kind", "phase", "why"]);
        for n in &report.not_cached {
            let phases = n.phases.iter().map(|p| p.name()).collect::<Vec<_>>().join(", ");
            table.row([n.unit.clone(), n.action.clone(), phases, shorten(&n.why, 300)]);
        }
        table.write(out)?;
    }
    let style = if report.ok { GOOD } else { BAD };
    writeln!(out, "\n{style}{}{style:#}", report.verdict)
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
    use super::*;
    use crate::history::testing::event;

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
        let left = not_cached(&run, &mut Explainer::new(&store, &events));
        let runs = [run];
        let phases: Vec<_> = Phase::ALL.into_iter().map(|p| phase_report(p, &runs)).collect();
        let (ok, text) = verdict(&phases, &left, Space::default());
        (ok, text, left)
    }

    #[test]
    fn good_runs_are_told() {
        let (ok, text, left) = judge(good_run());
        assert!(ok && left.is_empty());
        assert!(text.contains("building again is 50.0 times as fast, and a second checkout 40.0 times"), "{text}");
        assert!(text.contains("everything was restored. The first build takes +2 %"), "{text}");
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
        cold.events[0].detail = Some("src/a.rs".into());
        run.get_mut(&Phase::Warm).unwrap().events[0].outcome = Outcome::Miss;
        let declined = |time| Event { reason: Some("link".into()), ..event("c", Outcome::Passthrough, time) };
        run.get_mut(&Phase::Warm).unwrap().events.push(declined(22));
        run.get_mut(&Phase::Second).unwrap().events.push(declined(32));
        let (ok, text, left) = judge(run);
        assert!(ok);
        let told: Vec<_> =
            left.iter().map(|n| (n.unit.as_str(), n.phases.len(), n.why.contains("not stored"))).collect();
        assert_eq!(told, [("a-01", 1, false), ("a-01", 1, true), ("c-01", 2, false)]);
        assert!(text.contains("2 units had to be compiled again"), "{text}");
    }

    #[test]
    fn medians() {
        assert_eq!([median(&[3.0, 1.0, 2.0]), median(&[1.0, 2.0]), median(&[])], [2.0, 1.5, 0.0]);
    }
}
