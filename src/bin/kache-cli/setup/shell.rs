//! Shells: which file they read when they start, and the block between two marker lines that is ours in it. Knows text
//! only; the rest of the file stays as it is, byte for byte.

use crate::Context;
use std::path::{Path, PathBuf};

const OPEN: &str = "# >>> kache >>> (made by kache init; kache uninit removes it)";
const CLOSE: &str = "# <<< kache <<<";
/// How an opening line begins, in whatever version made it.
const OPENING: &str = "# >>> kache >>>";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

impl Shell {
    /// The user's, by `SHELL`.
    pub fn of(context: &Context) -> Option<Shell> {
        match Path::new(context.var("SHELL")?).file_name()?.to_str()? {
            "bash" => Some(Shell::Bash),
            "zsh" => Some(Shell::Zsh),
            "fish" => Some(Shell::Fish),
            _ => None,
        }
    }

    pub fn start_file(self, context: &Context) -> Option<PathBuf> {
        let home = Path::new(context.var("HOME")?);
        Some(match self {
            Shell::Bash => home.join(".bashrc"),
            Shell::Zsh => context.absolute_var("ZDOTDIR").unwrap_or(home.to_path_buf()).join(".zshrc"),
            Shell::Fish => context.config_home()?.join("fish/config.fish"),
        })
    }

    /// Where the shell looks for completions; zsh has no place of the user's, so its start-up file names ours.
    pub fn completions_file(self, context: &Context) -> Option<PathBuf> {
        Some(match self {
            Shell::Bash => context.data_home()?.join("bash-completion/completions/kache"),
            Shell::Zsh => context.data_home()?.join("kache/completions/_kache"),
            Shell::Fish => context.config_home()?.join("fish/completions/kache.fish"),
        })
    }

    /// Where a package of the system puts them, below its `share`.
    pub fn packaged_completions(self) -> &'static str {
        match self {
            Shell::Bash => "bash-completion/completions/kache",
            Shell::Zsh => "zsh/vendor-completions/_kache",
            Shell::Fish => "fish/vendor_completions.d/kache.fish",
        }
    }

    pub fn completions(self) -> clap_complete::Shell {
        match self {
            Shell::Bash => clap_complete::Shell::Bash,
            Shell::Zsh => clap_complete::Shell::Zsh,
            Shell::Fish => clap_complete::Shell::Fish,
        }
    }

    /// Puts `dir` first on `PATH`; `None` where no line can say that.
    pub fn path_line(self, dir: &Path) -> Option<String> {
        let dir = dir.to_str().filter(|d| !d.contains([':', '\n', '\r']))?;
        let quoted = self.quoted(dir);
        Some(match self {
            Shell::Bash | Shell::Zsh => {
                format!("case \":$PATH:\" in *:{quoted}:*) ;; *) export PATH={quoted}:\"$PATH\" ;; esac")
            }
            Shell::Fish => format!("contains -- {quoted} $PATH; or set -gx PATH {quoted} $PATH"),
        })
    }

    /// What stands between the marker lines.
    pub fn lines(self, shims: &Path, completions: &Path) -> Option<String> {
        let path = self.path_line(shims)?;
        match self {
            Shell::Bash | Shell::Fish => Some(path),
            Shell::Zsh => {
                let file = self.quoted(completions.to_str()?);
                Some(format!("{path}\n(( $+functions[compdef] )) && [[ -r {file} ]] && source {file}"))
            }
        }
    }

    fn quoted(self, text: &str) -> String {
        match self {
            Shell::Bash | Shell::Zsh => format!("'{}'", text.replace('\'', r"'\''")),
            Shell::Fish => format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'")),
        }
    }
}

/// Files in which people set variables for all their shells.
pub fn variable_files(context: &Context) -> Vec<PathBuf> {
    const BELOW_HOME: [&str; 8] =
        [".profile", ".bash_profile", ".bash_login", ".bashrc", ".zshenv", ".zprofile", ".zshrc", ".zlogin"];
    let home = context.var("HOME").map(Path::new);
    let below = home.into_iter().flat_map(|home| BELOW_HOME.map(|name| home.join(name)));
    let named = SHELLS.into_iter().filter_map(|shell| shell.start_file(context));
    let mut files: Vec<PathBuf> = below.chain(named).collect();
    files.sort();
    files.dedup();
    files
}

