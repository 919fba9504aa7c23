//! Where commands write: output, messages, progress. Styles vanish where there is no terminal or `NO_COLOR` is set;
//! progress appears on a terminal only. Knows nothing about what is written.

use crate::fail::Fail;
use crate::format::{printable, shorten};
pub use crate::style::{BAD, FAINT, GOOD, PLAIN, STRONG, WARN};
use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

pub struct View {
    pub out: Box<dyn Write>,
    pub err: Box<dyn Write>,
    /// Where the line of progress stands, when someone watches. Drawing it takes the terminal's commands, also without colours.
    bar: Option<Box<dyn Write>>,
    /// Someone sits at standard input and sees what is asked.
    pub can_ask: bool,
    /// Someone reads the output on a terminal.
    reads: bool,
    drawn: Option<Instant>,
}

impl View {
    /// `dumb`: the terminal understands no commands.
    pub fn of_process(dumb: bool) -> View {
        let watched = io::stderr().is_terminal();
        View {
            out: Box::new(io::BufWriter::new(anstream::stdout())),
            err: Box::new(anstream::stderr()),
            bar: if watched && !dumb { Some(Box::new(io::stderr())) } else { None },
            can_ask: watched && io::stdin().is_terminal(),
            reads: io::stdout().is_terminal(),
            drawn: None,
        }
    }

    /// Nobody sees what is written but messages.
    pub fn unseen(err: impl Write + 'static) -> View {
        let (out, err) = (Box::new(io::sink()), Box::new(err));
        View { out, err, bar: None, can_ask: false, reads: false, drawn: None }
    }

    pub fn json(&mut self, value: &impl serde::Serialize) -> Result<(), Fail> {
        serde_json::to_writer_pretty(&mut self.out, value)?;
        writeln!(self.out)?;
        Ok(())
    }

    /// Asks whoever sits at the terminal ([`View::can_ask`]); anything but yes is no.
    pub fn ask(&mut self, question: &str) -> io::Result<bool> {
        Ok(matches!(self.answer(question)?.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// What whoever sits at the terminal says to a question.
    pub fn answer(&mut self, question: &str) -> io::Result<String> {
        self.out.flush()?;
        write!(self.err, "{question}")?;
        self.err.flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(answer)
    }

    /// Output that may be long: on a terminal through the pager. Without one, or where it does not start, as it is.
    pub fn paged(
        &mut self,
        pager: &str,
        mut write: impl FnMut(&mut dyn Write, &mut View) -> Result<(), Fail>,
    ) -> Result<(), Fail> {
        /// A shell's answer when there is no such program.
        const NOT_STARTED: [i32; 2] = [126, 127];
        if self.reads && !pager.is_empty() {
            let mut command = Command::new("sh");
            // Leave at once what fits, keep colours, leave the screen as it is.
            command.arg("-c").arg(pager).env("LESS", "FRX").stdin(Stdio::piped());
            if let Ok(mut child) = command.spawn() {
                // An interrupt is the pager's to understand.
                let _ = ctrlc::set_handler(|| {});
                let colours = anstream::AutoStream::choice(&io::stdout());
                let mut written = Ok(());
                if let Some(pipe) = child.stdin.take() {
                    let pipe: Box<dyn Write> = Box::new(pipe);
                    let mut pipe = io::BufWriter::new(anstream::AutoStream::new(pipe, colours));
                    // The screen is the pager's.
                    let bar = self.bar.take();
                    written = write(&mut pipe, self).and_then(|()| Ok(pipe.flush()?));
                    self.bar = bar;
                }
                if !child.wait()?.code().is_some_and(|code| NOT_STARTED.contains(&code)) {
                    return written;
                }
            }
        }
        let mut out = std::mem::replace(&mut self.out, Box::new(io::sink()));
        let written = write(&mut out, self);
        self.out = out;
        written
    }

    /// Replaces the line of progress; at most ten times a second.
    pub fn progress(&mut self, text: impl FnOnce() -> String) {
        let recent = self.drawn.is_some_and(|at| at.elapsed() < Duration::from_millis(100));
        let Some(bar) = self.bar.as_mut().filter(|_| !recent) else { return };
        self.drawn = Some(Instant::now());
        // What does not fit would go on in the next line, and stay there.
        let known = ratatui::crossterm::terminal::size().ok().filter(|(columns, _)| *columns > 1);
        let width = known.map_or(80, |(columns, _)| usize::from(columns));
        let _ = write!(bar, "\r{}\x1b[K", shorten(&printable(&text()), width - 1)).and_then(|()| bar.flush());
    }

    /// Takes the line of progress away.
    pub fn progress_done(&mut self) {
        if let (Some(_), Some(bar)) = (self.drawn.take(), &mut self.bar) {
            let _ = write!(bar, "\r\x1b[K").and_then(|()| bar.flush());
        }
    }

    /// A line on standard error, while progress may stand there.
    pub fn tell(&mut self, line: &str) -> io::Result<()> {
        self.progress_done();
        writeln!(self.err, "{line}")
    }
}

/// A stream that can be read back.
#[derive(Clone, Default)]
pub struct Paper(Rc<RefCell<Vec<u8>>>);

impl Paper {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&anstream::adapter::strip_bytes(&self.0.borrow()).into_vec()).into_owned()
    }
}

impl Write for Paper {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(data)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
pub mod testing {
    pub use super::Paper;
    use super::*;
    pub fn view() -> (View, Paper) {
        let paper = Paper::default();
        let view = View { out: Box::new(paper.clone()), ..View::unseen(io::sink()) };
        (view, paper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: what keeps the writer from writing is told although a pager reads, and a pager that leaves is no fault; one
    /// that does not start costs nothing.
    #[test]
    fn pagers() {
        let paged = |pager: &str, write: &mut dyn FnMut(&mut dyn Write) -> Result<(), Fail>| {
            let (mut view, paper) = testing::view();
            view.reads = true;
            (view.paged(pager, |out, _| write(out)), paper.text())
        };
        let (told, _) = paged("cat > /dev/null", &mut |_| Err(Fail::Failed("the disk".into())));
        assert!(matches!(told, Err(Fail::Failed(text)) if text == "the disk"));
        let (told, _) = paged("true", &mut |out| Ok(out.write_all(&vec![b'x'; 1 << 20])?));
        assert!(matches!(told, Err(Fail::Unheard)));
        let (told, text) = paged("exec kache-no-such-pager 2> /dev/null", &mut |out| Ok(out.write_all(b"all")?));
        assert!(told.is_ok() && text == "all");
    }
}
