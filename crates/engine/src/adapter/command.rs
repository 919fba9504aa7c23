//! `kache run -- COMMAND`: any deterministic command as an action. What it was seen to read is its input, what it was seen to
//! write is its output.
//!
//! Knows nothing about what the command does.

use crate::action::{Action, Kind, Outputs};
use crate::invocation::Invocation;
use crate::pattern::matches;
use crate::reason::{Reason, Why};
use kache_config::Settings;
use kache_key::{Form, Root};
use kache_os::bytes;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The first argument of such a call.
pub const ROLE: &str = "run";

/// `[--out PATH]… [--stdin] [--allow-clock] -- COMMAND…`
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Where outputs may be; empty: in the project.
    pub out: Vec<PathBuf>,
    /// Standard input is an input, and read to its end first. Without, the command gets an empty one.
    pub stdin: bool,
    pub allow_clock: bool,
    /// The program, then its arguments.
    pub command: Vec<OsString>,
}

impl Asked {
    /// None where the arguments are not of this form (`--help`, a mistake).
    pub fn parse(args: &[OsString]) -> Option<Asked> {
        let mut asked = Asked::default();
        let mut rest = args.iter();
        loop {
            match rest.next()?.to_str()? {
                "--" => break,
                "--stdin" => asked.stdin = true,
                "--allow-clock" => asked.allow_clock = true,
                "--out" => asked.out.push(rest.next()?.into()),
                other => asked.out.push(other.strip_prefix("--out=")?.into()),
            }
        }
        asked.command = rest.cloned().collect();
        (!asked.command.is_empty()).then_some(asked)
    }
}

/// A descriptor that the caller has opened leads to what no name tells (`kache run -- … 3<file`, `<(…)`). make's jobserver is
/// none of these.
pub fn no_strangers(invocation: &Invocation) -> Result<(), Why> {
    let of_make = |fd: &u32| {
        let words = ["MAKEFLAGS", "CARGO_MAKEFLAGS"].into_iter().filter_map(|name| invocation.text_var(name));
        words.flat_map(|value| value.split(' ').map(String::from).collect::<Vec<_>>()).any(|word| {
            let auth = ["--jobserver-auth=", "--jobserver-fds="].iter().find_map(|flag| word.strip_prefix(flag));
            auth.is_some_and(|pair| pair.split(',').any(|number| number.parse() == Ok(*fd)))
        })
    };
    match kache_os::descriptors().into_iter().find(|fd| !of_make(fd)) {
        Some(fd) => Err(Why::new(Reason::SpecialInput, format!("descriptor {fd}, which kache was started with"))),
        None => Ok(()),
    }
}

/// Describes the run, or declines it.
pub fn action(invocation: &Invocation, asked: &Asked, settings: &Settings) -> Result<Action, Why> {
    let called = &asked.command[0];
    let name = Path::new(called).file_name().unwrap_or(called).to_string_lossy().into_owned();
    if settings.exclude.iter().any(|pattern| matches(pattern, &name)) {
        return Err(Why::new(Reason::Excluded, name));
    }
    if !settings.observe {
        return Err(Why::new(Reason::Blind, "observation is switched off"));
    }
    let roots = super::project::roots(invocation, settings, None);
    // A name without a slash is searched for, and the search is an input.
    let searched = Path::new(called).components().count() == 1;
    let program = if searched { PathBuf::from(called) } else { invocation.cwd.join(called) };
    let mut fields = vec![
        ("program", roots.encode_path(bytes(&program))),
        ("directory", roots.encode_path(bytes(&invocation.cwd))),
        ("clock", vec![u8::from(asked.allow_clock)]),
    ];
    fields.extend(asked.command[1..].iter().map(|arg| ("argument", roots.encode(bytes(arg), Form::Plain))));
    let mut out: Vec<PathBuf> = asked.out.iter().map(|place| invocation.cwd.join(place)).collect();
    fields.extend(out.iter().map(|place| ("out", roots.encode_path(bytes(place)))));
    if out.is_empty() {
        let project = [Root::Workspace, Root::Build].into_iter().filter_map(|root| roots.place(root));
        out.extend(project.map(|place| kache_os::path(place).to_path_buf()));
        out.push(invocation.cwd.clone());
    }
    if asked.stdin {
        fields.push(("stdin", super::kept_stdin(invocation)?.as_bytes().to_vec()));
    } else {
        kache_os::empty_stdin().map_err(|e| Why::new(Reason::Stdin, e))?;
    }
    Ok(Action {
        kind: Kind::Command,
        unit: name.clone(),
        name,
        argv0: called.clone(),
        program,
        args: asked.command[1..].to_vec(),
        cwd: invocation.cwd.clone(),
        roots,
        fields,
        outputs: Outputs::Below(out),
        allow_clock: asked.allow_clock,
        ..Action::default()
    })
}

#[cfg(test)]
mod tests {
    use super::Asked;

    #[test]
    fn arguments() {
        let parse = |line: &str| Asked::parse(&line.split(' ').map(Into::into).collect::<Vec<_>>());
        let asked = parse("--out a --out=b --stdin -- sh -c --out").unwrap();
        assert_eq!((asked.out, asked.command.len(), asked.stdin), (vec!["a".into(), "b".into()], 3, true));
        for mistake in ["--help", "sh", "--out", "--", "--nothing -- sh"] {
            assert_eq!(parse(mistake), None, "{mistake}");
        }
    }
}
