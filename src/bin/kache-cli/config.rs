//! `kache config`: the settings as they are resolved here, from the one table of settings.

use crate::Context;
use crate::fail::{Done, Fail};
use crate::view::{FAINT, STRONG, View, WARN};
use kache_config::SETTINGS;
use serde::Serialize;
use std::io::Write;

/// Show the settings as they are resolved in this directory
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  kache config
  KACHE_MAX_SIZE=10GiB kache config --json

A variable is stronger than the project's .kache.toml, that is stronger than your config.toml, and that than the default.")]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    user_file: Option<String>,
    project_file: Option<String>,
    warnings: &'a [String],
    settings: Vec<Shown>,
}

#[derive(Serialize)]
struct Shown {
    name: &'static str,
    variable: &'static str,
    value: String,
    default: &'static str,
    doc: &'static str,
}

pub fn run(args: Args, context: &Context, view: &mut View) -> Result<Done, Fail> {
    let text = |path: std::path::PathBuf| path.display().to_string();
    let report = Report {
        version: 1,
        user_file: kache_config::user_file(&|name| context.env.get(name).cloned()).map(text),
        project_file: kache_config::project_file(&context.cwd).map(text),
        warnings: &context.settings.warnings,
        settings: SETTINGS
            .iter()
            .map(|s| Shown {
                name: s.name,
                variable: s.variable,
                value: (s.show)(&context.settings),
                default: s.default,
                doc: s.doc,
            })
            .collect(),
    };
    if args.json {
        view.json(&report)?;
        return Ok(Done::Fine);
    }
    for s in &report.settings {
        writeln!(view.out, "{STRONG}{}{STRONG:#} = {:?}", s.name, s.value)?;
        let default = if s.default.is_empty() { String::new() } else { format!("  Default: {}.", s.default) };
        writeln!(view.out, "    {}", s.doc)?;
        writeln!(view.out, "    {FAINT}{}{default}{FAINT:#}", s.variable)?;
    }
    writeln!(view.out)?;
    for (whose, file) in [("user", &report.user_file), ("project", &report.project_file)] {
        let there = |f: &String| if std::path::Path::new(f).is_file() { f.clone() } else { format!("{f} (not there)") };
        writeln!(view.out, "{FAINT}{whose} file:{FAINT:#} {}", file.as_ref().map_or("none".into(), there))?;
    }
    for warning in report.warnings {
        writeln!(view.out, "{WARN}warning:{WARN:#} {warning}")?;
    }
    Ok(Done::Fine)
}
