//! Nobody escapes: however a program is started, it reports or the trace is blind.

use crate::harness::{World, skipped, tool};
use kache_observe::{Blind, Kind};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

/// Starts `cat secret` in the way that the first argument names.
const STARTER: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
static int wait_for(pid_t p) { int s; waitpid(p, &s, 0); return WIFEXITED(s) ? WEXITSTATUS(s) : 99; }
int main(int argc, char **argv) {
    char *how = argv[1], *cat[] = {"cat", "secret", NULL}, *none[] = {NULL};
    char *path_only[] = {"PATH=/usr/bin:/bin", NULL};
    pid_t p;
    if (!strcmp(how, "execlp")) return execlp("cat", "cat", "secret", NULL);
    if (!strcmp(how, "execl")) return execl("/bin/cat", "cat", "secret", NULL);
    if (!strcmp(how, "execle")) return execle("/bin/cat", "cat", "secret", NULL, none);
    if (!strcmp(how, "execv")) return execv("/bin/cat", cat);
    if (!strcmp(how, "execve_empty")) return execve("/bin/cat", cat, none);
    if (!strcmp(how, "execvpe")) return execvpe("cat", cat, path_only);
    if (!strcmp(how, "fexecve")) return fexecve(open("/bin/cat", O_RDONLY | O_CLOEXEC), cat, none);
    if (!strcmp(how, "syscall")) return syscall(SYS_execve, "/bin/cat", cat, none);
    if (!strcmp(how, "clearenv")) { clearenv(); return execv("/bin/cat", cat); }
    if (!strcmp(how, "unset")) { unsetenv("LD_PRELOAD"); unsetenv("KACHE_TRACE"); return execvp("cat", cat); }
    if (!strcmp(how, "other_preload")) { setenv("LD_PRELOAD", "libm.so.6", 1); return execvp("cat", cat); }
    if (!strcmp(how, "posix_spawn")) return posix_spawn(&p, "/bin/cat", NULL, NULL, cat, none) || wait_for(p);
    if (!strcmp(how, "posix_spawnp")) return posix_spawnp(&p, "cat", NULL, NULL, cat, environ) || wait_for(p);
    if (!strcmp(how, "fork")) { if (!(p = fork())) { execvp("cat", cat); _exit(9); } return wait_for(p); }
    if (!strcmp(how, "vfork")) { if (!(p = vfork())) { execve("/bin/cat", cat, none); _exit(9); } return wait_for(p); }
    if (!strcmp(how, "vfork_fails")) { if (!(p = vfork())) { execvp("no-such-program", cat); execvp("cat", cat); _exit(9); } return wait_for(p); }
    if (!strcmp(how, "system")) return WEXITSTATUS(system("cat secret"));
    if (!strcmp(how, "popen")) {
        char line[64]; FILE *f = popen("cat secret", "r");
        if (!f || !fgets(line, sizeof line, f)) return 8;
        fputs(line, stdout);
        return pclose(f);
    }
    if (!strcmp(how, "popen_write")) {
        FILE *f = popen("read x; cat secret; test \"$x\" = hello", "w");
        if (!f) return 8;
        fputs("hello\n", f);
        return WEXITSTATUS(pclose(f));
    }
    if (!strcmp(how, "script")) return execvp("./no-shebang", cat);
    return 77;
}
"#;

const WAYS: &[&str] = &[
    "execlp",
    "execl",
    "execle",
    "execv",
    "execve_empty",
    "execvpe",
    "fexecve",
    "syscall",
    "clearenv",
    "unset",
    "other_preload",
    "posix_spawn",
    "posix_spawnp",
    "fork",
    "vfork",
    "vfork_fails",
    "system",
    "popen",
    "popen_write",
    "script",
];

#[test]
fn every_way_to_start_a_program() {
    let world = World::new();
    let starter = world.c("starter", STARTER);
    let secret = world.file("secret", "the secret\n");
    world.script("no-shebang", "cat secret\n");
    for way in WAYS {
        let mut command = world.command(&starter);
        command.arg(way);
        let ran = world.observe(command);
        assert!(ran.output.status.success(), "{way}: {} {}", ran.output.status, ran.stderr());
        assert_eq!(ran.stdout(), "the secret\n", "{way}");
        assert!(ran.trace.is_ok(), "{way}: {:?}", ran.trace);
        ran.must_read(&secret);
    }
}

