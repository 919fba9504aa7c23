//! The terminal as a whole screen: taken and given back as it was, what its keys and mouse mean, and what is drawn the same
//! way everywhere. Knows nothing about what is shown.

use crate::Context;
use crate::fail::Fail;
use crate::format::shorten;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{
    self, DisableMouseCapture, EnableMouseCapture, Event as Told, KeyCode, KeyEvent, KeyEventKind, KeyModifiers,
    MouseButton, MouseEventKind,
};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{self, BeginSynchronizedUpdate, EndSynchronizedUpdate};
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use std::io::{IsTerminal, Stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The terminal in our hands; given back when dropped, also by a panic.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    pub fn take() -> Result<Screen, Fail> {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
        terminal::enable_raw_mode()?;
        execute!(std::io::stdout(), EnterAlternateScreen, EnableMouseCapture).inspect_err(|_| give_back())?;
        let terminal = Terminal::new(CrosstermBackend::new(std::io::stdout())).inspect_err(|_| give_back())?;
        Ok(Screen { terminal })
    }

    /// One frame, which the terminal shows at once.
    pub fn draw(&mut self, draw: impl FnOnce(Rect, &mut Buffer)) -> Result<(), Fail> {
        execute!(std::io::stdout(), BeginSynchronizedUpdate)?;
        self.terminal.draw(|frame| {
            let area = frame.area();
            draw(area, frame.buffer_mut());
        })?;
        Ok(execute!(std::io::stdout(), EndSynchronizedUpdate)?)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.terminal.show_cursor();
        give_back();
    }
}

/// Each step for itself: the terminal may be gone.
fn give_back() {
    let _ = execute!(std::io::stdout(), DisableMouseCapture, LeaveAlternateScreen);
    let _ = terminal::disable_raw_mode();
}

/// Whether someone sits at a terminal that can be drawn on.
pub fn is_there(context: &Context) -> bool {
    let dumb = context.var("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    !dumb && std::io::stdout().is_terminal() && std::io::stdin().is_terminal()
}

/// Set when a signal asks us to end.
pub fn told_to_stop() -> Result<Arc<AtomicBool>, Fail> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))
        .map_err(|e| Fail::Failed(format!("signals can't be handled: {e}")))?;
    Ok(stop)
}

/// Hands over what the terminal tells, until nobody wants it. On a terminal that hung up reading may never return: nobody
/// waits for this thread.
pub fn listen(hand_over: impl Fn(Input) -> bool + Send + 'static) {
    std::thread::spawn(move || while event::read().is_ok_and(|told| meant(told).is_none_or(&hand_over)) {});
}

/// What the person at the keyboard wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    Char(char),
    Control(char),
    Enter,
    Escape,
    Backspace,
    Delete,
    Next,
    Previous,
    Up(usize),
    Down(usize),
    PageUp,
    PageDown,
    Top,
    Bottom,
    /// A press at (column, row).
    Press(u16, u16),
    Quit,
    Resize,
}

/// What an event of the terminal means.
fn meant(told: Told) -> Option<Input> {
    match told {
        Told::Key(KeyEvent { kind: KeyEventKind::Release, .. }) => None,
        Told::Key(KeyEvent { code: KeyCode::Char('c'), modifiers, .. })
            if modifiers.contains(KeyModifiers::CONTROL) =>
        {
            Some(Input::Quit)
        }
        Told::Key(KeyEvent { code: KeyCode::Char(c), modifiers, .. }) if modifiers.contains(KeyModifiers::CONTROL) => {
            Some(Input::Control(c))
        }
        Told::Key(key) => match key.code {
            KeyCode::Char(c) => Some(Input::Char(c)),
            KeyCode::Tab | KeyCode::Right => Some(Input::Next),
            KeyCode::BackTab | KeyCode::Left => Some(Input::Previous),
            KeyCode::Up => Some(Input::Up(1)),
            KeyCode::Down => Some(Input::Down(1)),
            KeyCode::PageUp => Some(Input::PageUp),
            KeyCode::PageDown => Some(Input::PageDown),
            KeyCode::Home => Some(Input::Top),
            KeyCode::End => Some(Input::Bottom),
            KeyCode::Enter => Some(Input::Enter),
            KeyCode::Esc => Some(Input::Escape),
            KeyCode::Backspace => Some(Input::Backspace),
            KeyCode::Delete => Some(Input::Delete),
            _ => None,
        },
        Told::Mouse(mouse) => match mouse.kind {
            MouseEventKind::ScrollUp => Some(Input::Up(3)),
            MouseEventKind::ScrollDown => Some(Input::Down(3)),
            MouseEventKind::Down(MouseButton::Left) => Some(Input::Press(mouse.column, mouse.row)),
            _ => None,
        },
        // The next frame has another size.
        Told::Resize(..) => Some(Input::Resize),
        _ => None,
    }
}

/// Below this nothing can be shown.
pub const SMALLEST: (u16, u16) = (20, 5);

/// Styles; without colours weight and inversion are left.
#[derive(Clone, Copy)]
pub struct Ink {
    pub colours: bool,
}

