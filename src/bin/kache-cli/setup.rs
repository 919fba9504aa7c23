//! `kache init` and `kache uninit`: what must be set so that cargo, shells and build systems find kache, and the way back.
//!
//! Looking gives a plan; the plan is shown; when someone agrees it is carried out, with a backup of each file first.
//! Settings of others are named and left alone. Nothing here is needed for kache to work: `RUSTC_WRAPPER` is enough.

pub mod cargo_config;
mod record;
pub mod shell;

use crate::Context;
use crate::fail::{Done, Fail};
use crate::file::read;
use crate::format::count;
use crate::shims::{self, Link};
use crate::view::{FAINT, STRONG, View, WARN};
use cargo_config::Wrapper;
use record::{Record, What};
use serde::Serialize;
use shell::{SHELLS, Shell, with_block};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Set kache up for cargo, C and C++ compilers, and your shell
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  kache init                  shows a plan and asks once
  kache init --check          only shows it; exit code 1 when something is to do
  kache init --check --json   for scripts
  kache init -y --no-shell    for scripts and containers

What it does: build.rustc-wrapper in cargo's configuration (comments stay, a backup is made); links named like the
compilers on PATH, which lead to kache; one line between two marker lines in your shell's start-up file, which puts these
links first on PATH; completions; manual pages. `kache uninit` takes all of it back.")]
pub struct InitArgs {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Only show what would be done
    #[arg(long)]
    check: bool,
    /// With --check: print JSON
    #[arg(long, requires = "check")]
    json: bool,
    /// No background service (there is none in this version)
    #[arg(long)]
    no_service: bool,
    /// Leave the shell's start-up file, completions and manual pages alone
    #[arg(long)]
    no_shell: bool,
}

/// Take back what `kache init` did
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  kache uninit                shows a plan and asks once
  kache uninit -y && kache purge -y

Files that nobody changed since are put back as they were, byte for byte; of others only kache's part is removed.
The cache stays: `kache purge` removes it.")]
pub struct UninitArgs {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// One file that becomes another, or goes.
struct Edit {
    what: What,
    path: PathBuf,
    before: Option<Vec<u8>>,
    after: Option<Vec<u8>>,
    /// For people.
    text: String,
}

impl Edit {
    fn verb(&self) -> &'static str {
        match (&self.before, &self.after) {
            (_, None) => "remove",
            (None, _) => "write",
            (Some(_), _) => "edit",
        }
    }
}

#[derive(Default)]
struct Plan {
    edits: Vec<Edit>,
    links: Vec<Link>,
    /// What is left alone, and what to know.
    notes: Vec<String>,
}

impl Plan {
    fn is_empty(&self) -> bool {
        self.edits.is_empty() && self.links.is_empty()
    }

    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        let (pages, others): (Vec<&Edit>, Vec<&Edit>) = self.edits.iter().partition(|e| e.what == What::Manual);
        for edit in others {
            writeln!(out, "  {STRONG}{:6}{STRONG:#}  {}: {}", edit.verb(), edit.path.display(), edit.text)?;
        }
        if let Some((page, dir)) = pages.first().and_then(|p| Some((p, p.path.parent()?))) {
            let number = count(pages.len() as u64, "manual page");
            writeln!(out, "  {STRONG}{:6}{STRONG:#}  in {}: {number}", page.verb(), dir.display())?;
        }
        let (made, gone): (Vec<&Link>, Vec<&Link>) = self.links.iter().partition(|l| l.target.is_some());
        for (verb, links) in [("link  ", made), ("unlink", gone)] {
            let names: Vec<_> =
                links.iter().map(|l| l.path.file_name().unwrap_or_default().to_string_lossy().into_owned()).collect();
            if let Some(dir) = links.first().and_then(|l| l.path.parent()) {
                writeln!(out, "  {STRONG}{verb}{STRONG:#}  in {}: {}", dir.display(), names.join(" "))?;
            }
        }
        self.show_notes(out)
    }

    fn show_notes(&self, out: &mut dyn Write) -> io::Result<()> {
        for note in &self.notes {
            writeln!(out, "  {WARN}note{WARN:#}    {note}")?;
        }
        Ok(())
    }

    fn carry_out(self, record: &mut Record) -> Result<(), Fail> {
        for link in &self.links {
            match &link.target {
                Some(target) => record.make_link(&link.path, target)?,
                None => kache_os::at(&link.path, std::fs::remove_file(&link.path))?,
            }
        }
        for edit in &self.edits {
            match &edit.after {
                Some(after) => record.change_file(edit.what, &edit.path, edit.before.as_deref(), after)?,
                None => record.restore_file(&edit.path, None)?,
            }
        }
        Ok(())
    }
}

