//! A real terminal: tmux is the screen, the keyboard and the mouse.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::*;

/// A terminal with one window, and a shell in it that runs a command and then says how the terminal was left.
pub struct Screen<'s> {
    space: &'s Space,
    socket: PathBuf,
}

impl<'s> Screen<'s> {
    pub fn open(space: &'s Space, set: &str, command: &str) -> Screen<'s> {
        let screen = Screen { space, socket: space.path("tmux") };
        let (cli, cache) = (kache_cli().display(), space.cache());
        // The command's own shell tells its process: the signal is for it alone.
        let script = format!(
            "echo before; sh -c 'echo $$ > {pid}; exec env KACHE_CACHE_DIR={cache} {set} {cli} {command}'; \
             echo left with $?; stty -a | grep -qw -e -icanon || echo line by line; exec cat",
            pid = space.path("pid").display(),
            cache = cache.display(),
        );
        screen.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "110", "-y", "30", &script]);
        screen
    }

    pub fn tmux(&self, args: &[&str]) -> String {
        let run = self.space.command("tmux", &self.space.path("")).arg("-u").arg("-S").arg(&self.socket);
        let out = args.iter().fold(run, |run, arg| run.arg(arg)).run();
        out.ok();
        out.stdout
    }

    pub fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// A press of the mouse at (column, row), counted from one, as a terminal reports it.
    pub fn press(&self, column: u16, row: u16) {
        self.report(0, column, row);
    }

    fn report(&self, button: u16, column: u16, row: u16) {
        let report = format!("\x1b[<{button};{column};{row}M");
        let bytes: Vec<String> = report.bytes().map(|b| format!("{b:x}")).collect();
        self.keys(&[&["-H"], &bytes.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat());
    }

    /// Turns the wheel by one notch; `down`: towards the end.
    pub fn wheel(&self, down: bool) {
        self.report(if down { 65 } else { 64 }, 10, 10);
    }

    pub fn text(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the screen is as described. How long that takes is no part of any test.
    #[track_caller]
    pub fn until(&self, what: &str, shown: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let text = self.text();
            if shown(&text) {
                return text;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "the screen must show {what}, but is\n{text}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    pub fn shows(&self, words: &[&str]) {
        self.until(&format!("{words:?}"), |text| words.iter().all(|word| text.contains(word)));
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}

pub fn tmux_missing(test: &str) -> bool {
    let missing = !on_path("tmux");
    if missing {
        skip(test, "tmux is missing, so there is no terminal to try it in");
    }
    missing
}
