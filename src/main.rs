//! The hot binary: decides its role once, from its arguments, and hands over. Everything for people lives in `kache-cli`.

#![no_main] // Rust's own start-up (signal stack, reading /proc/self/maps) costs as much as looking up a unit.

use kache_config::Settings;
use kache_engine::Invocation;
use std::ffi::OsString;
use std::path::Path;

/// What this process is for.
enum Role<'a> {
    /// `kache rustc ARGS…`, as cargo calls a `RUSTC_WRAPPER`; `kache gcc ARGS…`; `gcc ARGS…`, where that is a link to kache.
    Compiler(&'a [OsString]),
    /// `kache --build-script REAL ARGV0 ARGS…`, from the launcher.
    BuildScript(&'a [OsString]),
    /// `kache --make-spares PID DIGEST…`, from a hit.
    Spares(&'a OsString, &'a [OsString]),
    /// `kache run [OPTIONS] -- COMMAND…`.
    Run(kache_engine::Asked),
    /// `kache --version`: of this binary itself, so that a different `kache-cli` beside it shows.
    Version,
    /// Everything else is a command for `kache-cli`.
    Command(&'a [OsString]),
}

fn role(args: &[OsString]) -> Role<'_> {
    if args.first().is_some_and(|called| kache_engine::is_cc(called)) {
        return Role::Compiler(args);
    }
    match args.get(1) {
        Some(first) if first == kache_engine::BUILD_SCRIPT_ROLE && args.len() > 2 => Role::BuildScript(&args[2..]),
        Some(first) if first == kache_engine::SPARES_ROLE && args.len() > 3 => Role::Spares(&args[2], &args[3..]),
        Some(first) if args.len() == 2 && (first == "--version" || first == "-V") => Role::Version,
        Some(first) if first == kache_engine::RUN_ROLE => match kache_engine::Asked::parse(&args[2..]) {
            Some(asked) => Role::Run(asked),
            None => Role::Command(&args[1..]),
        },
        Some(first)
            if kache_engine::is_tool(first)
                || kache_engine::is_cc(first)
                || Path::new(first).components().count() > 1 =>
        {
            Role::Compiler(&args[1..])
        }
        _ => Role::Command(args.get(1..).unwrap_or_default()),
    }
}

/// The C entry point; arguments are read through `std::env`.
#[unsafe(no_mangle)]
extern "C" fn main(_: i32, _: *const *const u8) -> i32 {
    let invocation = Invocation::snapshot();
    match role(&invocation.args) {
        Role::Compiler(args) => kache_engine::compile(&invocation, &settings(&invocation), args),
        Role::BuildScript(args) => kache_engine::build_script(&invocation, &settings(&invocation), args),
        Role::Spares(build, digests) => kache_engine::make_spares(&settings(&invocation), build, digests),
        Role::Run(asked) => kache_engine::command(&invocation, &settings(&invocation), &asked),
        Role::Version => {
            println!("kache {}", env!("CARGO_PKG_VERSION"));
            0
        }
        Role::Command(args) => command(args),
    }
}

fn settings(invocation: &Invocation) -> Settings {
    let mut settings = Settings::resolve(&|name| invocation.text_var(name), &kache_engine::project_dirs(invocation));
    kache_engine::observe_if_possible(&mut settings);
    settings
}

fn command(args: &[OsString]) -> ! {
    let cli = std::env::current_exe().unwrap_or_default().with_file_name("kache-cli");
    let error = kache_os::exec(&cli, "kache".as_ref(), args, &[]);
    eprintln!("kache: cannot execute {}: {error}", cli.display());
    eprintln!("kache: install both binaries, for example with `cargo install --locked --path .` in kache's sources");
    std::process::exit(127)
}
