//! `kache config`: the settings as they are resolved here and the files that hold them, from the one table of settings. A
//! terminal gets an editor; scripts get the subcommands.

mod draw;
mod edit;
mod file;
mod model;
#[cfg(test)]
mod tests;

use crate::Context;
use crate::fail::{Done, Fail};
use crate::format::{Table, printable};
use crate::screen;
use crate::view::{FAINT, PLAIN, View, WARN};
use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::{Error, ErrorKind};
use clap::{Arg, Command};
use file::{Edit, SettingsFile};
use kache_config::{Kind, SETTINGS, Setting, Settings, Source};
use serde::Serialize;
use std::ffi::OsStr;
use std::io::Write;

/// Show and change the settings
#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  kache config                               an editor, on a terminal; else as list
  kache config --project                     the same, of the project's .kache.toml
  kache config list                          all settings, their values here and who gave them
  kache config set cache.max_size 20GiB      for you, everywhere
  kache config set --project cache.exclude bindings 'test-*'
  kache config unset cache.max_size
  kache config get cache.dir

A variable is stronger than the project's .kache.toml, that is stronger than your config.toml, and that than the default."
)]
pub struct Args {
    /// Edit the project's .kache.toml: the nearest, or a new one at the top of the repository
    #[arg(long)]
    project: bool,
    #[command(subcommand)]
    command: Option<Verb>,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Print a setting's value as it is resolved in this directory
    #[command(after_help = "Examples:\n  kache config get cache.dir\n  KACHE_LOG=info kache config get log.level")]
    Get {
        #[arg(value_parser = Names, hide_possible_values = true)]
        name: &'static Setting,
    },
    /// Give a setting a value in your config.toml; comments and order stay
    #[command(after_help = "\
Examples:
  kache config set cache.max_size 20GiB
  kache config set cache.exclude bindings 'test-*'    a list
  kache config set --project cache.observe false      in the project's .kache.toml")]
    Set {
        /// In the project's .kache.toml: the nearest, or a new one at the top of the repository
        #[arg(long)]
        project: bool,
        #[arg(value_parser = Names, hide_possible_values = true)]
        name: &'static Setting,
        /// Several make a list
        #[arg(required = true, allow_hyphen_values = true)]
        value: Vec<String>,
    },
    /// Take a setting out of your config.toml
    #[command(
        after_help = "Examples:\n  kache config unset cache.max_size\n  kache config unset --project cache.exclude"
    )]
    Unset {
        /// Out of the project's .kache.toml
        #[arg(long)]
        project: bool,
        #[arg(value_parser = Names, hide_possible_values = true)]
        name: &'static Setting,
    },
    /// Show all settings, their values in this directory and who gave them
    #[command(after_help = "Examples:\n  kache config list\n  KACHE_MAX_SIZE=10GiB kache config list --json")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print where your config.toml is; it need not be there
    #[command(after_help = "Examples:\n  kache config path\n  kache config path --project")]
    Path {
        /// Where the project's .kache.toml is, or would be made
        #[arg(long)]
        project: bool,
    },
}

/// Reads a name of the table, and tells completions which there are.
#[derive(Clone)]
struct Names;

impl TypedValueParser for Names {
    type Value = &'static Setting;

    fn parse_ref(&self, _: &Command, _: Option<&Arg>, name: &OsStr) -> Result<Self::Value, Error> {
        let name = name.to_string_lossy();
        Setting::named(&name).ok_or_else(|| {
            let meant = meant(&name).map_or(String::new(), |s| format!(": did you mean {}?", s.name));
            let text = format!("no setting is named {name:?}{meant} (kache config list shows all)\n");
            Error::raw(ErrorKind::InvalidValue, text)
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(SETTINGS.iter().map(|s| PossibleValue::new(s.name).help(s.doc))))
    }
}

/// The setting that was meant: by its name, its key alone, or its variable.
pub fn meant(name: &str) -> Option<&'static Setting> {
    let like = |s: &Setting| {
        let names = [s.name, s.section_and_key().1, s.variable];
        names.map(|other| strsim::jaro_winkler(name, other)).into_iter().fold(0.0, f64::max)
    };
    SETTINGS.iter().max_by(|a, b| like(a).total_cmp(&like(b))).filter(|s| like(s) > 0.8)
}

