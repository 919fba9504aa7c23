//! `kache try`: measures kache on a cargo project, in copies of it and with a cache of its own.
//!
//! Touches neither the project, nor its target directory, nor the user's cache or settings. Knows nothing about how
//! kache works: it sees times, what cargo says, and the event log.

mod cargo;
mod checkout;
mod report;

use crate::Context;
use crate::fail::{Done, Fail};
use crate::format::{count, seconds};
use crate::view::View;
use checkout::{Disk, Project};
use kache_store::{Event, Store};
use report::Space;
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
  KACHE_OBSERVE=0 kache try")]
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
    let report = report::report(&trial, &runs, space, view)?;
    if args.json {
        view.json(&report)?;
    } else {
        report::show(&report, &mut view.out)?;
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