/// `kache init --check --json`.
#[derive(Serialize)]
struct Check {
    version: u32,
    /// There is nothing to do.
    ok: bool,
    changes: Vec<Change>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Change {
    verb: &'static str,
    path: String,
    text: String,
}

impl Check {
    fn of(plan: &Plan) -> Check {
        let edits = plan.edits.iter().map(|e| (e.verb(), &e.path, e.text.clone()));
        let links = plan.links.iter().map(|l| match &l.target {
            Some(target) => ("link", &l.path, format!("leads to {}", target.display())),
            None => ("unlink", &l.path, String::new()),
        });
        let change = |(verb, path, text): (_, &PathBuf, _)| Change { verb, path: path.display().to_string(), text };
        let changes = edits.chain(links).map(change).collect();
        Check { version: 1, ok: plan.is_empty(), changes, notes: plan.notes.clone() }
    }
}

/// The directory of links. It lies in the user's data directory and not in the cache: build systems write its path down,
/// and a cache may be emptied at any time.
const SHIMS: &str = "shims";

/// Where backups, the record and the links are.
fn data_dir(context: &Context) -> Result<PathBuf, Fail> {
    let dir = context.data_home().ok_or_else(|| Fail::Failed("HOME is not set: there is no place to set up".into()))?;
    Ok(dir.join("kache"))
}

/// Where the links named like compilers are.
pub fn shims_dir(context: &Context) -> Option<PathBuf> {
    Some(context.data_home()?.join("kache").join(SHIMS))
}

pub fn init(args: InitArgs, context: &Context, view: &mut View) -> Result<Done, Fail> {
    let mut record = Record::load(&data_dir(context)?);
    let plan = plan(context, &record, !args.no_shell)?;
    if args.json {
        view.json(&Check::of(&plan))?;
        return Ok(Done::when(plan.is_empty()));
    }
    if plan.is_empty() {
        plan.show_notes(&mut view.out)?;
        writeln!(view.out, "Everything is set up: nothing to do.")?;
        return Ok(Done::Fine);
    }
    writeln!(view.out, "To set kache up:")?;
    plan.show(&mut view.out)?;
    if args.check {
        return Ok(Done::ProblemFound);
    }
    if !agreed(args.yes, "kache init", view)? {
        return Ok(Done::Fine);
    }
    let touched_shell = plan.edits.iter().any(|e| e.what == What::StartFile);
    plan.carry_out(&mut record)?;
    writeln!(view.out, "Done. Backups are in {}; kache uninit takes all of it back.", record.backups().display())?;
    if touched_shell {
        writeln!(view.out, "{FAINT}The links count in shells that are started from now on.{FAINT:#}")?;
    }
    Ok(Done::Fine)
}

/// Sets up whatever concerns no shell, without asking, and says what it did.
pub fn fix(context: &Context) -> Result<Vec<String>, Fail> {
    let mut record = Record::load(&data_dir(context)?);
    let plan = plan(context, &record, false)?;
    let mut done: Vec<String> = plan.edits.iter().map(|e| format!("{}: {}", e.path.display(), e.text)).collect();
    done.extend(plan.links.iter().map(|l| match &l.target {
        Some(target) => format!("{} leads to {}", l.path.display(), target.display()),
        None => format!("{} removed", l.path.display()),
    }));
    plan.carry_out(&mut record)?;
    Ok(done)
}

fn agreed(yes: bool, command: &str, view: &mut View) -> Result<bool, Fail> {
    if yes {
        return Ok(true);
    }
    if !view.can_ask {
        view.out.flush()?;
        return Err(Fail::Usage(format!("nothing was done: there is no terminal to ask on; say {command} -y")));
    }
    view.out.flush()?;
    let agreed = view.ask("Do this? [y/N] ")?;
    if !agreed {
        writeln!(view.out, "Nothing was changed.")?;
    }
    Ok(agreed)
}

fn plan(context: &Context, record: &Record, with_shell: bool) -> Result<Plan, Fail> {
    let mut plan = Plan::default();
    plan_cargo(context, &mut plan)?;
    plan.notes.extend(stronger(context));
    plan.notes.extend(size_of_sccache(context));
    let dir = data_dir(context)?.join(SHIMS);
    let compilers = shims::compilers(context, &dir);
    plan.links = shims::changes(&compilers, context, &dir);
    let foreign = shims::foreign(&compilers, &dir);
    plan.notes.extend(foreign.iter().map(|path| format!("{} is not kache's and left alone", path.display())));
    if with_shell {
        plan_shell(context, record, &dir, &mut plan)?;
    }
    Ok(plan)
}

fn plan_cargo(context: &Context, plan: &mut Plan) -> Result<(), Fail> {
    let wrapper = context.wrapper();
    let wanted = wrapper.to_str().ok_or_else(|| Fail::Failed(format!("{} is not UTF-8", wrapper.display())))?;
    let Some(path) = cargo_config::file(context) else {
        return Err(Fail::Failed(
            "neither CARGO_HOME nor HOME is set: there is no place for cargo's configuration".into(),
        ));
    };
    let before = read(&path)?;
    let broken =
        |why: String| Fail::Failed(format!("{} was left as it is: {why}\ncorrect it, then try again", path.display()));
    let text =
        std::str::from_utf8(before.as_deref().unwrap_or_default()).map_err(|_| broken("it is not UTF-8".into()))?;
    let now = Wrapper::of(cargo_config::wrapper_in(text).map_err(broken)?);
    let was = match &now {
        Wrapper::Kache(name) if name == wanted => return Ok(()),
        Wrapper::Foreign(name) => {
            let file = path.display();
            plan.notes.push(format!(
                "{file} names another wrapper, {name:?}, which is left alone: cargo won't use kache. Remove that line and \
                 try again; to keep it for what kache declines, set KACHE_FALLBACK"
            ));
            return Ok(());
        }
        Wrapper::None => String::new(),
        Wrapper::Kache(name) | Wrapper::Sccache(name) => format!(", in place of {name:?}"),
    };
    let after = cargo_config::with_wrapper(text, Some(wanted)).map_err(broken)?.into_bytes();
    let text = format!("build.rustc-wrapper = {wanted:?}{was}");
    plan.edits.push(Edit { what: What::CargoConfig, path, before, after: Some(after), text });
    Ok(())
}

/// What wins over the user's configuration and names something else.
fn stronger(context: &Context) -> Vec<String> {
    let mut notes = Vec::new();
    for name in ["RUSTC_WRAPPER", "CARGO_BUILD_RUSTC_WRAPPER"] {
        let mut places = Vec::new();
        for file in shell::variable_files(context) {
            let text = read(&file).ok().flatten().unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            // Any line about kache is somebody's way of naming it: `$(command -v kache)`.
            let line = shell::setting_line(&text, name).filter(|(_, line)| !line.contains("kache"));
            places.extend(line.map(|(at, _)| format!("{}:{at}", file.display())));
        }
        let value = context.var(name).filter(|v| !matches!(Wrapper::of(Some((*v).into())), Wrapper::Kache(_)));
        let is = match (value, places.is_empty()) {
            (None, true) => continue,
            (None, false) => format!("the variable {name} is set for new shells"),
            (Some(value), _) => format!("the variable {name} is {value:?}"),
        };
        let advice = match places.is_empty() {
            true => "unset it where it is set".into(),
            false => format!("remove that from {}", places.join(" and ")),
        };
        notes.push(format!("{is} and wins over cargo's configuration: {advice}"));
    }
    let home = cargo_config::home(context);
    for dir in context.cwd.ancestors().map(|d| d.join(".cargo")).filter(|d| Some(d) != home.as_ref()) {
        for file in [dir.join("config"), dir.join("config.toml")] {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            match Wrapper::of(cargo_config::wrapper_in(&text).unwrap_or_default()) {
                Wrapper::None | Wrapper::Kache(_) => {}
                Wrapper::Sccache(name) | Wrapper::Foreign(name) => {
                    notes.push(format!("{} names {name:?} and wins below {}", file.display(), dir.display()));
                }
            }
        }
    }
    notes
}

/// Who has limited sccache's cache is told how to limit this one.
fn size_of_sccache(context: &Context) -> Option<String> {
    let theirs = context.var("SCCACHE_CACHE_SIZE")?.trim();
    kache_config::size(theirs).ok()?;
    let unset = context.settings.source("cache.max_size") == kache_config::Source::Default;
    unset.then(|| {
        format!("SCCACHE_CACHE_SIZE keeps sccache's cache below {theirs}: for kache, kache config set cache.max_size {theirs}")
    })
}

fn plan_shell(context: &Context, record: &Record, shims: &Path, plan: &mut Plan) -> Result<(), Fail> {
    let Some(shell) = Shell::of(context) else {
        let shell = context.var("SHELL").unwrap_or("unknown");
        plan.notes.push(format!(
            "the shell ({shell}) is none of bash, zsh, fish: put {} first on PATH where you set it",
            shims.display()
        ));
        return Ok(());
    };
    let (Some(file), Some(completions)) = (shell.start_file(context), shell.completions_file(context)) else {
        return Ok(());
    };
    let before = read(&file)?;
    let block = shell.lines(shims, &completions).ok_or_else(|| String::from("PATH can't hold the place of the links"));
    match block.and_then(|lines| with_block(before.as_deref().unwrap_or_default(), Some(&lines))) {
        Err(why) => plan.notes.push(format!("{} is left alone: {why}", file.display())),
        Ok(after) if before.as_ref() == Some(&after) => {}
        Ok(after) => {
            let text = format!("{} first on PATH, between two marker lines", shims.display());
            plan.edits.push(Edit { what: What::StartFile, path: file, before, after: Some(after), text });
        }
    }
    let share = context.program.parent().and_then(Path::parent).map(|prefix| prefix.join("share"));
    let packaged = |name: &str, own: &Path| {
        let theirs = share.as_ref().map(|share| share.join(name));
        theirs.is_some_and(|path| path != own && path.exists())
    };
    if !packaged(shell.packaged_completions(), &completions) {
        let text = crate::completions::text(shell.completions());
        plan_whole(What::Completions, completions, text, "completions", record, plan)?;
    }
    // man looks beside the directories of PATH, and so beside the links.
    let pages = shims.with_file_name("man").join("man1");
    if !packaged("man/man1/kache.1.gz", &pages) {
        for (name, text) in crate::man::pages() {
            plan_whole(What::Manual, pages.join(name), text, "manual page", record, plan)?;
        }
    }
    Ok(())
}

/// A file that is all ours, or somebody else's and left alone.
fn plan_whole(
    what: What,
    path: PathBuf,
    text: Vec<u8>,
    about: &str,
    record: &Record,
    plan: &mut Plan,
) -> Result<(), Fail> {
    let before = read(&path)?;
    match &before {
        Some(there) if *there == text => {}
        Some(there) if !record.is_as_left(&path, there) => {
            plan.notes.push(format!("{} is not kache init's and left alone", path.display()));
        }
        _ => plan.edits.push(Edit { what, path, before, after: Some(text), text: about.into() }),
    }
    Ok(())
}

pub fn uninit(args: UninitArgs, context: &Context, view: &mut View) -> Result<Done, Fail> {
    let dir = data_dir(context)?;
    let mut record = Record::load(&dir);
    let plan = way_back(context, &record)?;
    if plan.is_empty() && !dir.join("setup.json").exists() {
        plan.show_notes(&mut view.out)?;
        writeln!(view.out, "Nothing of kache init is there: nothing to do.")?;
        return Ok(Done::Fine);
    }
    writeln!(view.out, "To take kache's set-up back:")?;
    plan.show(&mut view.out)?;
    if !agreed(args.yes, "kache uninit", view)? {
        return Ok(Done::Fine);
    }
    for link in &plan.links {
        kache_os::at(&link.path, std::fs::remove_file(&link.path))?;
    }
    for edit in &plan.edits {
        record.restore_file(&edit.path, edit.after.as_deref())?;
    }
    // What remains is gone, or was changed by hand so that nothing of ours is in it.
    record.forget(|_| true);
    record.finish()?;
    writeln!(view.out, "Done. The cache is still in {}; kache purge empties it.", context.cache_dir().display())?;
    Ok(Done::Fine)
}

fn way_back(context: &Context, record: &Record) -> Result<Plan, Fail> {
    let mut files: Vec<(What, PathBuf)> = record.changes().iter().map(|c| (c.what, c.path.clone())).collect();
    files.extend(cargo_config::file(context).map(|path| (What::CargoConfig, path)));
    files.extend(SHELLS.iter().filter_map(|s| Some((What::StartFile, s.start_file(context)?))));
    let mut plan = Plan::default();
    for (what, path) in files {
        if plan.edits.iter().any(|e| e.path == path) {
            continue;
        }
        let Some(now) = read(&path)? else { continue };
        match without_kache(what, &path, &now, record) {
            Err(why) => plan.notes.push(format!("{} is left alone: {why}", path.display())),
            Ok(None) => {}
            Ok(Some((after, text))) => {
                plan.edits.push(Edit { what, path, before: Some(now), after, text: text.into() });
            }
        }
    }
    plan.links =
        shims::ours(&data_dir(context)?.join(SHIMS)).into_iter().map(|l| Link { path: l.path, target: None }).collect();
    if !plan.links.is_empty() {
        plan.notes.push(
            "build trees that were configured through the links (CMake, autoconf) must be configured anew".into(),
        );
    }
    Ok(plan)
}

/// What a file becomes, and how; `Ok(None)` when there is nothing of ours in it.
type Back = (Option<Vec<u8>>, &'static str);

fn without_kache(what: What, path: &Path, now: &[u8], record: &Record) -> Result<Option<Back>, String> {
    let change = record.change(path);
    let was_there = change.is_none_or(|c| c.before.is_some());
    let backup = change.and_then(|c| record.backup(c));
    if record.is_as_left(path, now) {
        match &backup {
            Some(bytes) => return Ok(Some((Some(bytes.clone()), "as it was before"))),
            None if !was_there => return Ok(Some((None, "it was not there before"))),
            None => {}
        }
    }
    let after = match what {
        What::CargoConfig => {
            let text = std::str::from_utf8(now).map_err(|_| "it is not UTF-8")?;
            let Wrapper::Kache(_) = Wrapper::of(cargo_config::wrapper_in(text)?) else { return Ok(None) };
            let old = backup.and_then(|bytes| cargo_config::wrapper_in(&String::from_utf8(bytes).ok()?).ok()?);
            let old = old.filter(|name| !matches!(Wrapper::of(Some(name.clone())), Wrapper::Kache(_)));
            cargo_config::with_wrapper(text, old.as_deref())?.into_bytes()
        }
        What::StartFile => with_block(now, None)?,
        What::Completions | What::Manual => return Err("it was changed since".into()),
    };
    if after == now {
        return Ok(None);
    }
    let keep = was_there || !after.is_empty();
    Ok(Some((Some(after).filter(|_| keep), "without kache's part")))
}