#[test]
fn a_search_on_path_is_one_record() {
    let world = World::new();
    let starter = world.c("starter", STARTER);
    world.file("secret", "x");
    let found = tool("cat").expect("there is a cat");
    for way in ["execlp", "posix_spawnp"] {
        let mut command = world.command(&starter);
        command.arg(way).env("PATH", format!("/no/such:{}", found.parent().expect("it has one").display()));
        let ran = world.observe(command);
        let started = |r: &&kache_observe::Record| matches!(r.kind, Kind::Exec | Kind::Spawn);
        let starts: Vec<_> = ran.seen().records.iter().filter(started).collect();
        assert_eq!(starts.len(), 1, "{way}");
        assert_eq!((starts[0].a, starts[0].b), (found.to_str().unwrap().as_bytes(), b"cat".as_slice()));
        assert!(!ran.has(Kind::Absent, "/no/such/cat"), "{way}");
        assert!(ran.seen().records.iter().all(|r| r.kind != Kind::SearchPath), "{way}: the PATH is the action's");
    }
    let ran = world.sh("PATH=/usr/bin:/bin; export PATH; env -i PATH=/bin:/usr/bin env cat secret");
    ran.must_have(Kind::SearchPath, "/bin:/usr/bin");
}

#[test]
fn environments_are_completed() {
    let world = World::new();
    let secret = world.file("secret", "x");
    world.sh("env -i /bin/cat secret").must_read(&secret);
    world.sh("unset LD_PRELOAD KACHE_TRACE; cat secret").must_read(&secret);
    world.sh("LD_PRELOAD= cat secret").must_read(&secret);
}

#[test]
fn large_arguments_and_environments() {
    let world = World::new();
    let secret = world.file("secret", "x");
    let starter = world.c("starter", STARTER);
    let ran = world.sh(&format!(
        "i=0; while [ $i -lt 3000 ]; do export V$i=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; i=$((i+1)); done; unset LD_PRELOAD; \
         {0} vfork && {0} unset && /bin/echo $(seq 1 20000) | wc -w",
        starter.display()
    ));
    ran.must_read(&secret);
    assert!(ran.stdout().ends_with("20000\n"), "{}", ran.stdout());
    // More than the block on the stack holds.
    let ran = world.sh(
        "i=0; while [ $i -lt 9000 ]; do set -- \"$@\" A$i=b; i=$((i+1)); done; env \"$@\" env -u LD_PRELOAD sh -c 'env | wc -l; cat secret'",
    );
    ran.must_read(&secret);
}

/// A static program that becomes a dynamic one has read unseen before that.
#[test]
fn static_programs_that_become_others_are_blind() {
    let world = World::new();
    let source = "#include <unistd.h>\nint main(void) { execl(\"/bin/echo\", \"echo\", (char *)0); return 1; }";
    let program = match world.try_c("becomes", source, &["-static"]) {
        Ok(program) => program,
        Err(_) => return skipped("static_programs_that_become_others_are_blind", "there is no static libc"),
    };
    for script in ["./../becomes", "./../becomes & wait", "exec ./../becomes"] {
        assert_eq!(fs::canonicalize(world.sh(script).escaped()).unwrap(), program, "{script}");
    }
}

#[test]
fn static_programs_are_blind() {
    let world = World::new();
    let program = match world.try_c("static", "int main(void) { return 0; }", &["-static"]) {
        Ok(program) => program,
        Err(_) => return skipped("static_programs_are_blind", "there is no static libc"),
    };
    for script in ["./../static", "./../static & wait", "(exec ./../static)"] {
        assert_eq!(fs::canonicalize(world.sh(script).escaped()).unwrap(), program, "{script}");
    }
    let starter = world.c("spawner", "#include <spawn.h>\n#include <sys/wait.h>\nextern char **environ; int main(int c, char **v) { int p; posix_spawn(&p, v[1], 0, 0, v + 1, environ); waitpid(p, 0, 0); return 0; }");
    let mut command = world.command(starter);
    command.arg(&program);
    assert_eq!(world.observe(command).escaped(), program);
    // And as the program that was asked for.
    assert_eq!(world.observe(world.command(&program)).trace.unwrap_err(), Blind::NoStart);
}