pub fn run(args: Args, context: &Context, view: &mut View) -> Result<Done, Fail> {
    match args.command {
        None if screen::is_there(context) => edit::run(&SettingsFile::of(context, args.project)?, context),
        None => list(false, context, view),
        Some(Verb::List { json }) => list(json, context, view),
        Some(Verb::Get { name }) => {
            warn(&context.settings, view)?;
            writeln!(view.out, "{}", (name.show)(&context.settings))?;
            Ok(Done::Fine)
        }
        Some(Verb::Path { project }) => {
            writeln!(view.out, "{}", SettingsFile::of(context, project)?.path.display())?;
            Ok(Done::Fine)
        }
        Some(Verb::Set { project, name, value }) => {
            let value = value.join(if name.kind == Kind::List { "," } else { " " });
            let edit =
                Edit::to(name, &value).map_err(|why| Fail::Usage(format!("{}: {why}, not {value:?}", name.name)))?;
            let file = SettingsFile::of(context, project)?;
            file.save(std::slice::from_ref(&edit))?;
            writeln!(view.out, "{} is now {} in {}", name.name, edit.words(), file.path.display())?;
            let now = Settings::resolve(&|name| context.env.get(name).cloned(), &[&context.cwd]);
            match now.source(name.name) {
                Source::Environment if file.source < Source::Environment => {
                    writeln!(
                        view.err,
                        "{WARN}note:{WARN:#} {} is set in the environment, and stronger",
                        name.variable
                    )?;
                }
                Source::Project if file.source < Source::Project => {
                    writeln!(view.err, "{WARN}note:{WARN:#} this project's .kache.toml has a value, and is stronger")?;
                }
                _ => {}
            }
            Ok(Done::Fine)
        }
        Some(Verb::Unset { project, name }) => {
            let file = SettingsFile::of(context, project)?;
            let changed = file.save(&[Edit::away(name)])?;
            let done = if changed { "is no longer set" } else { "was not set" };
            writeln!(view.out, "{} {done} in {}", name.name, file.path.display())?;
            Ok(Done::Fine)
        }
    }
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
    /// Who gave it: default, user, project or environment.
    source: &'static str,
    default: &'static str,
    /// What it takes: `must be …`.
    accepts: String,
    doc: &'static str,
}

fn list(json: bool, context: &Context, view: &mut View) -> Result<Done, Fail> {
    let text = |path: std::path::PathBuf| path.display().to_string();
    let shown = |s: &Setting| Shown {
        name: s.name,
        variable: s.variable,
        value: (s.show)(&context.settings),
        source: context.settings.source(s.name).name(),
        default: s.default,
        accepts: s.kind.accepts(),
        doc: s.doc,
    };
    let report = Report {
        version: 1,
        user_file: kache_config::user_file(&|name| context.env.get(name).cloned()).ok().flatten().map(text),
        project_file: kache_config::project_file(&[&context.cwd]).map(text),
        warnings: &context.settings.warnings,
        settings: SETTINGS.iter().map(shown).collect(),
    };
    if json {
        view.json(&report)?;
        return Ok(Done::Fine);
    }
    let mut table = Table::new(&["setting", "value", "given by", "variable"]);
    for s in &report.settings {
        let style = if s.source == Source::Default.name() { FAINT } else { PLAIN };
        let unsaid = s.source == Source::Default.name() && s.value.is_empty();
        table.styled(vec![
            (s.name.into(), PLAIN),
            (if unsaid { s.default.into() } else { printable(&s.value) }, style),
            (s.source.into(), style),
            (s.variable.into(), FAINT),
        ]);
    }
    table.write(&mut view.out)?;
    writeln!(view.out)?;
    for (whose, file) in [("user", &report.user_file), ("project", &report.project_file)] {
        let there = |f: &String| if std::path::Path::new(f).is_file() { f.clone() } else { format!("{f} (not there)") };
        writeln!(view.out, "{FAINT}{whose} file:{FAINT:#} {}", file.as_ref().map_or("none".into(), there))?;
    }
    warn(&context.settings, view)?;
    Ok(Done::Fine)
}

fn warn(settings: &Settings, view: &mut View) -> std::io::Result<()> {
    view.out.flush()?;
    for warning in &settings.warnings {
        writeln!(view.err, "{WARN}warning:{WARN:#} {}", printable(warning))?;
    }
    Ok(())
}
