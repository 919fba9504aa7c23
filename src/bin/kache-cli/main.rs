//! `kache-cli`: the commands for people. `kache` executes it beside itself, with the same arguments.
//!
//! Here the arguments, the environment and the settings are read, once; a command gets values and writes to the streams
//! it is given. Knows nothing about what a command does.
//!
//! Exit codes stand in `fail.rs`.

mod clean;
mod completions;
mod config;
mod doctor;
mod explain;
mod fail;
mod file;
mod format;
mod gc;
mod history;
mod index;
mod list;
mod man;
mod monitor;
mod purge;
mod report;
mod run;
mod screen;
mod setup;
mod shims;
mod show;
mod stats;
mod style;
mod summary;
mod toml_text;
mod trial;
mod view;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use fail::{Done, Fail};
use kache_config::Settings;
use kache_store::Store;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use view::{View, WARN};

/// A build cache that caches a compile by what it was seen to read.
///
/// Set RUSTC_WRAPPER=kache and build as always. These commands measure, explain and clean.
#[derive(Parser)]
#[command(name = "kache", version, propagate_version = true, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  kache try .                          what kache would do for this project
  kache init                           set it up: shows a plan and asks
  RUSTC_WRAPPER=kache cargo build      use it once, without any set-up
  kache stats                          what it did
  kache explain                        why the last build missed

What --json prints is described by json.schema.json, in share/doc/kache of an installation and in docs of the sources.

Exit codes: 0 fine, 1 a problem was found or the command failed, 2 wrong usage, 130 interrupted.";

/// The commands with all that their help says.
fn command() -> clap::Command {
    fn with_codes(command: clap::Command, codes: &str) -> clap::Command {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let command = command.after_help(format!("{help}\n\nExit codes: {codes}, 130 interrupted."));
        command.mut_subcommands(|inner| with_codes(inner, codes))
    }
    let with = |all: clap::Command, (name, codes)| all.mut_subcommand(name, |one| with_codes(one, codes));
    fail::CODES.into_iter().fold(Cli::command(), with)
}

/// What commands that remove something have in common.
#[derive(clap::Args)]
pub struct Removal {
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    Init(setup::InitArgs),
    Try(trial::Args),
    Stats(stats::Args),
    Report(report::Args),
    List(list::Args),
    Explain(explain::Args),
    Show(show::Args),
    Monitor(monitor::Args),
    Doctor(doctor::Args),
    Gc(gc::Args),
    Purge(purge::Args),
    Clean(clean::Args),
    Config(config::Args),
    Run(run::Args),
    Shims(shims::Args),
    Completions(completions::Args),
    Man(man::Args),
    Uninit(setup::UninitArgs),
}

impl Command {
    /// The others do without one, or say themselves what is wrong with it.
    fn looks_at_the_cache(&self) -> bool {
        use Command::{Clean, Explain, Gc, List, Monitor, Purge, Report, Show, Stats};
        matches!(self, Stats(_) | Report(_) | List(_) | Explain(_) | Show(_) | Monitor(_) | Gc(_) | Purge(_) | Clean(_))
    }
}

/// What every command may look at: one snapshot of the surroundings.
pub struct Context {
    pub env: BTreeMap<String, String>,
    pub cwd: PathBuf,
    /// Where this program is; `kache` lies beside it.
    pub program: PathBuf,
    pub settings: Settings,
    pub store: Store,
}

impl Context {
    fn here() -> Context {
        let text = |s: std::ffi::OsString| s.into_string().ok();
        let env: BTreeMap<_, _> = std::env::vars_os().filter_map(|(n, v)| Some((text(n)?, text(v)?))).collect();
        let cwd = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let settings = Settings::resolve(&|name| env.get(name).cloned(), &[&cwd]);
        let store = Store::new(&settings.cache_dir, None);
        Context { cwd, program: std::env::current_exe().unwrap_or_default(), settings, store, env }
    }