#[test]
fn setuid_programs_are_blind() {
    let world = World::new();
    let name = "setuid_programs_are_blind";
    if fs::metadata(world.cwd()).unwrap().uid() != 0 {
        return skipped(name, "only root can make a setuid program of another user");
    }
    let program = world.c("suid", "#include <unistd.h>\nint main(void) { return geteuid() == 65534 ? 0 : 3; }");
    std::os::unix::fs::chown(&program, Some(65534), Some(65534)).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o6755)).unwrap();
    fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let ran = world.sh("../suid");
    if ran.output.status.code() == Some(3) {
        return skipped(name, "the file system ignores setuid");
    }
    assert_eq!(fs::canonicalize(ran.escaped()).unwrap(), program);
}

#[test]
fn sanitized_programs_are_seen_or_blind() {
    let world = World::new();
    let source = "#include <stdio.h>\nint main(void) { FILE *f = fopen(\"secret\", \"r\"); return f ? 0 : 1; }";
    let secret = world.file("secret", "x");
    for sanitizer in ["address", "undefined", "thread", "leak"] {
        let name = format!("sanitized_{sanitizer}");
        let flag = format!("-fsanitize={sanitizer}");
        if let Err(why) = world.try_c(&name, source, &[&flag]) {
            skipped(&name, why.lines().next().unwrap_or("it does not compile"));
            continue;
        }
        let ran = world.sh(&format!("../{name}"));
        // Observed or not, it must run as it does alone.
        assert!(ran.output.status.success(), "{name}: {}", ran.stderr());
        match &ran.trace {
            Err(Blind::EscapedExec { .. }) => eprintln!("{name}: blind"),
            Err(other) => panic!("{name}: {other}"),
            Ok(_) => ran.must_read(&secret),
        }
    }
}

#[test]
fn a_background_process_that_outlives_the_action() {
    let world = World::new();
    let ran = world.sh("mkfifo go; { read x <go; } >/dev/null 2>&1 & exit 0");
    let shell = fs::canonicalize(tool("sh").expect("a shell")).unwrap();
    assert!(
        matches!(&ran.trace, Err(Blind::Running { path }) if *path == shell.as_os_str().as_bytes()),
        "{:?}",
        ran.trace
    );
    fs::write(world.cwd().join("go"), "\n").unwrap();
}

#[test]
fn a_cargo_build_from_end_to_end() {
    let world = World::new();
    world.file("Cargo.toml", "[package]\nname = \"p\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n");
    world.file("src/main.rs", "fn main() { println!(\"{}\", include_str!(concat!(env!(\"OUT_DIR\"), \"/text\"))) }");
    world.file(
        "build.rs",
        "fn main() { let out = std::env::var(\"OUT_DIR\").unwrap(); \
         let done = std::process::Command::new(\"cc\").args([\"-c\", \"x.c\", \"-o\"]).arg(format!(\"{out}/x.o\")).status().unwrap(); \
         assert!(done.success()); std::fs::copy(\"text\", format!(\"{out}/text\")).unwrap(); }",
    );
    world.file("x.c", "#include \"x.h\"\n");
    let inputs = ["text", "x.h"].map(|name| world.file(name, ""));
    let mut command = world.command("cargo");
    command.args(["build", "--offline"]).env("CARGO_TARGET_DIR", world.path("target")).env_remove("RUSTC_WRAPPER");
    let ran = world.observe(command);
    for input in inputs {
        ran.must_read(input);
    }
    let started = |name: &str| ran.seen().programs.iter().any(|program| program.exe.ends_with(name.as_bytes()));
    for name in ["/rustc", "/collect2", "/cc1", "/build-script-build"] {
        assert!(started(name), "{name}");
    }
}
