//! Runs what docs/quickstart.md shows: each command of its `console` blocks, in order, in one shell with a new home, and
//! compares what comes with what stands there.
//!
//! `...` in an expected line stands for anything, as a line of its own for any lines. A block `console screen` is one
//! command that draws on a terminal; tmux is the terminal, and the lines must be on its screen. Knows nothing about the
//! commands, but that the installed programs may as well be the debug build that the tests have made before, where not all is
//! to be as a user has it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::frame;
use crate::system::{Done, about, find_on_path, root, told};

const PAGE: &str = "docs/quickstart.md";

/// Nothing else of the caller's counts.
const KEPT: [&str; 2] = ["LANG", "RUSTUP_TOOLCHAIN"];

struct Step {
    command: String,
    /// On a terminal of its own.
    screen: bool,
    expected: Vec<String>,
}

fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut block = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), block) {
            (Some(kind), None) => block = Some(kind),
            (Some(_), Some(_)) => block = None,
            (None, Some(kind)) if kind.starts_with("console") => match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => {
                    steps.push(Step {
                        command: command.into(),
                        screen: kind.ends_with("screen"),
                        expected: Vec::new(),
                    });
                }
                (None, Some(step)) => step.expected.push(line.into()),
                (None, None) => {}
            },
            (None, _) => {}
        }
    }
    steps
}

/// The lines are as expected, all of them, in order.
fn matches(expected: &[String], lines: &[&str]) -> bool {
    match expected.split_first() {
        None => lines.is_empty(),
        Some((any, rest)) if any == "..." => (0..=lines.len()).any(|skipped| matches(rest, &lines[skipped..])),
        Some((first, rest)) => {
            lines.split_first().is_some_and(|(line, others)| line_matches(first, line) && matches(rest, others))
        }
    }
}

fn line_matches(expected: &str, line: &str) -> bool {
    match expected.split_once("...") {
        None => expected == line,
        Some((start, rest)) => line.strip_prefix(start).is_some_and(|after| {
            let ends = after.char_indices().map(|(at, _)| at).chain([after.len()]);
            ends.into_iter().any(|at| line_matches(rest, &after[at..]))
        }),
    }
}

/// `clean`: in a new clone of what is committed, by the very command that the page shows, which compiles everything again.
pub fn run(clean: bool) -> Done {
    let page = fs::read_to_string(root().join(PAGE)).map_err(|e| about(PAGE, e))?;
    let steps = steps(&page);
    if steps.is_empty() {
        return Err(format!("{PAGE} shows no commands"));
    }
    let dir = std::env::temp_dir().join(format!("kache-quickstart-{}", std::process::id()));
    let sources = if clean { dir.join("clone") } else { root() };
    let cloned = if clean { told(Command::new("git").args(["clone", "-q"]).arg(root()).arg(&sources)) } else { Ok(()) };
    let done = cloned.and_then(|()| within(&dir, &steps, &sources));
    fs::remove_dir_all(&dir).map_err(|e| about(dir.display(), e))?;
    done
}

/// A home with nothing in it, but for the packages that cargo has downloaded before.
fn environment(home: &Path) -> Done<Vec<(String, String)>> {
    let cargo = home.join(".cargo");
    let registry = Path::new(&home_of("CARGO_HOME", ".cargo")).join("registry");
    fs::create_dir_all(cargo.join("bin")).map_err(|e| about(cargo.display(), e))?;
    if registry.is_dir() {
        std::os::unix::fs::symlink(&registry, cargo.join("registry")).map_err(|e| about(registry.display(), e))?;
    }
    let mut env: Vec<(String, String)> = std::env::vars().filter(|(name, _)| KEPT.contains(&name.as_str())).collect();
    let path = format!("{}:{}", cargo.join("bin").display(), std::env::var("PATH").unwrap_or_default());
    for (name, value) in [
        ("PATH", path),
        ("HOME", home.display().to_string()),
        ("RUSTUP_HOME", home_of("RUSTUP_HOME", ".rustup")),
        ("SHELL", "/bin/bash".into()),
        ("TERM", "xterm-256color".into()),
        // What this project depends on was downloaded for this program; the page asks for no more.
        ("CARGO_NET_OFFLINE", "true".into()),
    ] {
        env.push((name.into(), value));
    }
    Ok(env)
}

