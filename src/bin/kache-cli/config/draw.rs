//! The editor's frames: a model in, cells out. Changes nothing, and leaves out what there is no room for.

use super::model::{Drawn, Editor, Mode, Row};
use crate::format::{count, printable, shorten};
use crate::screen::{self, Ink, SMALLEST, left, put};
use kache_config::{SETTINGS, Source};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

const HELP: [(&str, &str); 11] = [
    ("↑ ↓ j k", "choose; also the mouse wheel"),
    ("PgUp PgDn", "a page"),
    ("Enter Space", "the other, the next, or type a value"),
    ("u, Del", "take it out of this file"),
    ("r", "as the file has it"),
    ("/", "search names, variables, descriptions"),
    ("Esc", "no search; while typing: as before"),
    ("s, Ctrl-S", "save"),
    ("Ctrl-U", "while typing: empty the line"),
    ("mouse", "press to choose, again to change"),
    ("q, Ctrl-C", "leave"),
];

/// Rows of text about the chosen setting, where there is room for them beside the list.
const ABOUT: u16 = 6;

pub fn draw(editor: &Editor, ink: Ink, area: Rect, cells: &mut Buffer) -> Drawn {
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        put(cells, area, 0, Line::from("too small"));
        return Drawn::default();
    }
    title(editor, ink, area, cells);
    let mut body = Rect { y: area.y + 1, height: area.height - 2, ..area };
    if body.height > ABOUT + 6 {
        body.height -= ABOUT;
        about(editor, ink, Rect { y: body.bottom(), height: ABOUT, ..body }, cells);
    }
    let drawn = list(editor, ink, body, cells);
    keys(editor, ink, area, cells);
    if editor.mode == Mode::Help {
        screen::help(&HELP, ink, Rect { y: area.y + 1, height: area.height - 2, ..area }, cells);
    }
    drawn
}

fn title(editor: &Editor, ink: Ink, area: Rect, cells: &mut Buffer) {
    let (width, name) = (usize::from(area.width), " kache config ");
    let unsaved = match editor.unsaved() {
        0 => String::new(),
        n if width > 60 => format!("{} not saved ", count(n as u64, "change")),
        n => format!("*{n} "),
    };
    let end = unsaved.chars().count();
    let room = width.saturating_sub(name.len() + 1 + end);
    let path = if room > 8 { shorten(&printable(&editor.path), room) } else { String::new() };
    put(
        cells,
        area,
        0,
        Line::from(vec![
            Span::styled(name, ink.strong().add_modifier(Modifier::REVERSED)),
            Span::raw(" "),
            Span::raw(path),
        ]),
    );
    let x = area.right().saturating_sub(end as u16);
    cells.set_string(x, area.y, unsaved, ink.warn());
}

fn list(editor: &Editor, ink: Ink, area: Rect, cells: &mut Buffer) -> Drawn {
    let rows = editor.rows();
    let chosen = editor.chosen();
    let columns = [left("setting", 24, 0), left("value", 0, 0), left("given by", 13, 1)];
    let cell = |row: usize, column: usize| {
        let n = match rows[row] {
            Row::Section(name) => return (if column == 0 { name.into() } else { String::new() }, ink.strong()),
            Row::Setting(n) => n,
        };
        let (source, value) = editor.holds(n);
        let quiet = if source == Source::Default { ink.faint() } else { Style::new() };
        let changed = if editor.is_changed(n) { ink.warn() } else { Style::new() };
        match (column, &editor.mode) {
            (0, _) => {
                let mark = if editor.is_changed(n) { '*' } else { ' ' };
                (format!("{mark} {}", SETTINGS[n].section_and_key().1), changed)
            }
            (1, Mode::Type(line)) if chosen == Some(n) => (line.with_caret(), ink.strong()),
            (1, _) if editor.is_changed(n) => (printable(&value), changed),
            (1, _) if value.is_empty() && source == Source::Default => (SETTINGS[n].default.into(), quiet),
            (1, _) => (printable(&value), quiet),
            _ => (source.name().into(), quiet),
        }
    };
    let at = rows.iter().position(|r| chosen.is_some_and(|n| *r == Row::Setting(n))).unwrap_or(0);
    // The section's name comes into view with its first setting.
    let offset =
        screen::list(cells, area, ink, &columns, (rows.len(), at, editor.drawn.offset.min(at.saturating_sub(1))), cell);
    if rows.is_empty() {
        put(cells, area, 1, Line::styled(" Nothing is called so.", ink.faint()));
    }
    Drawn { list: (area.x, area.y + 1, area.width, area.height.saturating_sub(1)), offset }
}

