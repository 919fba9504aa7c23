//! `kache completions`: completions for a shell, from the same table of commands as the help.

use crate::fail::{Done, Fail};
use crate::view::View;
use std::io::Write;

/// Print completions for a shell
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  kache completions bash > ~/.local/share/bash-completion/completions/kache
  kache completions fish > ~/.config/fish/completions/kache.fish
  kache completions zsh > \"${fpath[1]}/_kache\"")]
pub struct Args {
    shell: clap_complete::Shell,
}

pub fn run(args: Args, view: &mut View) -> Result<Done, Fail> {
    view.out.write_all(&text(args.shell))?;
    Ok(Done::Fine)
}

pub fn text(shell: clap_complete::Shell) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut crate::command(), "kache", &mut text);
    text
}
