//! The editor at work: owns the terminal, asks the model what keys mean, and reads and writes the file.

use super::draw::draw;
use super::file::SettingsFile;
use super::model::{Editor, Want};
use crate::Context;
use crate::fail::{Done, Fail};
use crate::screen::{self, Ink, Screen};
use kache_config::Settings;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

/// How long nothing is drawn at most: signals are looked at in between.
const FRAME: Duration = Duration::from_millis(100);

pub fn run(file: &SettingsFile, context: &Context) -> Result<Done, Fail> {
    let env = |name: &str| context.env.get(name).cloned();
    let mut editor = Editor::new(file.source, file.path.display().to_string(), &Settings::defaults(&env));
    editor.read(file.values()?, &context.settings);
    editor.message = context.settings.warning().map(|text| (text, true));
    let (send, heard) = mpsc::channel();
    let stop = screen::told_to_stop()?;
    let ink = Ink::of(context);
    let mut screen = Screen::take()?;
    screen::listen(move |input| send.send(input).is_ok());
    let mut changed = true;
    while !stop.load(Ordering::Relaxed) {
        if changed {
            screen.draw(|area, cells| editor.drawn = draw(&editor, ink, area, cells))?;
        }
        let first = heard.recv_timeout(FRAME).ok();
        changed = first.is_some();
        for input in first.into_iter().chain(heard.try_iter()) {
            let want = editor.take(input);
            let saved = match want {
                Want::Nothing => continue,
                Want::Leave => return Ok(Done::Fine),
                Want::Save | Want::SaveAndLeave => file.save(&editor.edits()).and_then(|_| file.values()),
            };
            match saved {
                Ok(_) if want == Want::SaveAndLeave => return Ok(Done::Fine),
                Ok(values) => {
                    editor.saved();
                    editor.read(values, &Settings::resolve(&env, &[&context.cwd]));
                }
                Err(fail) => editor.message = Some((fail.to_string(), true)),
            }
        }
    }
    Ok(Done::Fine)
}
