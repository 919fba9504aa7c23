//! `kache monitor`: what the cache does, live. Owns the terminal while it runs and gives it back as it was; what is shown
//! is the model's to know, and how, the drawing's.

mod draw;
mod feed;
mod model;
#[cfg(test)]
mod tests;

use crate::Context;
use crate::fail::{Done, Fail};
use crate::format::Since;
use draw::Ink;
use feed::{Feed, Requests};
use kache_store::Event;
use model::{Input, Model, News};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{
    self, DisableMouseCapture, EnableMouseCapture, Event as Told, KeyCode, KeyEvent, KeyEventKind, KeyModifiers,
    MouseButton, MouseEventKind,
};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{self, BeginSynchronizedUpdate, EndSynchronizedUpdate};
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};
use std::io::{IsTerminal, Stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// Watch builds, target directories and the store, live
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  kache monitor               in one terminal, cargo build in another
  kache monitor --since 30d

Keys: Tab and 1 to 5 choose a tab, / filters, ? tells the others, q leaves. The mouse works too.
Colours vanish where NO_COLOR is set. Exit codes: 0 left, 2 there is no terminal to draw on.")]
pub struct Args {
    /// How far back the sums reach: 7d, 24h, 30m, or all
    #[arg(long, default_value = "7d", value_parser = Since::parse, value_name = "DURATION")]
    since: Since,
}

/// All that can change what is shown.
pub enum Heard {
    News(News),
    Told(Told),
}

/// How long nothing is drawn at most: signals and the time are looked at in between.
const FRAME: Duration = Duration::from_millis(100);

/// News between two frames at most: a long log is read while its sums grow on the screen.
const AT_ONCE: usize = 8;

pub fn run(args: Args, context: &Context) -> Result<Done, Fail> {
    let dumb = context.var("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    if dumb || !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        let text = "kache monitor draws on a terminal, and there is none here; `kache stats` prints the same sums";
        return Err(Fail::Usage(text.into()));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))
        .map_err(|e| Fail::Failed(format!("signals can't be handled: {e}")))?;
    let (send, heard) = mpsc::sync_channel(16);
    let (requests, asked) = mpsc::channel();
    let (feed, survey) = (Feed::new(&context.settings), Feed::new(&context.settings));
    let since = args.since.start(Event::now_ms());
    let (to_follow, to_survey) = (send.clone(), send.clone());
    std::thread::spawn(move || feed.follow(since, &to_follow));
    std::thread::spawn(move || survey.survey(&asked, &to_survey));
    let span = match args.since {
        Since::All => "all that is known".into(),
        Since::Last(span) => format!("the last {}", span_in_words(span)),
    };
    let model = Model::new(context.cache_dir().display().to_string(), span);
    let colours = context.var("NO_COLOR").is_none_or(str::is_empty);
    let mut screen = Screen::take()?;
    // On a terminal that hung up reading may never return: nobody waits for this thread.
    std::thread::spawn(move || while event::read().is_ok_and(|told| send.send(Heard::Told(told)).is_ok()) {});
    let shown = show(&mut screen.terminal, model, Ink { colours }, &heard, &requests, &stop);
    drop(screen);
    shown.map(|()| Done::Fine)
}

fn span_in_words(span: Duration) -> String {
    let s = span.as_secs();
    let (n, unit) = match s {
        s if s > 0 && s.is_multiple_of(86_400) => (s / 86_400, "day"),
        s if s > 0 && s.is_multiple_of(3600) => (s / 3600, "hour"),
        s if s > 0 && s.is_multiple_of(60) => (s / 60, "minute"),
        s => (s, "second"),
    };
    crate::format::count(n, unit)
}

/// The terminal in our hands; given back when dropped, also by a panic.
struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    fn take() -> Result<Screen, Fail> {
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

fn show(
    terminal: &mut Terminal<CrosstermBackend<Stdout>>,
    mut model: Model,
    ink: Ink,
    heard: &Receiver<Heard>,
    requests: &Requests,
    stop: &AtomicBool,
) -> Result<(), Fail> {
    let (mut changed, mut second) = (true, 0);
    while !model.done && !stop.load(Ordering::Relaxed) {
        model.now = Event::now_ms();
        // Ages go on while nothing happens.
        changed |= second != model.now / 1000;
        second = model.now / 1000;
        if changed {
            execute!(std::io::stdout(), BeginSynchronizedUpdate)?;
            terminal.draw(|frame| {
                let area = frame.area();
                model.drawn = draw::draw(&model, ink, area, frame.buffer_mut());
            })?;
            execute!(std::io::stdout(), EndSynchronizedUpdate)?;
        }
        let first = heard.recv_timeout(FRAME).ok();
        changed = first.is_some();
        let mut survey = false;
        for heard in first.into_iter().chain(heard.try_iter().take(AT_ONCE)) {
            match heard {
                Heard::News(news) => {
                    survey |= feed::changes_store(&news);
                    model.hear(news);
                }
                Heard::Told(told) => meant(told).into_iter().for_each(|input| model.take(input)),
            }
        }
        if survey {
            let _ = requests.send(model.project_dirs());
        }
    }
    Ok(())
}

/// What an event of the terminal means to the model.
fn meant(told: Told) -> Option<Input> {
    match told {
        Told::Key(KeyEvent { kind: KeyEventKind::Release, .. }) => None,
        Told::Key(KeyEvent { code: KeyCode::Char('c'), modifiers, .. })
            if modifiers.contains(KeyModifiers::CONTROL) =>
        {
            Some(Input::Quit)
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
            _ => None,
        },
        Told::Mouse(mouse) => match mouse.kind {
            MouseEventKind::ScrollUp => Some(Input::Up(3)),
            MouseEventKind::ScrollDown => Some(Input::Down(3)),
            MouseEventKind::Down(MouseButton::Left) => Some(Input::Press(mouse.column, mouse.row)),
            _ => None,
        },
        _ => None,
    }
}
