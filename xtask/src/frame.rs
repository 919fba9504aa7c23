//! A picture of what a command shows on a terminal: tmux is the terminal, its capture becomes an SVG.
//!
//! Knows nothing of what is shown.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::system::{Done, about, output};

pub const HELP: &str = "\
cargo xtask frame FILE.svg [--size 110x30] [--keys KEYS] [--until TEXT] -- COMMAND…

Runs COMMAND in a terminal of its own (tmux), presses KEYS (names as tmux has them, separated by commas), waits until
TEXT is on the screen, and writes what is there as SVG.";

/// A command that does not show what was waited for by then never will.
const PATIENCE: Duration = Duration::from_secs(600);

/// Size of a cell in the picture.
const CELL: (f64, f64) = (8.0, 17.0);

/// Text, ground, and the sixteen colours of a terminal.
const INK: &str = "#d4d8de";
const GROUND: &str = "#16191f";
const COLOURS: [&str; 16] = [
    "#3b4048", "#e06c75", "#8fc379", "#e0bb6a", "#61afef", "#c678dd", "#56b6c2", "#c8ccd4", //
    "#5c6370", "#ff7b86", "#a5e075", "#f0d080", "#71bfff", "#d688ed", "#66c6d2", "#ffffff",
];

pub fn run(args: &[String]) -> Done {
    let at = args.iter().position(|a| a == "--").ok_or(HELP)?;
    let (mine, command) = (&args[..at], &args[at + 1..]);
    let value = |flag: &str| mine.iter().skip_while(|a| *a != flag).nth(1);
    let file = mine.first().filter(|f| f.ends_with(".svg")).ok_or(HELP)?;
    let size = value("--size").map_or("110x30", String::as_str);
    let (width, height) = size.split_once('x').ok_or("--size: expected 110x30")?;
    let number = |text: &str| text.parse::<u16>().map_err(|e| about("--size", e));
    let (columns, rows) = (number(width)?, number(height)?);
    if command.is_empty() {
        return Err(HELP.into());
    }
    let socket = std::env::temp_dir().join(format!("kache-frame-{}", std::process::id()));
    let until = |screen: &str| value("--until").is_none_or(|text| screen.contains(text));
    let screen = screen(&socket, (width, height), value("--keys"), PATIENCE, &until, command);
    std::fs::write(file, svg(&screen?, columns, rows)).map_err(|e| about(file, e))
}

