//! Documents that are made from tables of the code, and the check that they are what the tables say.

use std::fmt::Write as _;
use std::fs;

use kache_config::SETTINGS;
use kache_engine::{CC_FLAGS, CC_REFUSED_VARIABLES, CC_VARIABLES};

use crate::system::{Done, about, root};

const MADE: &str = "<!-- Made by `cargo xtask docs` from the tables of the code; do not edit. -->\n";

fn documents() -> [(&'static str, String); 3] {
    [
        ("docs/settings.md", settings()),
        ("docs/cc-flags.md", flags()),
        ("docs/json.schema.json", crate::schema::document()),
    ]
}

/// Writes the documents, or, with `check`, fails when one differs.
pub fn run(check: bool) -> Done {
    for (name, text) in documents() {
        let place = root().join(name);
        if !check {
            fs::write(&place, text).map_err(|e| about(place.display(), e))?;
        } else if fs::read_to_string(&place).map_err(|e| about(place.display(), e))? != text {
            return Err(format!("{name} is not what the code's tables say: run `cargo xtask docs`"));
        }
    }
    Ok(())
}

/// A cell of a table in Markdown.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn settings() -> String {
    let mut text = format!(
        "# Settings\n\n{MADE}\nA variable of the environment is stronger than the project's `.kache.toml`, that than the user's \
         file (`kache config path`), that than the default. An empty list in a variable is one: it empties a file's. In the files `cache.dir` is the key `dir` of the table `[cache]`. \
         `kache config list` shows what holds here, `kache config set` changes it.\n\n\
         | setting | variable | takes | default | |\n| --- | --- | --- | --- | --- |\n"
    );
    for s in SETTINGS {
        let default = if s.default.is_empty() { String::new() } else { format!("`{}`", cell(s.default)) };
        let takes = s.kind.accepts();
        writeln!(text, "| `{}` | `{}` | {takes} | {default} | {} |", s.name, s.variable, cell(s.doc))
            .expect("to a string");
    }
    text
}

fn flags() -> String {
    let mut text = format!(
        "# C and C++ without observation\n\n{MADE}\nWith `KACHE_OBSERVE=0`, or where nothing can be observed, a compile of one \
         C or C++ source to one object is cached when each of its flags is allowed here. Its inputs are the files that its \
         dependency file names (`-MD`; kache asks for one itself where the build does not), the places where these headers \
         were looked for before, what `__has_include` asks for, and the compiler's programs. Everything else passes through, \
         and `kache explain` names the flag. `cc.extra_allowlist_flags` allows more, for a project that knows its flags.\n\n\
         The first row that matches counts; `*` stands for anything, `_` for a value that may be the next argument; \
         what no row matches is refused. All arguments are in the \
         key: *modelled* means that this is enough, *captured* that the files it selects are inputs.\n\n\
         | flag | treatment | |\n| --- | --- | --- |\n"
    );
    for (pattern, treatment, reason) in CC_FLAGS {
        writeln!(text, "| `{}` | {} | {} |", cell(pattern), treatment.word(), cell(reason)).expect("to a string");
    }
    text.push_str("\nVariables that make a compile pass through when they are set:\n\n");
    for (name, reason) in CC_REFUSED_VARIABLES {
        writeln!(text, "- `{name}`: {reason}").expect("to a string");
    }
    let names: Vec<String> = CC_VARIABLES.iter().map(|name| format!("`{name}`")).collect();
    writeln!(text, "\nVariables whose values are in the key: {}.", names.join(", ")).expect("to a string");
    text
}
