//! The launcher: hands the real build script to kache, or becomes it.

use crate::harness::World;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Output;

fn place(world: &World, name: &str) {
    let path = world.cwd().join(name);
    fs::write(&path, kache_observe::LAUNCHER).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn run(world: &World, name: &str, wrapper: Option<&str>, args: &[&str]) -> Output {
    let mut command = world.command(world.cwd().join(name));
    command.arg0("./as-called").args(args).env_remove("RUSTC_WRAPPER");
    if let Some(wrapper) = wrapper {
        command.env("RUSTC_WRAPPER", wrapper.replace("CWD", world.cwd().to_str().unwrap()));
    }
    command.output().unwrap()
}

/// Prints its arguments, argv[0] first.
const SHOW: &str =
    "#include <stdio.h>\nint main(int c, char **v) { for (int i = 0; i < c; i++) printf(\"[%s]\", v[i]); return 7; }";

#[test]
fn it_becomes_the_real_one_or_kache() {
    let world = World::new();
    let show = world.c("show", SHOW);
    for kache in ["kache", "kache-2", "other"] {
        fs::copy(&show, world.cwd().join(kache)).unwrap();
    }
    for (names, real) in [
        (["build-script-build", "build_script_build-0123456789abcdef"], "build_script_build.real"),
        (["build-script-main", "build_script_main-fedcba9876543210"], "build_script_main.real"),
    ] {
        fs::copy(&show, world.cwd().join(real)).unwrap();
        place(&world, names[1]);
        fs::hard_link(world.cwd().join(names[1]), world.cwd().join(names[0])).unwrap();
        for name in names {
            let plain = "[./as-called][a][b c]";
            let through = format!("[kache][--build-script][{}]{plain}", world.cwd().join(real).display());
            for (wrapper, expected) in [
                (None, plain),
                (Some("CWD/kache"), through.as_str()),
                (Some("CWD/kache-2"), &through),
                (Some("CWD/other"), plain),
                (Some("kache"), plain),
                (Some("CWD/kache-none"), plain),
                (Some(""), plain),
            ] {
                let done = run(&world, name, wrapper, &["a", "b c"]);
                assert_eq!(String::from_utf8_lossy(&done.stdout), expected, "{name} {wrapper:?}");
                assert_eq!(done.status.code(), Some(7));
            }
        }
    }
}

#[test]
fn it_says_what_is_missing() {
    let world = World::new();
    place(&world, "build-script-build");
    let done = run(&world, "build-script-build", None, &[]);
    assert_eq!(done.status.code(), Some(101));
    let real = world.cwd().join("build_script_build.real");
    let expected = format!("build script: cannot execute {}: No such file or directory\n", real.display());
    assert_eq!(String::from_utf8_lossy(&done.stderr), expected);
}

#[test]
fn it_is_small_and_needs_no_libc() {
    assert!(kache_observe::LAUNCHER.len() < 32 << 10, "{} bytes", kache_observe::LAUNCHER.len());
    let interpreter = b"ld-linux";
    assert!(!kache_observe::LAUNCHER.windows(interpreter.len()).any(|window| window == interpreter));
}
