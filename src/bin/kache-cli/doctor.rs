//! `kache doctor`: is kache wired, and can it work well here? Each finding says what to do.
//!
//! Looks, tries small things in the cache directory, and changes nothing else.

use crate::Context;
use crate::fail::{Done, Fail};
use crate::format::{count, size};
use crate::view::{BAD, FAINT, GOOD, STRONG, View, WARN};
use kache_os::stat;
use kache_store::VerifyReport;
use serde::Serialize;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Check wiring, cache directory and file system; with --verify every stored byte
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  kache doctor
  kache doctor --verify       also read every blob and entry; what is damaged is removed

Exit codes: 0 nothing wrong (there may be notes), 1 a problem was found.")]
pub struct Args {
    /// Read every blob and entry, and remove what is damaged
    #[arg(long)]
    verify: bool,
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
    ok: bool,
    findings: Vec<Finding>,
}

/// Less than this is about to become a full disk.
const LITTLE_SPACE: u64 = 1 << 30;

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
    let mut findings = vec![program(context), wiring(context)];
    findings.extend(settings(context));
    findings.extend(cache_dir(context));
    findings.push(same_device(context));
    findings.push(observer(context));
    if args.verify {
        findings.push(verify(context, view)?);
    }
    let fine = !findings.iter().any(|f| f.level == Level::Problem);
    if args.json {
        view.json(&Report { version: 1, ok: fine, findings })?;
    } else {
        show(&findings, &mut view.out)?;
    }
    Ok(Done::when(fine))
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

/// The wrapper lies beside this program and is of the same version.
fn program(context: &Context) -> Finding {
    const ABOUT: &str = "programs";
    let wrapper = context.wrapper();
    let (at, here) = (wrapper.display(), concat!("kache ", env!("CARGO_PKG_VERSION")));
    let advice = "install again: cargo install --path . installs both";
    match std::process::Command::new(&wrapper).arg("--version").output() {
        Err(e) => problem(ABOUT, format!("the wrapper {at} can't be run: {e}"), advice),
        Ok(output) => match String::from_utf8_lossy(&output.stdout).trim() {
            version if version == here => ok(ABOUT, format!("{here} in {at}")),
            other => problem(ABOUT, format!("{at} is {other:?}, the commands are of {here}"), advice),
        },
    }
}

/// Where cargo's wrapper is set, and to what.
#[derive(Debug, PartialEq, Eq)]
struct Wiring {
    place: String,
    wrapper: String,
}

/// What cargo will call: a variable is stronger than a file, a nearer file than a farther one.
fn find_wiring(context: &Context) -> Option<Wiring> {
    let variable = |name: &str| Some(Wiring { place: name.into(), wrapper: context.var(name)?.into() });
    let from_env = ["RUSTC_WRAPPER", "CARGO_BUILD_RUSTC_WRAPPER"].into_iter().find_map(variable);
    let cargo_home =
        context.var("CARGO_HOME").map(PathBuf::from).or_else(|| Some(Path::new(context.var("HOME")?).join(".cargo")));
    let dirs = context.cwd.ancestors().map(|d| d.join(".cargo")).chain(cargo_home);
    let mut files = dirs.flat_map(|d| [d.join("config"), d.join("config.toml")]);
    from_env.or_else(|| files.find_map(|file| wiring_in(&file)))
}

fn wiring_in(file: &Path) -> Option<Wiring> {
    let config: toml::Table = std::fs::read_to_string(file).ok()?.parse().ok()?;
    let wrapper = config.get("build")?.get("rustc-wrapper")?.as_str()?;
    Some(Wiring { place: file.display().to_string(), wrapper: wrapper.into() })
}