/// What the chosen setting is for, what it takes, and who says what of it.
fn about(editor: &Editor, ink: Ink, area: Rect, cells: &mut Buffer) {
    put(cells, area, 0, Line::styled("─".repeat(usize::from(area.width)), ink.faint()));
    let Some(n) = editor.chosen() else { return };
    let setting = &SETTINGS[n];
    let width = usize::from(area.width.saturating_sub(2)).max(1);
    let last = area.height - 1;
    for (row, text) in (1..last - 1).zip(wrapped(setting.doc, width)) {
        put(cells, area, row, Line::raw(format!(" {text}")));
    }
    let default = if setting.default.is_empty() { String::new() } else { format!(" · default {}", setting.default) };
    let facts = format!(" {} · {} · takes {}{default}", setting.name, setting.variable, setting.kind.accepts());
    put(cells, area, last - 1, Line::styled(facts, ink.faint()));
    let said = editor.said(n);
    let mut spans = vec![Span::raw(" ")];
    for (at, (source, value)) in said.iter().enumerate().filter(|(_, (source, _))| *source != Source::Default) {
        let holds = at + 1 == said.len();
        let text = format!("{}: {}   ", source.name(), shorten(&printable(value), width.max(24) / 2));
        spans.push(Span::styled(text, if holds { ink.strong() } else { ink.faint() }));
    }
    put(cells, area, last, Line::from(spans));
}

fn keys(editor: &Editor, ink: Ink, area: Rect, cells: &mut Buffer) {
    let row = area.height - 1;
    let fits = |wide: &'static str, narrow: &'static str| {
        if wide.chars().count() <= usize::from(area.width) { wide } else { narrow }
    };
    let faint = |text: &'static str| Span::styled(text, ink.faint());
    let line = match &editor.mode {
        Mode::Ask if area.width < 50 => vec![Span::styled(" Save? y n Esc", ink.warn().patch(ink.strong()))],
        Mode::Ask => vec![
            Span::styled(
                format!(" Save {}?", count(editor.unsaved() as u64, "change")),
                ink.warn().patch(ink.strong()),
            ),
            Span::styled("  y yes  n no  Esc stay", ink.strong()),
        ],
        Mode::Type(_) => match editor.wrong() {
            Some(why) => vec![Span::styled(format!(" {why}"), ink.bad()), faint("  Esc as before")],
            None => vec![faint(" Enter take  Esc as before  Ctrl-U empty")],
        },
        Mode::Search => vec![
            Span::styled(" search /", ink.at_work()),
            Span::styled(format!("{}▏", editor.filter), ink.strong()),
            faint("  Enter keep  Esc clear"),
        ],
        Mode::Choose | Mode::Help => match &editor.message {
            Some((text, bad)) => {
                let style = if *bad { ink.bad() } else { ink.at_work() };
                vec![Span::styled(format!(" {}", printable(text)), style)]
            }
            None if !editor.filter.is_empty() => {
                vec![Span::styled(format!(" search /{}", editor.filter), ink.at_work()), faint("  Esc clear")]
            }
            None => vec![faint(fits(
                " ↑↓ choose  Enter change  u take out  / search  s save  ? help  q leave",
                " ? help  q leave",
            ))],
        },
    };
    put(cells, area, row, Line::from(line));
}

/// Whole words, as many as fit.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("never empty");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.into());
        }
    }
    lines
}
