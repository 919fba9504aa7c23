//! Tests, continuous integration, and the trial run of the README.

use std::path::{Component, Path, PathBuf};
use std::process::Command;

use crate::system::{Done, about, cargo, find_on_path, output, packages, release_build, root, run, told};

/// More packages than this in `Cargo.lock` need a reason in the change that brings them.
const MOST_PACKAGES: usize = 160;

/// Builds all programs and runs all tests. Tests are debug builds: fault injection exists only there.
pub fn test(args: &[String]) -> Done {
    packages();
    run(cargo(), &["build", "--workspace", "--bins"])?;
    let mut line = vec!["test", "--workspace"];
    if !args.is_empty() {
        line.push("--");
        line.extend(args.iter().map(String::as_str));
    }
    run(cargo(), &line)
}

pub fn ci() -> Done {
    packages_of_lock()?;
    conflict_markers()?;
    links_in_package()?;
    crate::docs::run(true)?;
    run(cargo(), &["fmt", "--all", "--", "--check"])?;
    run(cargo(), &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    let flags = std::env::var("RUSTDOCFLAGS").unwrap_or_default() + " -D warnings";
    let doc = ["doc", "--workspace", "--no-deps", "--document-private-items"];
    told(Command::new(cargo()).args(doc).current_dir(root()).env("RUSTDOCFLAGS", flags.trim()))?;
    if find_on_path("cargo-deny").is_some() {
        run(cargo(), &["deny", "check"])?;
    } else {
        eprintln!("skipped: cargo deny: cargo-deny is not installed");
    }
    packages();
    crate::quickstart::run(false)?;
    test(&[])
}

fn packages_of_lock() -> Done {
    let path = root().join("Cargo.lock");
    let lock = std::fs::read_to_string(&path).map_err(|e| about(path.display(), e))?;
    let count = lock.lines().filter(|l| *l == "[[package]]").count();
    eprintln!("Cargo.lock: {count} packages, at most {MOST_PACKAGES}");
    if count > MOST_PACKAGES {
        return Err(format!("Cargo.lock has {count} packages; the cap is {MOST_PACKAGES} (xtask/src/checks.rs)"));
    }
    Ok(())
}

/// No tracked file holds what a merge left undecided. Outside of a work tree (a package) there is no list to look through.
fn conflict_markers() -> Done {
    let listing = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output()
        .map_err(|e| about("git ls-files", e))?;
    if !listing.status.success() {
        eprintln!("skipped: conflict markers: git ls-files: {}", String::from_utf8_lossy(&listing.stderr).trim());
        return Ok(());
    }
    let listing = String::from_utf8_lossy(&listing.stdout);
    // One that is deleted in the work tree is still listed.
    let texts = listing.split_terminator('\0').filter_map(|name| Some((name, std::fs::read(root().join(name)).ok()?)));
    let found: Vec<String> =
        texts.filter_map(|(name, text)| Some(format!("{name}:{}", conflict_marker(&text)?))).collect();
    match found[..] {
        [] => Ok(()),
        _ => Err(format!("conflict markers of a merge: {}", found.join(", "))),
    }
}

/// The first line that begins or ends a conflict, counted from one.
fn conflict_marker(text: &[u8]) -> Option<usize> {
    let markers = ["<", ">"].map(|sign| sign.repeat(7) + " ");
    let marked = |line: &[u8]| markers.iter().any(|marker| line.starts_with(marker.as_bytes()));
    text.split(|byte| *byte == b'\n').position(marked).map(|line| line + 1)
}

/// What the package's documents link to is in the package.
fn links_in_package() -> Done {
    let list = ["package", "--list", "--allow-dirty", "--package", "kache"];
    let listed = output(Command::new(cargo()).args(list).current_dir(root()))?;
    let files: Vec<&Path> = listed.lines().map(Path::new).collect();
    let mut lost = Vec::new();
    for page in files.iter().filter(|file| file.extension().is_some_and(|e| e == "md")) {
        let text = std::fs::read_to_string(root().join(page)).map_err(|e| about(page.display(), e))?;
        let to = links(&text).map(|link| plain(&page.with_file_name(link)));
        lost.extend(
            to.filter(|to| !files.contains(&to.as_path())).map(|to| format!("{} → {}", page.display(), to.display())),
        );
    }
    if lost.is_empty() { Ok(()) } else { Err(format!("links to what is not in the package: {}", lost.join(", "))) }
}

/// Where links of a Markdown text lead to in these sources.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let inner = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once([')', '#'])?.0));
    inner.filter(|link| !link.is_empty() && !link.contains("://"))
}

/// Without `..`.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut so_far, part| {
        match part {
            Component::ParentDir => drop(so_far.pop()),
            part => so_far.push(part),
        }
        so_far
    })
}

/// Builds the release programs and lets `kache try` measure a project.
pub fn try_project(args: &[String]) -> Done {
    let kache = release_build()?;
    let here = [".".to_owned()];
    let options_only = args.iter().all(|a| a.starts_with('-'));
    let rest = args.iter().chain(here.iter().filter(|_| options_only));
    let started_in = std::env::current_dir().map_err(|e| about("current directory", e))?;
    let status =
        Command::new(kache).arg("try").args(rest).current_dir(started_in).status().map_err(|e| about("kache", e))?;
    if status.success() { Ok(()) } else { Err(format!("kache try: {status}")) }
}

#[cfg(test)]
mod tests {
    use super::{conflict_marker, links, plain};
    use std::path::Path;

    #[test]
    fn a_conflict_is_found_by_the_lines_around_it() {
        let (ours, theirs) = ("<".repeat(7), ">".repeat(7));
        let found = |text: &str| conflict_marker(text.as_bytes());
        assert_eq!(found(&format!("a\n{ours} HEAD\nb\n=======\nc\n{theirs} topic\n")), Some(2));
        assert_eq!(found(&format!("a\nb\n{theirs} topic\n")), Some(3));
        assert_eq!(found(&format!("a {ours} b\n {ours} c\n{ours}\n=======\n")), None, "rules and shifts in a text");
    }

    #[test]
    fn links_lead_to_files() {
        let text = "[a](docs/a.md#part) ![b](b.svg), [c](https://example.org/c) [d](#here) f(](../e.md)";
        assert_eq!(links(text).collect::<Vec<_>>(), ["docs/a.md", "b.svg", "../e.md"]);
        assert_eq!(plain(&Path::new("docs/x.md").with_file_name("../e.md")), Path::new("e.md"));
    }
}