fn wiring(context: &Context) -> Finding {
    const ABOUT: &str = "wiring";
    let how = format!("export RUSTC_WRAPPER={}", context.wrapper().display());
    let Some(Wiring { place, wrapper }) = find_wiring(context) else {
        return problem(
            ABOUT,
            "cargo is not told to use kache",
            format!("{how}, or set build.rustc-wrapper in a cargo config"),
        );
    };
    if wrapper.is_empty() {
        return problem(ABOUT, format!("{place} is empty, which switches wrappers off"), how);
    }
    if Path::new(&wrapper).file_stem().is_none_or(|stem| stem != "kache") {
        let advice = format!("{how}; to keep {wrapper} for what kache declines, set KACHE_FALLBACK to it");
        return problem(ABOUT, format!("{place} names another wrapper: {wrapper}"), advice);
    }
    let found = if wrapper.contains('/') { Some(PathBuf::from(&wrapper)) } else { on_path(&wrapper, context) };
    match found.filter(|p| p.is_file()) {
        None => problem(ABOUT, format!("{place} names {wrapper}, which is not there"), how),
        Some(found) if !same_file(&found, &context.wrapper()) => {
            note(ABOUT, format!("{place} names {}, not the program beside this one", found.display()), how)
        }
        Some(_) => ok(ABOUT, format!("{place} names {wrapper}")),
    }
}

fn on_path(name: &str, context: &Context) -> Option<PathBuf> {
    std::env::split_paths(context.var("PATH")?).map(|dir| dir.join(name)).find(|p| p.is_file())
}

fn same_file(a: &Path, b: &Path) -> bool {
    stat(a).is_ok_and(|a| stat(b).is_ok_and(|b| a.same_file(&b)))
}

fn settings(context: &Context) -> Vec<Finding> {
    const ABOUT: &str = "settings";
    let warnings = context
        .settings
        .warnings
        .iter()
        .map(|w| problem(ABOUT, w, "correct it, or see kache config for what counts now"));
    let mut findings: Vec<Finding> = warnings.collect();
    if context.settings.disabled {
        findings.push(note(ABOUT, "kache is switched off", "unset KACHE_DISABLED (cache.disabled)"));
    }
    if findings.is_empty() {
        findings.push(ok(ABOUT, "all understood"));
    }
    findings
}

/// The directory itself, or what of its path is already there.
fn nearest(path: &Path) -> PathBuf {
    path.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/")).to_path_buf()
}

fn cache_dir(context: &Context) -> Vec<Finding> {
    const ABOUT: &str = "cache directory";
    let dir = context.cache_dir();
    let there = nearest(dir);
    let probe = match tempfile::Builder::new().prefix(".kache-doctor-").tempdir_in(&there) {
        Ok(probe) => probe,
        Err(e) => {
            let text = format!("{} can't be written: {e}", dir.display());
            return vec![problem(ABOUT, text, "correct its owner and mode, or set KACHE_CACHE_DIR to another place")];
        }
    };
    let state = if there == dir { "writable" } else { "not there yet, can be made" };
    vec![ok(ABOUT, format!("{}: {state}", dir.display())), space(context, &there), abilities(probe.path())]
}

fn space(context: &Context, dir: &Path) -> Finding {
    const ABOUT: &str = "free space";
    let advice = "make room, or lower cache.max_size (KACHE_MAX_SIZE) and run kache gc";
    match kache_os::free_space(dir) {
        Err(e) => note(ABOUT, format!("not known: {e}"), "look at the file system of the cache"),
        Ok(free) if free < LITTLE_SPACE => problem(ABOUT, format!("only {}", size(free)), advice),
        Ok(free) => {
            let usage = context.store.usage();
            let grown = context.settings.max_size.saturating_sub(usage.blob_bytes + usage.record_bytes);
            let text = format!("{}; the cache may grow by {}", size(free), size(grown));
            if free < grown { note(ABOUT, text, advice) } else { ok(ABOUT, text) }
        }
    }
}

/// What restoring can use here, by trying it.
fn abilities(dir: &Path) -> Finding {
    const ABOUT: &str = "file system";
    let tried = || -> io::Result<(bool, bool)> {
        let (source, copy) = (dir.join("source"), dir.join("copy"));
        std::fs::write(&source, [7; 8192])?;
        let clones = kache_os::fill_by_clone(&std::fs::File::open(&source)?, &kache_os::create_new(&copy, 0o600)?)?;
        Ok((clones, kache_os::hard_link(&source, &dir.join("link"))?))
    };
    match tried() {
        Ok((true, _)) => ok(ABOUT, "reflinks: restored files cost no space"),
        Ok((false, true)) => ok(ABOUT, "hard links, no reflinks: libraries are shared, the rest is copied"),
        Ok((false, false)) => {
            note(ABOUT, "neither reflinks nor hard links: all is copied", "move the cache to ext4, btrfs or XFS")
        }
        Err(e) => problem(
            ABOUT,
            format!("files can't be written: {e}"),
            "correct it, or set KACHE_CACHE_DIR to another place",
        ),
    }
}

