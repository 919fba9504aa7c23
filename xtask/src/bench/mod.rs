//! Benchmarks: kache beside no cache, the floor and whichever peers are installed, in one run on one machine.
//!
//! Ratios within one run are what counts; seconds of different runs do not compare.

mod cc;
mod disk;
mod edit;
mod hit;
mod index;
mod project;
mod subject;
mod tool;
mod trees;

use std::path::PathBuf;

use crate::system::Done;

const HELP: &str = "\
cargo xtask bench [hit|edit|index|cc] [OPTIONS]

  (nothing)   cold, same tree, first and later build in a second checkout, next build in both
  hit         one library hit as a whole process, and the start-up before a passthrough
  edit        the edit loop: a function appended, built, again and again
  index       stats, list and report on 100,000 synthetic entries and 1,000,000 events
  cc          a C or C++ tree: --subject is its directory (built with CMake, configure, make or cargo), or a published
              crate that compiles C, with features (libsqlite3-sys/bundled); --cmd is what else the build gets

  --subject NAME|DIR   a published crate (ripgrep, bat, fd-find, …: its own source) or a Cargo project; default ripgrep
  --runs N             alternating runs, of which the median counts; default 5 (edit: 7 edits; hit: 50 hits)
  --tools A,B=PATH,…   default: none,floor,kache and those of mbx, sccache that are installed; NAME=PATH is any wrapper
                       that takes the cache directory from KACHE_CACHE_DIR; copying-floor copies what is no library
  --cmd \"CMD\"          cargo's command and options; default build
  --profile NAME       cargo profile; default dev
  --fs btrfs|xfs|ext4  on a fresh filesystem of that kind in a file (root only)
  --root DIR           where to work; default a directory in the temporary directory
  --file FILE          edit: the file that is edited; default the root of the largest workspace crate
  --restored           edit: in a second checkout that was restored, instead of the one that was built cold
  --compiler gcc|clang cc: only this one
  --json               one JSON object on standard output instead of tables
";

/// How often a round restores the same tree: it takes a fraction of a second, and machines are noisy.
const RESTORES: usize = 3;

pub struct Options {
    pub subject: String,
    pub runs: Option<usize>,
    pub tools: Option<String>,
    pub cmd: String,
    pub profile: String,
    pub fs: Option<String>,
    pub root: PathBuf,
    pub file: Option<String>,
    pub restored: bool,
    pub json: bool,
    pub compiler: Option<String>,
}

pub fn run(args: &[String]) -> Done {
    let mut options = Options {
        subject: "ripgrep".into(),
        runs: None,
        tools: None,
        cmd: "build".into(),
        profile: "dev".into(),
        fs: None,
        root: std::env::temp_dir().join("kache-bench"),
        file: None,
        restored: false,
        json: false,
        compiler: None,
    };
    let mut what = project::run as fn(&Options) -> Done;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().cloned().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "hit" => what = hit::run,
            "edit" => what = edit::run,
            "cc" => what = cc::run,
            "index" => what = index::run,
            "--compiler" => options.compiler = Some(value()?),
            "--subject" => options.subject = value()?,
            "--runs" => options.runs = Some(value()?.parse().map_err(|_| "--runs needs a number")?),
            "--tools" => options.tools = Some(value()?),
            "--cmd" => options.cmd = value()?,
            "--profile" => options.profile = value()?,
            "--fs" => options.fs = Some(value()?),
            "--root" => options.root = value()?.into(),
            "--file" => options.file = Some(value()?),
            "--restored" => options.restored = true,
            "--json" => options.json = true,
            "--help" | "-h" => {
                print!("{HELP}");
                return Ok(());
            }
            _ => return Err(format!("no option {arg:?}\n\n{HELP}")),
        }
    }
    what(&options)
}

/// Several measurements of one thing.
#[derive(Clone, Default)]
pub struct Times(Vec<f64>);

impl Times {
    pub fn add(&mut self, seconds: f64) {
        self.0.push(seconds);
    }

    fn sorted(&self) -> Vec<f64> {
        let mut times = self.0.clone();
        times.sort_by(f64::total_cmp);
        times
    }

    pub fn median(&self) -> Option<f64> {
        let times = self.sorted();
        let middle = times.len() / 2;
        match times.len() {
            0 => None,
            n if n % 2 == 1 => Some(times[middle]),
            _ => Some((times[middle - 1] + times[middle]) / 2.0),
        }
    }

    pub fn range(&self) -> Option<(f64, f64)> {
        let times = self.sorted();
        Some((*times.first()?, *times.last()?))
    }

    pub fn all(&self) -> &[f64] {
        &self.0
    }
}

/// The tools in turn, every second round the other way round: a machine that throttles is faster for who comes first.
fn order(tools: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..tools).map(move |at| if round.is_multiple_of(2) { at } else { tools - 1 - at })
}

/// Processor time of all that was started and waited for, in seconds. (sccache compiles in a server, which is not.)
fn children_cpu() -> f64 {
    // SAFETY: all zeroes is a value of this structure of integers, which the call fills in.
    let used = unsafe {
        let mut used: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut used);
        used
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(used.ru_utime) + seconds(used.ru_stime)
}

#[cfg(test)]
mod tests {
    use super::Times;

    #[test]
    fn median_of_odd_even_and_nothing() {
        assert_eq!(Times(vec![3.0, 1.0, 2.0]).median(), Some(2.0));
        assert_eq!(Times(vec![4.0, 1.0]).median(), Some(2.5));
        assert_eq!(Times(vec![]).median(), None);
    }
}
