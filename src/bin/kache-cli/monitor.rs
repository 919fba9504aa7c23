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
use crate::screen::{self, Ink, Input, Screen};
use feed::{Feed, Requests};
use kache_store::Event;
use model::{Model, News};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// Watch builds, target directories and the store, live
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  kache monitor               in one terminal, cargo build in another
  kache monitor --since 30d

Running shows what compilers, build scripts and commands are at work for, if the result is to be stored. What is
restored is over at once; for edited units and what is passed through kache becomes the compiler: they stand among
the finished from their beginning.

Keys: Tab and 1 to 5 choose a tab, / filters, ? tells the others, q leaves. The mouse works too.
Colours vanish where NO_COLOR is set.")]
pub struct Args {
    /// How far back the sums reach: 7d, 24h, 30m, or all
    #[arg(long, default_value = "7d", value_parser = Since::parse, value_name = "DURATION")]
    since: Since,
}

/// All that can change what is shown.
pub enum Heard {
    News(News),
    /// Of the terminal.
    Told(Input),
}

/// How long nothing is drawn at most: signals and the time are looked at in between.
const FRAME: Duration = Duration::from_millis(100);

/// News between two frames at most: a long log is read while its sums grow on the screen.
const AT_ONCE: usize = 8;

pub fn run(args: Args, context: &Context) -> Result<Done, Fail> {
    if !screen::is_there(context) {
        let text = "kache monitor draws on a terminal, and there is none here; `kache stats` prints the same sums";
        return Err(Fail::Usage(text.into()));
    }
    let stop = screen::told_to_stop()?;
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
    let mut screen = Screen::take()?;
    screen::listen(move |input| send.send(Heard::Told(input)).is_ok());
    let shown = show(&mut screen, model, Ink::of(context), &heard, &requests, &stop);
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

fn show(
    screen: &mut Screen,
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
            screen.draw(|area, cells| model.drawn = draw::draw(&model, ink, area, cells))?;
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
                Heard::Told(input) => model.take(input),
            }
        }
        if survey {
            let _ = requests.send(model.project_dirs());
        }
    }
    Ok(())
}