fn same_device(context: &Context) -> Finding {
    const ABOUT: &str = "build tree";
    let target = ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"].into_iter().find_map(|name| context.var(name));
    let target = nearest(&context.cwd.join(target.unwrap_or("target")));
    let device = |path: &Path| stat(path).map(|m| m.dev);
    match (device(&target), device(&nearest(context.cache_dir()))) {
        (Ok(tree), Ok(cache)) if tree == cache => {
            ok(ABOUT, format!("{} is on the file system of the cache", target.display()))
        }
        (Ok(_), Ok(_)) => {
            let advice = "set KACHE_CACHE_DIR to a place on the file system of your projects";
            note(ABOUT, format!("{} is on another file system than the cache: all is copied", target.display()), advice)
        }
        (Err(e), _) | (_, Err(e)) => note(ABOUT, format!("not known: {e}"), "look at the paths above"),
    }
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

fn verify(context: &Context, view: &mut View) -> Result<Finding, Fail> {
    const ABOUT: &str = "store";
    let report = context.store.verify(|done, total| view.progress(|| format!("verifying {done} of {total}")));
    view.progress_done();
    let VerifyReport { entries, blobs, bytes, damaged, incomplete } = report?;
    let read = format!("{}, {} ({})", count(entries, "entry"), count(blobs, "blob"), size(bytes));
    if damaged.is_empty() && incomplete == 0 {
        return Ok(ok(ABOUT, format!("{read}: all whole")));
    }
    let names: Vec<String> = damaged.iter().take(5).map(|p| p.display().to_string()).collect();
    let text = format!(
        "{read}: {} and {} removed: {}", //
        count(damaged.len() as u64, "damaged file"),
        count(incomplete, "incomplete entry"),
        names.join(", ")
    );
    Ok(problem(ABOUT, text, "nothing more to do: they will be compiled again. If it comes back, check the disk"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn context(dir: &Path, env: &[(&str, &str)]) -> Context {
        let env: BTreeMap<_, _> = env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let mut settings = kache_config::Settings::resolve(&|_| None, dir);
        settings.cache_dir = dir.join("cache");
        let store = kache_store::Store::new(&settings.cache_dir, None);
        Context { env, cwd: dir.join("project"), program: dir.join("bin/kache-cli"), settings, store }
    }

    /// Guards: a variable is stronger than a file, and a nearer file than a farther one.
    #[test]
    fn wiring_is_found_where_cargo_looks() {
        let dir = tempfile::tempdir().unwrap();
        let place = |env: &[(&str, &str)]| find_wiring(&context(dir.path(), env)).map(|w| w.wrapper);
        let home = dir.path().join("home");
        let env = [("CARGO_HOME", home.to_str().unwrap())];
        assert_eq!(place(&env), None);
        for (at, text) in [("home", "kache"), ("project/.cargo", "/opt/kache")] {
            std::fs::create_dir_all(dir.path().join(at)).unwrap();
            std::fs::write(dir.path().join(at).join("config.toml"), format!("[build]\nrustc-wrapper = {text:?}\n"))
                .unwrap();
            assert_eq!(place(&env), Some(text.to_string()));
        }
        assert_eq!(place(&[("RUSTC_WRAPPER", "")]), Some(String::new()));
    }

    /// Guards: every way of not being wired is a problem with advice.
    #[test]
    fn bad_wiring_is_a_problem() {
        let dir = tempfile::tempdir().unwrap();
        for wrapper in [None, Some(""), Some("sccache"), Some("/nowhere/kache")] {
            let env: Vec<_> = wrapper.map(|w| ("RUSTC_WRAPPER", w)).into_iter().collect();
            let finding = wiring(&context(dir.path(), &env));
            assert!(finding.level == Level::Problem && finding.advice.is_some(), "{finding:?}");
        }
    }

    /// Guards: looking leaves no trace where the cache would be.
    #[test]
    fn a_missing_cache_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let findings = cache_dir(&context(dir.path(), &[]));
        assert!(findings.iter().all(|f| f.level != Level::Problem), "{findings:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