impl Ink {
    pub fn of(context: &Context) -> Ink {
        Ink { colours: context.var("NO_COLOR").is_none_or(str::is_empty) }
    }
    pub fn colour(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }
    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }
    pub fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }
    pub fn good(self) -> Style {
        self.colour(Color::Green)
    }
    pub fn warn(self) -> Style {
        self.colour(Color::Yellow)
    }
    pub fn bad(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }
    pub fn at_work(self) -> Style {
        self.colour(Color::Cyan)
    }
}

pub fn put(cells: &mut Buffer, area: Rect, row: u16, line: Line<'_>) {
    if row < area.height {
        cells.set_line(area.x, area.y + row, &line, area.width);
    }
}

/// What the keys do, over the middle of the screen.
pub fn help(keys: &[(&str, &str)], ink: Ink, body: Rect, cells: &mut Buffer) {
    let (width, height) = (52.min(body.width), (keys.len() as u16 + 2).min(body.height));
    let area = Rect { x: body.x + (body.width - width) / 2, y: body.y + (body.height - height) / 2, width, height };
    for row in 0..height {
        let edge = row == 0 || row + 1 == height;
        let line = if edge { "─".repeat(usize::from(width)) } else { " ".repeat(usize::from(width)) };
        cells.set_string(area.x, area.y + row, line, Style::reset());
    }
    for (row, (key, what)) in (1..height.saturating_sub(1)).zip(keys) {
        let line =
            Line::from(vec![Span::styled(format!(" {key:<12}"), ink.at_work().patch(ink.strong())), Span::raw(*what)]);
        put(cells, area, row, line);
    }
}

/// A list with a header; the part around the cursor shows. `rows`: how many there are, the one under the cursor, and the one
/// that was drawn first the last time. Gives the one that is drawn first.
pub fn list(
    cells: &mut Buffer,
    area: Rect,
    ink: Ink,
    columns: &[Column],
    (rows, cursor, before): (usize, usize, usize),
    cell: impl Fn(usize, usize) -> (String, Style),
) -> usize {
    let shown = chosen(columns, area.width);
    let header = |column: usize| (columns[column].title.to_string(), ink.faint());
    write_row(cells, area, columns, &shown, header);
    let height = usize::from(area.height.saturating_sub(1));
    let cursor = cursor.min(rows.saturating_sub(1));
    // As it was, but so that the cursor is seen and no row is wasted.
    let before = before.min(rows.saturating_sub(height));
    let offset = before.min(cursor).max((cursor + 1).saturating_sub(height));
    for row in offset..rows.min(offset + height) {
        let line = Rect { y: area.y + 1 + (row - offset) as u16, height: 1, ..area };
        write_row(cells, line, columns, &shown, |column| cell(row, column));
        if row == cursor {
            cells.set_style(line, Style::new().add_modifier(Modifier::REVERSED));
        }
    }
    offset
}

/// A column of a list. Those of the highest rank go first when there is too little room; one without a width takes the rest.
pub struct Column {
    title: &'static str,
    width: u16,
    rank: u8,
    right: bool,
}

pub const fn left(title: &'static str, width: u16, rank: u8) -> Column {
    Column { title, width, rank, right: false }
}

pub const fn right(title: &'static str, width: u16, rank: u8) -> Column {
    Column { title, width, rank, right: true }
}

/// A column that takes the rest needs at least this.
const LEAST: u16 = 12;

/// Columns that fit, each with its width.
fn chosen(columns: &[Column], width: u16) -> Vec<(usize, u16)> {
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    let needs = |shown: &[usize]| -> u16 {
        shown.iter().map(|i| if columns[*i].width == 0 { LEAST } else { columns[*i].width } + 2).sum()
    };
    while needs(&shown) > width {
        let Some(at) = shown.iter().copied().filter(|i| columns[*i].rank > 0).max_by_key(|i| columns[*i].rank) else {
            break;
        };
        shown.retain(|i| *i != at);
    }
    let growing = shown.iter().filter(|i| columns[**i].width == 0).count() as u16;
    let spare = width.saturating_sub(needs(&shown));
    let share = |i: usize| match columns[i].width {
        0 => LEAST + spare / growing.max(1),
        fixed => fixed,
    };
    shown.into_iter().map(|i| (i, share(i))).collect()
}

fn write_row(
    cells: &mut Buffer,
    area: Rect,
    columns: &[Column],
    shown: &[(usize, u16)],
    cell: impl Fn(usize) -> (String, Style),
) {
    if area.height == 0 {
        return;
    }
    let mut x = area.x + 1;
    for (column, width) in shown {
        let room = usize::from(area.right().saturating_sub(x).min(*width));
        if room == 0 {
            return;
        }
        let (text, style) = cell(*column);
        let text = fitted(&text, room);
        let pad = if columns[*column].right { room.saturating_sub(text.chars().count()) as u16 } else { 0 };
        cells.set_stringn(x + pad, area.y, text, room - usize::from(pad), style);
        x += width + 2;
    }
}

/// Both ends of a path say something; of anything else the beginning says most.
fn fitted(text: &str, room: usize) -> String {
    match text.char_indices().nth(room) {
        None => text.to_string(),
        Some(_) if text.starts_with('/') => shorten(text, room),
        Some(_) => text.chars().take(room - 1).chain(['…']).collect(),
    }
}
