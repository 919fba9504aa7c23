//! `kache doctor`: is kache wired, can it work well here, and does it? Each finding says what to do.
//!
//! Looks, and tries things in directories of its own that it removes again; changes something only where `--fix` or
//! `--repair` say so.

mod place;
mod selftest;
mod stored;
mod wiring;

use crate::fail::{Done, Fail};
use crate::format::count;
use crate::view::{BAD, FAINT, GOOD, STRONG, View, WARN};
use crate::{Context, config, setup};
use kache_config::{CONFIG_VARIABLE, SETTINGS};
use serde::Serialize;
use std::io::{self, Write};

/// Check wiring, cache directory, file systems and a compile; with --verify every stored byte
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  kache doctor
  kache doctor --fix          first does what `kache init --no-shell` would, without asking
  kache doctor --verify       also reads every blob and record
  kache doctor --repair       and removes what is damaged

The self-test compiles a tiny crate and a C file, in a cache of its own that is removed again.")]
pub struct Args {
    /// Name kache in cargo's configuration and renew the links named like compilers
    #[arg(long)]
    fix: bool,
    /// With --fix: stop sccache's server and remove what it has cached on this machine
    #[arg(long, requires = "fix")]
    purge_sccache: bool,
    /// Read every blob and record, and the index
    #[arg(long)]
    verify: bool,
    /// Read all of that, and remove what is damaged
    #[arg(long)]
    repair: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    /// Works, but not as well as it could.
    Note,
    Problem,
}

#[derive(Debug, Serialize)]
struct Finding {
    level: Level,
    about: &'static str,
    text: String,
    /// What to do.
    advice: Option<String>,
}

#[derive(Serialize)]
struct Report {
    version: u32,
    kache: &'static str,
    ok: bool,
    findings: Vec<Finding>,
}

fn ok(about: &'static str, text: impl Into<String>) -> Finding {
    Finding { level: Level::Ok, about, text: text.into(), advice: None }
}

fn note(about: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { level: Level::Note, about, text: text.into(), advice: Some(advice.into()) }
}

fn problem(about: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { level: Level::Problem, about, text: text.into(), advice: Some(advice.into()) }
}

pub fn run(args: Args, context: &Context, view: &mut View) -> Result<Done, Fail> {
    let mut findings = Vec::new();
    if args.fix {
        findings.extend(fix(context)?);
    }
    if args.purge_sccache {
        findings.push(wiring::purge_sccache(context));
    }
    findings.push(wiring::programs(context));
    if cfg!(target_os = "linux") && !cfg!(target_feature = "crt-static") {
        let text = "not linked statically: each start takes longer, and the run of a build script that calls compilers \
                    through kache is not cached";
        let advice =
            "install from a clone (cargo install --locked --path .), where .cargo/config.toml counts, or an archive";
        findings.push(note("programs", text, advice));
    }
    findings.extend([wiring::cargo(context), wiring::compilers(context)]);
    findings.extend(settings(context));
    let (about_places, probe) = place::look(context);
    findings.extend(about_places);
    let observer = observer(context);
    let can_try = observer.level != Level::Problem;
    findings.push(observer);
    if let Some(probe) = probe.filter(|_| can_try) {
        view.progress(|| "compiling a crate and a C file".into());
        findings.extend(selftest::run(context, probe.path()));
        view.progress_done();
    }
    if args.verify || args.repair {
        findings.push(stored::records(args.repair, context, view)?);
        findings.extend(stored::index(args.repair, context));
    }
    let fine = !findings.iter().any(|f| f.level == Level::Problem);
    if args.json {
        view.json(&Report { version: 1, kache: env!("CARGO_PKG_VERSION"), ok: fine, findings })?;
    } else {
        show(&findings, &mut view.out)?;
    }
    Ok(Done::when(fine))
}

fn fix(context: &Context) -> Result<Vec<Finding>, Fail> {
    const ABOUT: &str = "fix";
    match setup::fix(context) {
        Ok(done) if done.is_empty() => Ok(vec![ok(ABOUT, "nothing to set up")]),
        Ok(done) => Ok(done.into_iter().map(|text| ok(ABOUT, text)).collect()),
        Err(Fail::Failed(why)) => Ok(vec![problem(ABOUT, why, "then try again")]),
        Err(other) => Err(other),
    }
}

fn show(findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
    for f in findings {
        let (style, mark) = match f.level {
            Level::Ok => (GOOD, "ok     "),
            Level::Note => (WARN, "note   "),
            Level::Problem => (BAD, "problem"),
        };
        writeln!(out, "{style}{mark}{style:#}  {STRONG}{}{STRONG:#}: {}", f.about, f.text)?;
        if let Some(advice) = &f.advice {
            writeln!(out, "         {FAINT}→{FAINT:#} {advice}")?;
        }
    }
    let problems = findings.iter().filter(|f| f.level == Level::Problem).count() as u64;
    writeln!(
        out,
        "\n{}",
        if problems == 0 { "No problem found.".into() } else { format!("{} found.", count(problems, "problem")) }
    )
}

fn settings(context: &Context) -> Vec<Finding> {
    const ABOUT: &str = "settings";
    let warnings = context
        .settings
        .warnings
        .iter()
        .map(|w| problem(ABOUT, w, "correct it, or see kache config for what counts now"));
    let mut findings: Vec<Finding> = warnings.collect();
    // Names of other programs are theirs; one that is nearly ours was meant to be.
    for name in context.env.keys().filter(|name| !SETTINGS.iter().any(|s| s.variable == **name)) {
        let key = name.strip_prefix("KACHE_").map(str::to_lowercase);
        if let Some(setting) = key.filter(|_| name != CONFIG_VARIABLE).and_then(|key| config::meant(&key)) {
            let advice = format!("did you mean {}?", setting.variable);
            findings.push(note(ABOUT, format!("{name} is set, and no variable of kache"), advice));
        }
    }
    if context.settings.disabled {
        findings.push(note(ABOUT, "kache is switched off", "unset KACHE_DISABLED (cache.disabled)"));
    }
    if findings.is_empty() {
        findings.push(ok(ABOUT, "all understood"));
    }
    findings
}

fn observer(context: &Context) -> Finding {
    const ABOUT: &str = "observer";
    let advice = "links and build scripts pass through without it; unset KACHE_OBSERVE (cache.observe)";
    if !context.settings.observe {
        return note(ABOUT, "switched off: only declared inputs count", advice);
    }
    if !kache_observe::SUPPORTED {
        return note(
            ABOUT,
            "not part of this build: only declared inputs count",
            "build kache with a C compiler at hand",
        );
    }
    // The loader takes several libraries in one variable, separated by these.
    if context.cache_dir().to_string_lossy().contains([' ', ':']) {
        return problem(
            ABOUT,
            "can't be loaded from a path with a space or a colon",
            "set KACHE_CACHE_DIR to another place",
        );
    }
    ok(ABOUT, "compiled in")
}
