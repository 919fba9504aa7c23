//! `kache man`: manual pages, from the same table of commands as the help, and the settings from theirs.

use crate::fail::{Done, Fail};
use crate::view::View;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use kache_config::SETTINGS;
use std::io::Write;
use std::path::PathBuf;

/// Write the manual pages into a directory
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  kache man ~/.local/share/man/man1     then man kache, man kache-explain

`kache init` does this, unless kache was installed with its pages.")]
pub struct Args {
    /// The directory; it is made where it is missing
    dir: PathBuf,
}

pub fn run(args: Args, view: &mut View) -> Result<Done, Fail> {
    kache_os::at(&args.dir, std::fs::create_dir_all(&args.dir))?;
    let pages = pages();
    for (name, text) in &pages {
        let path = args.dir.join(name);
        kache_os::at(&path, std::fs::write(&path, text))?;
    }
    writeln!(view.out, "{} pages in {}", pages.len(), args.dir.display())?;
    Ok(Done::Fine)
}

/// Each page's file name and text.
pub fn pages() -> Vec<(String, Vec<u8>)> {
    let mut whole = crate::command().disable_help_subcommand(true);
    whole.build();
    let mut found = Vec::new();
    add(&whole, &mut found);
    found
}

fn add(command: &clap::Command, found: &mut Vec<(String, Vec<u8>)>) {
    let man = Man::new(command.clone()).source(concat!("kache ", env!("CARGO_PKG_VERSION"))).manual("kache");
    let mut text = Vec::new();
    let is_main = command.get_name() == "kache";
    let mut parts = vec![Man::render_title, Man::render_name_section, Man::render_synopsis_section];
    parts.extend([Man::render_description_section, Man::render_options_section]);
    if command.has_subcommands() {
        parts.push(Man::render_subcommands_section);
    }
    for part in parts {
        part(&man, &mut text).expect("to memory");
    }
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let rest = [after_help(&help), if is_main { settings() } else { Roff::new() }, see_also(is_main)];
    rest.iter().for_each(|part| part.to_writer(&mut text).expect("to memory"));
    found.push((man.get_filename(), text));
    command.get_subcommands().filter(|c| !c.is_hide_set()).for_each(|c| add(c, found));
}

/// What follows the options in the help: lines that are indented there stay lines.
fn after_help(help: &str) -> Roff {
    const SECTIONS: [(&str, &str); 2] = [("Examples:", "EXAMPLES"), ("Exit codes: ", "EXIT STATUS")];
    let mut page = Roff::new();
    let mut noted = false;
    for paragraph in help.split("\n\n").filter(|p| !p.is_empty()) {
        let known = SECTIONS.iter().find_map(|(start, title)| Some((paragraph.strip_prefix(start)?, title)));
        let text = match known {
            Some((rest, title)) => {
                page.control("SH", [*title]);
                rest.trim_start_matches('\n')
            }
            None if noted => {
                page.control("PP", []);
                paragraph
            }
            None => {
                page.control("SH", ["NOTES"]);
                noted = true;
                paragraph
            }
        };
        let mut kept = false;
        for line in text.lines().chain([""]) {
            if line.starts_with("  ") != kept {
                kept = !kept;
                page.control(if kept { "nf" } else { "fi" }, []);
            }
            page.text([roman(line)]);
        }
    }
    page
}

fn settings() -> Roff {
    let mut page = Roff::new();
    page.control("SH", ["ENVIRONMENT"]);
    page.text([roman("Each is also a setting of the user's file and of the project's .kache.toml.")]);
    for setting in SETTINGS {
        page.control("TP", []);
        page.text([bold(setting.variable), roman(format!(" ({})", setting.name))]);
        let default =
            if setting.default.is_empty() { String::new() } else { format!(" Default: {}.", setting.default) };
        page.text([roman(format!("{}.{default}", setting.doc.trim_end_matches('.')))]);
    }
    page
}

fn see_also(is_main: bool) -> Roff {
    let mut page = Roff::new();
    if !is_main {
        page.control("SH", ["SEE ALSO"]);
        page.text([bold("kache"), roman("(1)")]);
    }
    page
}
