//! Processes, the packages of the system, and places of the project.

use std::ffi::OsStr;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

pub type Done<T = ()> = Result<T, String>;

/// The project's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the project").to_owned()
}

/// Builds the release programs of this project and says where cargo put `kache`; `kache-cli` lies beside it.
pub fn release_build() -> Done<PathBuf> {
    let line = ["build", "--release", "--package", "kache", "--bins", "--message-format=json-render-diagnostics"];
    let mut command = Command::new(cargo());
    let told = output(command.args(line).current_dir(root()).stderr(Stdio::inherit()))?;
    let messages = told.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
    let programs = messages.filter_map(|m| Some(PathBuf::from(m["executable"].as_str()?)));
    programs.into_iter().find(|p| p.ends_with("kache")).ok_or_else(|| "cargo built no kache".into())
}

/// A command of this project, in its root, told on standard error before it runs.
pub fn run(program: impl AsRef<OsStr>, args: &[&str]) -> Done {
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    told(&mut command)
}

pub fn told(command: &mut Command) -> Done {
    eprintln!("$ {}", line(command));
    let status = command.status().map_err(|e| about(line(command), e))?;
    if status.success() { Ok(()) } else { Err(format!("{}: {status}", line(command))) }
}

/// Standard output of a command that must succeed.
pub fn output(command: &mut Command) -> Done<String> {
    let out = command.output().map_err(|e| about(line(command), e))?;
    if out.status.success() {
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    } else {
        Err(format!("{}: {}\n{}", line(command), out.status, String::from_utf8_lossy(&out.stderr)))
    }
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

pub fn about(what: impl Display, error: impl Display) -> String {
    format!("{what}: {error}")
}

pub fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".into())
}

pub fn find_on_path(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let extra = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(extra).map(|dir| dir.join(tool)).find(|p| p.is_file())
}

pub fn is_root() -> bool {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// What the tests start beside Rust's own tools: program, part of gcc or clang, or Python's module; Debian package; what for.
const PACKAGES: &[(&str, &str, &str)] = &[
    ("cc", "gcc", "links, and C in build scripts"),
    ("ar", "binutils", "archives"),
    ("g++", "g++", "C++"),
    ("clang", "clang", "the other C compiler"),
    ("libclang_rt.profile-ARCH.a", "libclang-rt-dev", "its coverage and profiles"),
    ("llvm-profdata", "llvm", "its profiles"),
    ("cc1obj", "gobjc", "Objective-C"),
    ("cc1objplus", "gobjc++", "Objective-C++"),
    ("ld.lld", "lld", "thin LTO"),
    ("make", "make", "its jobserver"),
    ("cmake", "cmake", "its compiler launcher"),
    ("ninja", "ninja-build", "builds by CMake"),
    ("gdb", "gdb", "finds sources from restored objects"),
    ("strace", "strace", "shows that a hit starts no compiler and that observation is complete"),
    ("mkfs.btrfs", "btrfs-progs", "reflinks"),
    ("mkfs.xfs", "xfsprogs", "reflinks"),
    ("mkfs.ext4", "e2fsprogs", "hard links"),
    ("git", "git", "build scripts that read git's metadata"),
    ("tmux", "tmux", "output on a terminal"),
    ("script", "bsdutils", "progress and colours on a terminal"),
    ("setpriv", "util-linux", "what may not be written by others than root"),
    ("zsh", "zsh", "what init writes for a shell"),
    ("fish", "fish", "what init writes for a shell"),
    ("man", "man-db", "manual pages"),
    ("curl", "curl", "the action's download"),
    ("chromium", "chromium", "the report's page"),
    ("python3", "python3", "programs that read all of the environment"),
    ("import jsonschema", "python3-jsonschema", "what --json prints, by a validator of others"),
    ("pkg-config", "pkgconf", "build scripts that look for libraries"),
];

fn is_here(tool: &str) -> bool {
    if tool.starts_with("import ") {
        return output(Command::new("python3").args(["-c", tool])).is_ok();
    }
    if find_on_path(tool).is_some() {
        return true;
    }
    // A compiler says where a part of it is; of one that it has not, it repeats the name.
    let part = tool.replace("ARCH", std::env::consts::ARCH);
    let says = |compiler: &str, what: &str| output(Command::new(compiler).arg(format!("-print-{what}-name={part}")));
    [says("gcc", "prog"), says("clang", "file")].iter().flatten().any(|place| Path::new(place.trim()).is_file())
}

/// Installs what is missing where that is possible, and names it where it is not. The tests that need something missing
/// say so and are skipped.
pub fn packages() {
    let missing = || PACKAGES.iter().filter(|(tool, ..)| !is_here(tool)).collect::<Vec<_>>();
    if is_root() && find_on_path("apt-get").is_some() && !missing().is_empty() {
        let names: Vec<_> = missing().iter().map(|(_, package, _)| *package).collect();
        let apt = |args: &[&str]| told(Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive"));
        let install = [&["install", "-y", "--no-install-recommends", "-qq"], &names[..]].concat();
        if let Err(why) = apt(&install).or_else(|_| apt(&["update", "-qq"]).and_then(|()| apt(&install))) {
            eprintln!("{why}");
        }
    }
    for (tool, package, what) in missing() {
        eprintln!("missing: {tool} (Debian package {package}): {what}");
    }
}