/// The last line of a start-up file that gives this variable a value: its number, and what it says. Text is all that is
/// looked at: whether the line is reached nobody knows.
pub fn setting_line<'t>(text: &'t str, name: &str) -> Option<(usize, &'t str)> {
    let sets = |line: &str| {
        let mut words =
            line.split([' ', '\t', ';']).filter(|w| !w.is_empty()).take_while(|w| !w.starts_with('#')).peekable();
        let assigned = |word: &str| word.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
        match words.peek() {
            // fish; -e takes one away.
            Some(&"set") => !line.contains(" -e") && words.any(|word| word == name),
            _ => words.any(assigned),
        }
    };
    text.lines().enumerate().filter(|(_, line)| sets(line)).last().map(|(at, line)| (at + 1, line.trim()))
}

/// The text with our block as given, or without one. A start-up file may hold any bytes.
pub fn with_block(text: &[u8], lines: Option<&str>) -> Result<Vec<u8>, String> {
    let block = lines.map_or(String::new(), |lines| format!("{OPEN}\n{lines}\n{CLOSE}\n")).into_bytes();
    let (mut at, mut start, mut end) = (0, None, None);
    for line in text.split_inclusive(|b| *b == b'\n') {
        if line.starts_with(OPENING.as_bytes()) {
            if start.replace(at).is_some() {
                return Err(format!("{OPENING:?} stands there twice: correct it by hand"));
            }
        } else if line.trim_ascii_end() == CLOSE.as_bytes() && start.is_some() && end.is_none() {
            end = Some(at + line.len());
        }
        at += line.len();
    }
    match (start, end) {
        (Some(start), Some(end)) => Ok([&text[..start], &block, &text[end..]].concat()),
        (Some(_), None) => Err(format!("{OPENING:?} has no closing {CLOSE:?}: correct it by hand")),
        (None, _) if block.is_empty() => Ok(text.to_vec()),
        (None, _) => {
            let gap: &[u8] = if text.is_empty() || text.ends_with(b"\n") { b"" } else { b"\n" };
            Ok([text, gap, &block].concat())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: the block comes once, is renewed in its place, and leaves nothing behind.
    #[test]
    fn the_block_comes_and_goes() {
        let text = b"alias a=b\n\xff\n";
        let one = with_block(text, Some("one")).unwrap();
        assert_eq!(with_block(&one, Some("one")).unwrap(), one);
        let more = [&one[..], b"last\n"].concat();
        let two = with_block(&more, Some("two")).unwrap();
        assert_eq!(two, with_block(text, Some("two")).unwrap().into_iter().chain(*b"last\n").collect::<Vec<_>>());
        assert_eq!(with_block(&two, None).unwrap(), [&text[..], b"last\n"].concat());
        assert_eq!(with_block(text, None).unwrap(), text);
        assert!(with_block(b"# >>> kache >>>\nx\n", None).is_err());
        assert!(with_block(&[&one[..], &one].concat(), None).is_err());
    }

    /// Guards: a line that sets the variable is found, and none that only names it.
    #[test]
    fn lines_that_set_a_variable() {
        let found = |text: &str| setting_line(text, "RUSTC_WRAPPER").map(|(at, _)| at);
        for line in [
            "export RUSTC_WRAPPER=sccache",
            "  RUSTC_WRAPPER='x y'; export RUSTC_WRAPPER",
            "set -gx RUSTC_WRAPPER sccache",
        ] {
            assert_eq!(found(&format!("# one\n{line}\necho")), Some(2), "{line}");
        }
        for line in [
            "# export RUSTC_WRAPPER=a",
            "unset RUSTC_WRAPPER",
            "echo $RUSTC_WRAPPER",
            "set -e RUSTC_WRAPPER",
            "MY_RUSTC_WRAPPER=a",
        ] {
            assert_eq!(found(line), None, "{line}");
        }
        assert_eq!(
            setting_line("RUSTC_WRAPPER=a\nx\n RUSTC_WRAPPER=b # c\n", "RUSTC_WRAPPER"),
            Some((3, "RUSTC_WRAPPER=b # c"))
        );
    }

    /// Guards: the line works in a real shell, for a place that needs quotes, and only once.
    #[test]
    fn the_path_line_works() {
        let dir = Path::new("/it's $HOME/a b");
        for (shell, program) in [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")] {
            let line = shell.path_line(dir).unwrap();
            let script = format!("{line}\n{line}\nprintenv PATH");
            let Ok(run) =
                std::process::Command::new(program).arg("-c").arg(script).env("PATH", "/usr/bin:/bin").output()
            else {
                continue;
            };
            assert_eq!(String::from_utf8_lossy(&run.stdout).trim(), "/it's $HOME/a b:/usr/bin:/bin", "{run:?}");
        }
        assert_eq!(Shell::Bash.path_line(Path::new("/a:b")), None);
    }
}