    pub fn var(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str)
    }

    /// A variable that holds an absolute path.
    pub fn absolute_var(&self, name: &str) -> Option<PathBuf> {
        self.var(name).map(PathBuf::from).filter(|p| p.is_absolute())
    }

    /// Where programs keep what is the user's and no setting.
    pub fn data_home(&self) -> Option<PathBuf> {
        self.absolute_var("XDG_DATA_HOME").or_else(|| Some(self.absolute_var("HOME")?.join(".local/share")))
    }

    pub fn cache_home(&self) -> Option<PathBuf> {
        self.absolute_var("XDG_CACHE_HOME").or_else(|| Some(self.absolute_var("HOME")?.join(".cache")))
    }

    pub fn config_home(&self) -> Option<PathBuf> {
        self.absolute_var("XDG_CONFIG_HOME").or_else(|| Some(self.absolute_var("HOME")?.join(".config")))
    }

    /// The wrapper beside this program.
    pub fn wrapper(&self) -> PathBuf {
        self.program.with_file_name(format!("kache{}", std::env::consts::EXE_SUFFIX))
    }

    /// Nothing was ever stored where the settings say the cache is.
    pub fn cache_missing(&self) -> bool {
        !self.store.root().exists()
    }

    /// What keeps the cache from being looked at, and what to do about it. That none is there yet is no fault.
    pub fn cache_fault(&self) -> Option<(String, &'static str)> {
        let root = self.store.root();
        let error = std::fs::read_dir(root).err().filter(|e| e.kind() != std::io::ErrorKind::NotFound)?;
        let no_directory = |place: &&Path| std::fs::metadata(place).is_ok_and(|m| !m.is_dir());
        Some(match root.ancestors().find(no_directory) {
            Some(file) => {
                (format!("{} is not a directory", file.display()), "move it, or set KACHE_CACHE_DIR to another place")
            }
            None => (
                format!("{} can't be read: {error}", root.display()),
                "correct its owner and mode, or set KACHE_CACHE_DIR to another place",
            ),
        })
    }

    pub fn cache_dir(&self) -> &Path {
        &self.settings.cache_dir
    }
}

fn execute(command: Command, context: &Context, view: &mut View) -> Result<Done, Fail> {
    // These two tell each of them.
    if !matches!(command, Command::Config(_) | Command::Doctor(_))
        && let Some(warning) = context.settings.warning()
    {
        writeln!(view.err, "{WARN}warning:{WARN:#} {}", format::printable(&warning))?;
    }
    if command.looks_at_the_cache()
        && let Some((fault, advice)) = context.cache_fault()
    {
        return Err(Fail::Failed(format!("{fault}: {advice}")));
    }
    match command {
        Command::Init(args) => setup::init(args, context, view),
        Command::Try(args) => trial::run(args, context, view),
        Command::Stats(args) => stats::run(args, context, view),
        Command::Report(args) => report::run(args, context, view),
        Command::List(args) => list::run(args, context, view),
        Command::Explain(args) => explain::run(args, context, view),
        Command::Show(args) => show::run(args, context, view),
        Command::Monitor(args) => monitor::run(args, context),
        Command::Doctor(args) => doctor::run(args, context, view),
        Command::Gc(args) => gc::run(args, context, view),
        Command::Purge(args) => purge::run(args, context, view),
        Command::Clean(args) => clean::run(args, context, view),
        Command::Config(args) => config::run(args, context, view),
        Command::Run(args) => run::run(args),
        Command::Shims(args) => shims::run(args, context, view),
        Command::Completions(args) => completions::run(args, view),
        Command::Man(args) => man::run(args, view),
        Command::Uninit(args) => setup::uninit(args, context, view),
    }
}

fn main() -> ExitCode {
    let cli = Cli::from_arg_matches(&command().get_matches()).unwrap_or_else(|e| e.exit());
    let context = Context::here();
    let mut view = View::of_process(context.var("TERM").is_none_or(|term| term.is_empty() || term == "dumb"));
    let done = execute(cli.command, &context, &mut view);
    view.progress_done();
    let done = done.and_then(|done| {
        view.out.flush()?;
        Ok(done)
    });
    ExitCode::from(match done {
        Ok(done) => done.code(),
        Err(fail) => fail.tell(&mut view.err),
    })
}