/// What a command shows when it has shown what was waited for, with its colours.
pub fn screen(
    socket: &Path,
    (width, height): (&str, &str),
    keys: Option<&String>,
    patience: Duration,
    until: &dyn Fn(&str) -> bool,
    command: &[String],
) -> Done<String> {
    let tmux = |args: &[&str]| output(Command::new("tmux").arg("-u").arg("-S").arg(socket).args(args));
    let shown = || {
        let start = ["-f", "/dev/null", "new-session", "-d", "-x", width, "-y", height, "--"];
        tmux(&[&start[..], &command.iter().map(String::as_str).collect::<Vec<_>>()].concat())?;
        for key in keys.into_iter().flat_map(|keys| keys.split(',')) {
            tmux(&["send-keys", key])?;
        }
        let begun = Instant::now();
        loop {
            let now = tmux(&["capture-pane", "-p"])?;
            if until(&now) {
                return tmux(&["capture-pane", "-p", "-e"]);
            }
            if begun.elapsed() > patience {
                return Err(format!("what was waited for did not appear; the screen is\n{now}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let screen = shown();
    let _ = tmux(&["kill-server"]);
    screen
}

/// How characters look.
#[derive(Clone, Default, PartialEq)]
struct Look {
    ink: Option<String>,
    ground: Option<String>,
    bold: bool,
    faint: bool,
    inverse: bool,
}

impl Look {
    /// `ESC [ … m`
    fn change(&mut self, codes: &str) {
        let mut codes = codes.split([';', ':']).map(|c| c.parse::<u16>().unwrap_or(0));
        while let Some(code) = codes.next() {
            match code {
                0 => *self = Look::default(),
                1 => self.bold = true,
                2 => self.faint = true,
                7 => self.inverse = true,
                22 => (self.bold, self.faint) = (false, false),
                27 => self.inverse = false,
                30..=37 => self.ink = colour(code - 30),
                39 => self.ink = None,
                40..=47 => self.ground = colour(code - 40),
                49 => self.ground = None,
                90..=97 => self.ink = colour(code - 82),
                38 | 48 => {
                    let chosen = match codes.next() {
                        Some(5) => codes.next().and_then(colour),
                        Some(2) => {
                            let [r, g, b] = [codes.next(), codes.next(), codes.next()].map(|c| c.unwrap_or(0));
                            Some(format!("#{r:02x}{g:02x}{b:02x}"))
                        }
                        _ => None,
                    };
                    *(if code == 38 { &mut self.ink } else { &mut self.ground }) = chosen;
                }
                _ => {}
            }
        }
    }
}

fn colour(number: u16) -> Option<String> {
    COLOURS.get(usize::from(number)).map(|c| (*c).into())
}

fn svg(screen: &str, columns: u16, rows: u16) -> String {
    let (width, height) = (f64::from(columns) * CELL.0 + 16.0, f64::from(rows) * CELL.1 + 16.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{GROUND}\"/>\n"
    );
    let mut look = Look::default();
    for (row, line) in screen.lines().take(usize::from(rows)).enumerate() {
        let mut column = 0;
        let mut parts = line.split('\x1b');
        let mut runs = vec![(look.clone(), parts.next().unwrap_or_default())];
        for part in parts {
            // Other sequences than `[ … m` are not in a capture.
            let (codes, text) = part.strip_prefix('[').and_then(|p| p.split_once('m')).unwrap_or(("", part));
            look.change(codes);
            runs.push((look.clone(), text));
        }
        for (look, text) in runs {
            let cells = text.chars().count();
            run_of_text(&mut out, &look, text, (column, row), cells);
            column += cells;
        }
    }
    out.push_str("</svg>\n");
    out
}

fn run_of_text(out: &mut String, look: &Look, text: &str, (column, row): (usize, usize), cells: usize) {
    let (x, y) = (8.0 + column as f64 * CELL.0, 8.0 + row as f64 * CELL.1);
    let width = cells as f64 * CELL.0;
    let (mut ink, mut ground) = (look.ink.as_deref().unwrap_or(INK), look.ground.as_deref());
    if look.inverse {
        (ink, ground) = (ground.unwrap_or(GROUND), Some(ink));
    }
    if let Some(ground) = ground.filter(|_| cells > 0) {
        let _ = writeln!(out, "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{}\" fill=\"{ground}\"/>", CELL.1);
    }
    let start = text.chars().take_while(|c| *c == ' ').count();
    let shown = text.trim();
    if shown.is_empty() {
        return;
    }
    let x = x + start as f64 * CELL.0;
    let length = shown.chars().count() as f64 * CELL.0;
    let weight = if look.bold { " font-weight=\"bold\"" } else { "" };
    let faint = if look.faint { " opacity=\"0.6\"" } else { "" };
    let escaped = shown.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        out,
        "<text x=\"{x}\" y=\"{}\" textLength=\"{length}\" fill=\"{ink}\" xml:space=\"preserve\"{weight}{faint}>{escaped}</text>",
        y + 12.5
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: colours, weight and inversion of a capture reach the picture, in place, and its text can't become markup.
    #[test]
    fn captures_become_pictures() {
        let picture = svg("ab \x1b[38;5;2mc<d\x1b[0;1;7me\x1b[0m\n\x1b[31mf", 10, 2);
        for part in [
            ">ab</text>",
            "x=\"32\" y=\"20.5\" textLength=\"24\" fill=\"#8fc379\" xml:space=\"preserve\">c&lt;d</text>",
            "<rect x=\"56\" y=\"8\" width=\"8\" height=\"17\" fill=\"#d4d8de\"/>",
            "fill=\"#16191f\" xml:space=\"preserve\" font-weight=\"bold\">e</text>",
            "x=\"8\" y=\"37.5\" textLength=\"8\" fill=\"#e06c75\" xml:space=\"preserve\">f</text>",
        ] {
            assert!(picture.contains(part), "{part} is not in\n{picture}");
        }
    }
}
