//! `kache purge`: removes everything that is stored. Knows only how to ask first.

use crate::Context;
use crate::fail::{Done, Fail};
use crate::format::{count, size};
use crate::view::View;
use std::io::Write;

/// Remove everything that is stored
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  kache purge                 asks first
  kache purge -y              for scripts

Build trees keep what they have; running builds go on, without the cache.")]
pub struct Args {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub fn run(args: Args, context: &Context, view: &mut View) -> Result<Done, Fail> {
    let dir = context.cache_dir().display();
    if context.cache_missing() {
        writeln!(view.out, "There is no cache in {dir}: nothing to remove.")?;
        return Ok(Done::Fine);
    }
    let usage = context.store.usage();
    let what = format!("{} ({})", count(usage.entries, "entry"), size(usage.blob_bytes + usage.record_bytes));
    if !args.yes && !view.can_ask {
        return Err(Fail::Usage(format!("this removes {what} from {dir}: say -y when there is no terminal to ask on")));
    }
    if !args.yes && !view.ask(&format!("Remove {what} from {dir}? [y/N] "))? {
        writeln!(view.out, "Nothing was removed.")?;
        return Ok(Done::Fine);
    }
    context.store.purge()?;
    writeln!(view.out, "Removed {what} from {dir}.")?;
    Ok(Done::Fine)
}
