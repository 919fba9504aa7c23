//! Compiles the preload library and the launcher, which the crate embeds.
//!
//! The observer belongs to the C library it is loaded into, so this knows only the system's own compiler and makes no
//! attempt at cross toolchains beyond the variables everybody sets for them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const PRELOAD: &[&str] = &[
    "-shared",
    "-fPIC",
    "-O2",
    "-fvisibility=hidden",
    "-ftls-model=initial-exec",
    // Null checks must stay in functions whose arguments the C library's headers declare non-null.
    "-fno-delete-null-pointer-checks",
    // Lazy binding would resolve symbols in vfork children.
    "-Wl,-z,now",
    "-Wl,-s",
];
const PRELOAD_LIBS: &[&str] = &["-ldl", "-lpthread"];

const LAUNCHER: &[&str] = &["-Os", "-static", "-Wl,-s"];
/// For the architectures whose entry point launcher.c writes itself.
const LAUNCHER_FREESTANDING: &[&str] = &[
    "-nostdlib",
    "-ffreestanding",
    "-fno-builtin",
    "-fno-stack-protector",
    "-fno-pie",
    "-fno-asynchronous-unwind-tables",
    "-Wl,--build-id=none",
    "-Wl,-z,noexecstack",
];

fn main() {
    println!("cargo:rerun-if-changed=src/preload.c");
    println!("cargo:rerun-if-changed=src/launcher.c");
    println!("cargo:rustc-check-cfg=cfg(observed)");

    let arch = variable("CARGO_CFG_TARGET_ARCH");
    let freestanding = matches!(arch.as_str(), "x86_64" | "aarch64");
    if variable("CARGO_CFG_TARGET_OS") != "linux" || !freestanding {
        return; // declared inputs only
    }

    let out = PathBuf::from(variable("OUT_DIR"));
    let compiler = compiler();
    let preload = compile(&compiler, PRELOAD, "src/preload.c", &out.join("preload.so"), PRELOAD_LIBS);
    let flags = [LAUNCHER, LAUNCHER_FREESTANDING].concat();
    let launcher = compile(&compiler, &flags, "src/launcher.c", &out.join("launcher"), &[]);
    match preload.and(launcher) {
        Ok(()) => println!("cargo:rustc-cfg=observed"),
        // A system without glibc has no names to interpose; kache works there on declared inputs.
        Err(why) if variable("CARGO_CFG_TARGET_ENV") == "musl" => {
            let first = why.lines().find(|line| line.contains("error")).unwrap_or("it does not compile here");
            println!("cargo:warning=the observer is left out: {first}");
        }
        Err(why) => {
            eprintln!("{why}");
            std::process::exit(1);
        }
    }
}

/// The compiler and its first arguments: `CC` may be "ccache gcc" or "gcc -m64".
fn compiler() -> Vec<String> {
    let target = variable("TARGET");
    let mut names = vec![format!("CC_{target}"), format!("CC_{}", target.replace('-', "_"))];
    names.extend(match variable("HOST") == target {
        true => ["HOST_CC".to_owned(), "CC".to_owned()],
        false => ["TARGET_CC".to_owned(), "CC".to_owned()],
    });
    for name in &names {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let chosen = names.iter().find_map(|name| env::var(name).ok().filter(|value| !value.trim().is_empty()));
    chosen.as_deref().unwrap_or("cc").split_whitespace().map(str::to_owned).collect()
}

fn compile(compiler: &[String], flags: &[&str], source: &str, output: &Path, libs: &[&str]) -> Result<(), String> {
    let ran = Command::new(&compiler[0])
        .args(&compiler[1..])
        .args(flags)
        .arg("-o")
        .arg(output)
        .arg(source)
        .args(libs)
        // The observer must not come out of the cache whose soundness rests on it.
        .env("KACHE_DISABLED", "1")
        .output();
    match ran {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => Err(format!(
            "the C compiler `{}` failed on crates/observe/{source} ({}):\n{}",
            compiler.join(" "),
            done.status,
            String::from_utf8_lossy(&done.stderr)
        )),
        Err(error) => Err(format!(
            "kache needs a C compiler for the library that observes what a tool reads, and `{}` cannot be run: {error}\n\
             Install one (Debian, Ubuntu: apt install gcc libc6-dev; Fedora: dnf install gcc; Arch: pacman -S gcc), or name it in CC.",
            compiler.join(" ")
        )),
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