fn within(dir: &Path, steps: &[Step], sources: &Path) -> Done {
    let home = dir.join("home");
    let env = environment(&home)?;
    let (place, variables) = (dir.join("cwd"), dir.join("environment"));
    fs::write(&place, sources.display().to_string()).map_err(|e| about(place.display(), e))?;
    fs::write(&variables, "").map_err(|e| about(variables.display(), e))?;
    for step in steps {
        eprintln!("$ {}", step.command);
        let command = match step.command.strip_prefix("cargo install ") {
            Some(rest) if sources == root() => install(rest),
            _ => step.command.clone(),
        };
        // What one command changes in the shell, the next one finds.
        let script = format!(
            "cd \"$(cat '{place}')\" && . '{env}' && {{ {command}\n}} && pwd > '{place}' && export -p > '{env}'",
            place = place.display(),
            env = variables.display()
        );
        if step.screen {
            on_screen(dir, &env, &script, step)?;
        } else {
            in_shell(&env, &script, step)?;
        }
    }
    Ok(())
}

/// Into the new home, but from what is built and downloaded here: sources at another place would all be compiled again.
fn install(rest: &str) -> String {
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| root().join("target").display().to_string());
    format!(
        "CARGO_HOME='{}' cargo install --debug --target-dir '{target}' --root ~/.cargo {rest}",
        home_of("CARGO_HOME", ".cargo")
    )
}

/// Where the caller's cargo or rustup keeps things.
fn home_of(variable: &str, below: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| format!("{}/{below}", std::env::var("HOME").unwrap_or_default()))
}

fn is_shown(step: &Step, told: &str) -> bool {
    matches(&step.expected, &told.lines().map(str::trim_end).collect::<Vec<_>>())
}

fn in_shell(env: &[(String, String)], script: &str, step: &Step) -> Done {
    let mut bash = Command::new("bash");
    bash.args(["--noprofile", "--norc", "-c", &format!("exec 2>&1\n{script}")]).env_clear().envs(env.iter().cloned());
    let out = bash.stdin(Stdio::null()).output().map_err(|e| about("bash", e))?;
    let (told, expected) = (String::from_utf8_lossy(&out.stdout), step.expected.join("\n"));
    if out.status.success() && is_shown(step, &told) {
        return Ok(());
    }
    Err(format!("{PAGE}: $ {}: {}\n--- must tell\n{expected}\n--- but tells\n{told}", step.command, out.status))
}

fn on_screen(dir: &Path, env: &[(String, String)], script: &str, step: &Step) -> Done {
    if find_on_path("tmux").is_none() {
        eprintln!("skipped: quickstart: {}: tmux is not installed", step.command);
        return Ok(());
    }
    let mut line = vec!["env".to_owned(), "-i".into()];
    line.extend(env.iter().map(|(name, value)| format!("{name}={value}")));
    line.extend(["bash", "--noprofile", "--norc", "-c", script].map(String::from));
    let until = |screen: &str| is_shown(step, screen);
    let shown = frame::screen(&dir.join("tmux"), ("100", "30"), None, Duration::from_secs(60), &until, &line);
    shown
        .map(drop)
        .map_err(|why| format!("{PAGE}: $ {}: {why}\n--- must be\n{}", step.command, step.expected.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a page that tells something else than the commands do is found out.
    #[test]
    fn comparison() {
        let is = |expected: &str, told: &str| {
            let expected: Vec<String> = expected.lines().map(String::from).collect();
            matches(&expected, &told.lines().collect::<Vec<_>>())
        };
        assert!(is("", ""));
        assert!(is("a\n...\nd", "a\nb\nc\nd"));
        assert!(is("...\nd", "d"));
        assert!(is("took ... s, ... left", "took 0.1 s, 3 left"));
        for (expected, told) in
            [("", "a"), ("a", ""), ("a", "a\nb"), ("a\n...\nd", "a\nb"), ("took ... s", "took 1 s."), ("a\nb", "b\na")]
        {
            assert!(!is(expected, told), "{expected:?} {told:?}");
        }
        let page =
            "$ not this\n```\n$ nor this\n```\n```console\n$ one\nout\n$ two\n```\n```console screen\n$ three\n```\n";
        let steps = steps(page);
        let found: Vec<_> = steps.iter().map(|s| (s.command.as_str(), s.screen, s.expected.len())).collect();
        assert_eq!(found, [("one", false, 1), ("two", false, 0), ("three", true, 0)]);
    }
}
