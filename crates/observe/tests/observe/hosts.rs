//! The channel survives its hosts, and the hosts do not notice it.

use crate::harness::{World, find, listing, skipped, tool};
use kache_observe::{Blind, Kind};
use std::collections::HashMap;
use std::fs;

#[test]
fn shells_that_reuse_descriptors() {
    let world = World::new();
    let secret = world.file("secret", "x");
    let all: String = (3..10).map(|fd| format!("exec {fd}>out{fd}; ")).collect();
    let ran = world.sh(&format!("{all} cat secret; exec 3>&-; cat secret >&4"));
    ran.must_read(&secret);
    for fd in 3..10 {
        let text = fs::read_to_string(world.cwd().join(format!("out{fd}"))).unwrap();
        assert_eq!(text, if fd == 4 { "x" } else { "" }, "out{fd}");
    }
}

#[test]
fn daemonizers_that_close_everything() {
    let world = World::new();
    let secret = world.file("secret", "x");
    let source = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
int main(void) { for (int i = 3; i < 1024; i++) close(i); open("first", O_RDONLY); closefrom(3); clearenv(); return execl("/bin/cat", "cat", "secret", NULL); }
"#;
    if let Ok(program) = world.try_c("closer", source, &[]) {
        let ran = world.observe(world.command(program));
        ran.must_read(&secret);
        ran.must_have(Kind::Absent, world.cwd().join("first"));
    } else {
        skipped("daemonizers_that_close_everything", "this libc has no closefrom");
    }
    let Some(python) = tool("python3") else { return skipped("python_close_fds", "there is no python3") };
    let mut command = world.command(python);
    command.args(["-c", "import subprocess; subprocess.run(['cat', 'secret'], close_fds=True, env={'PATH': '/usr/bin:/bin'}, check=True)"]);
    let ran = world.observe(command);
    ran.must_read(&secret);
}

#[test]
fn no_descriptor_is_left_open() {
    let world = World::new();
    let source = "#include <fcntl.h>\n#include <stdio.h>\nint main(void) { for (int i = 0; i < 1024; i++) if (fcntl(i, F_GETFD) >= 0) printf(\"%d \", i); return 0; }";
    let ran = world.observe(world.command(world.c("descriptors", source)));
    ran.seen();
    let plain = world.command(world.path("descriptors")).output().unwrap();
    assert_eq!(ran.stdout(), String::from_utf8_lossy(&plain.stdout));
}

/// Each call fails in its own way; errno must be what the plain program sees.
const ERRORS: &str = r#"
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#define TRY(call) do { errno = 1234; long r = (long)(call); printf("%s: %s %d\n", #call, r == -1 || r == 0 ? "0/-1" : "other", errno); } while (0)
extern char **environ;
int main(void) {
    struct stat s; char b[PATH_MAX], big[PATH_MAX * 2], *a[] = {"x", NULL}; pid_t p; struct timespec t;
    struct sockaddr_un u = {AF_UNIX, "/no/such/socket"};
    memset(big, 'a', sizeof big); big[sizeof big - 1] = 0; big[0] = '/';
    TRY(open("/no/such", O_RDONLY)); TRY(open(NULL, O_RDONLY)); TRY(open("", O_RDONLY)); TRY(open((char *)1, O_RDONLY)); TRY(open(big, O_RDONLY));
    TRY(open("/etc/passwd", O_RDONLY) > 2 ? 1 : 0); TRY(open("/etc/passwd/x", O_RDONLY)); TRY(open("/", O_WRONLY)); TRY(openat(77, "x", O_RDONLY));
    TRY(open("new", O_CREAT | O_EXCL | O_WRONLY, 0600) > 2 ? 1 : 0); TRY(open("new", O_CREAT | O_EXCL | O_WRONLY, 0600));
    TRY(fopen("/no/such", "r")); TRY(fopen("new", "zz")); TRY(opendir("/no/such")); TRY(opendir("new")); TRY(fdopendir(77));
    TRY(stat("/no/such", &s)); TRY(stat(NULL, &s)); TRY(lstat("new", &s)); TRY(fstatat(AT_FDCWD, "", &s, 0)); TRY(fstatat(1, "", &s, AT_EMPTY_PATH));
    TRY(access("/no", 0)); TRY(readlink("new", b, 9)); TRY(readlink("/no/such", b, 9)); TRY(realpath("/no/such", b)); TRY(realpath(NULL, b)); TRY(realpath("", b));
    TRY(mkdir("new", 0700)); TRY(mkdir("/no/such/x", 0700)); TRY(rmdir("new")); TRY(unlink("/no/such")); TRY(rename("/no/such", "y")); TRY(rename("new", "/no/such/y"));
    TRY(link("new", "new")); TRY(symlink("x", "new")); TRY(chmod("/no/such", 0600)); TRY(truncate("/no/such", 1)); TRY(chdir("/no/such")); TRY(chdir("new"));
    TRY(execve("/no/such", a, environ)); TRY(execve("/", a, environ)); TRY(execve("new", a, environ)); TRY(execvp("no-such-program", a)); TRY(execvp("", a)); TRY(execlp("/no/such", "x", NULL));
    TRY(posix_spawn(&p, "/no/such", NULL, NULL, a, environ)); TRY(posix_spawnp(&p, "no-such-program", NULL, NULL, a, environ));
    TRY(getenv("NO_SUCH")); TRY(clock_gettime(77, &t)); TRY(clock_gettime(CLOCK_REALTIME, &t)); TRY(time(NULL) ? 1 : 0);
    TRY(connect(77, (void *)&u, sizeof u)); TRY(connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&u, sizeof u));
    TRY(syscall(SYS_openat, AT_FDCWD, "/no/such", O_RDONLY)); TRY(syscall(SYS_openat, AT_FDCWD, NULL, O_RDONLY)); TRY(syscall(SYS_getpid) ? 1 : 0); TRY(syscall(99999));
    TRY(statx(0, NULL, 0, 0, NULL)); TRY(mkstemp(b)); TRY(system(NULL)); TRY(system("exit 3")); TRY(popen("x", "zz"));
    char *name = mkdtemp(strcpy(b, "dir-XXXXXX")); TRY(rmdir(name)); TRY(unlink("new"));
    return 0;
}
"#;

#[test]
fn errno_is_the_calls_own() {
    let world = World::new();
    let program = world.try_c("errors", ERRORS, &["-w", "-ldl"]).unwrap();
    let plain = world.command(&program).output().unwrap();
    let ran = world.observe(world.command(&program));
    assert!(plain.status.success() && plain.stdout.len() > 1000, "{}", plain.status);
    assert_eq!(ran.stdout(), String::from_utf8_lossy(&plain.stdout));
    ran.must_have(Kind::Absent, "/no/such");
    ran.must_have(Kind::Absent, "/etc/passwd/x");
    ran.must_have(Kind::Failed, world.cwd().join("new"));
    ran.must_have(Kind::Clock, "");
    ran.must_have(Kind::Net, "unix /no/such/socket");
    assert_eq!(ran.seen().records.iter().filter(|r| r.kind == Kind::Clock).count(), 2);
}

#[test]
fn nulls_and_overlong_paths_stay_harmless() {
    let world = World::new();
    let source = "#include <fcntl.h>\n#include <unistd.h>\nint main(void) { char n[3001] = {0}; for (int i = 0; i < 3000; i++) n[i] = i % 2 ? '.' : '/'; \
        open(n, O_RDONLY); return chdir(\"/\"); }";
    let program = world.c("dots", source);
    world.observe(world.command(program)).must_have(Kind::Open, "/");
}

/// 8 processes of 4 threads, each telling of its own absences.
const STORM: &str = r#"
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static int who;
static void *probe(void *thread) {
    char path[64];
    for (int i = 0; i < 500; i++) { snprintf(path, sizeof path, "/absent/%d/%ld/%d", who, (long)thread, i); open(path, O_RDONLY); }
    return NULL;
}
int main(void) {
    for (who = 0; who < 8; who++) if (!fork()) {
        pthread_t t[4];
        for (long i = 0; i < 4; i++) pthread_create(&t[i], NULL, probe, (void *)i);
        for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
        for (int i = 0; i < 50; i++) { int c = fork(); if (!c) _exit(access("/forked", 0) == 0); waitpid(c, NULL, 0); }
        exit(0);
    }
    while (wait(NULL) > 0);
    return 0;
}
"#;

#[test]
fn a_storm_of_writers_loses_nothing() {
    let world = World::new();
    let ran = world.observe(world.command(world.c("storm", STORM)));
    let mut told: HashMap<&[u8], usize> = HashMap::new();
    for record in ran.seen().records.iter().filter(|r| r.kind == Kind::Absent) {
        *told.entry(record.a).or_default() += 1;
    }
    for (who, thread, i) in (0..8).flat_map(|w| (0..4).flat_map(move |t| (0..500).map(move |i| (w, t, i)))) {
        let path = format!("/absent/{who}/{thread}/{i}");
        assert!(told.contains_key(path.as_bytes()), "{path}");
    }
    assert_eq!(told[b"/forked".as_slice()], 400, "each forked child tells it for itself");
    assert_eq!(ran.seen().programs.len(), 1);
}

#[test]
fn a_full_trace_says_so() {
    let world = World::new();
    let ran = world.observe_with(world.command(world.c("storm", STORM)), 16384);
    assert!(ran.output.status.success());
    assert_eq!(ran.trace.unwrap_err(), Blind::Overflow);
}

#[test]
fn without_a_trace_it_is_inert() {
    let world = World::new();
    let program = world.try_c("errors", ERRORS, &["-w", "-ldl"]).unwrap();
    let plain = world.command(&program).output().unwrap();
    for trace in [None, Some("/no/such"), Some("/dev/null"), Some("/etc/passwd")] {
        let mut command = world.command(&program);
        command.env("LD_PRELOAD", world.preload());
        if let Some(trace) = trace {
            command.env("KACHE_TRACE", trace);
        }
        assert_eq!(
            String::from_utf8_lossy(&command.output().unwrap().stdout),
            String::from_utf8_lossy(&plain.stdout),
            "{trace:?}"
        );
    }
}

/// dlopen by a bare name goes by the caller's run path: an interposer must not become the caller.
#[test]
fn dlopen_keeps_its_caller() {
    let world = World::new();
    fs::create_dir(world.path("plugins")).unwrap();
    world.try_c("plugins/libplug.so", "int plug(void) { return 5; }", &["-shared", "-fPIC"]).unwrap();
    let source = "#include <dlfcn.h>\n#include <unistd.h>\nint main(int c, char **v) { void *h = dlopen(\"libplug.so\", RTLD_NOW); \
        if (!h) return 1; int (*f)(void) = dlsym(h, \"plug\"); if (c > 1) { dlclose(h); return 0; } if (f() != 5) return 2; _exit(0); }";
    let program =
        world.try_c("host", source, &["-Wl,-rpath,$ORIGIN/plugins", "-Wl,--enable-new-dtags", "-ldl"]).unwrap();
    for args in [&[] as &[&str], &["close"]] {
        let mut command = world.command(&program);
        command.args(args);
        let ran = world.observe(command);
        let loaded = |r: &kache_observe::Record| r.kind == Kind::Loaded && r.a.ends_with(b"/plugins/libplug.so");
        assert!(ran.seen().records.iter().any(loaded), "{}", listing(ran.seen()));
    }
}

#[test]
fn constructors_that_run_before_ours() {
    let world = World::new();
    let source = "#include <fcntl.h>\n#include <stdlib.h>\n__attribute__((constructor)) static void early(void) { getenv(\"EARLY\"); open(\"/early\", O_RDONLY); }";
    world.try_c("libearly.so", source, &["-shared", "-fPIC"]).unwrap();
    let program = world
        .try_c(
            "late",
            "int main(void) { return 0; }",
            &["-Wl,--no-as-needed", "-L..", "-L.", "-Wl,-rpath,$ORIGIN", world.path("libearly.so").to_str().unwrap()],
        )
        .unwrap();
    let ran = world.observe(world.command(program));
    ran.must_have(Kind::Getenv, "EARLY");
    ran.must_have(Kind::Absent, "/early");
    let start = ran.seen().records.iter().position(|r| r.kind == Kind::Start).unwrap();
    assert_eq!(start, 0, "the program comes before what it did");
    assert!(find(ran.seen(), Kind::Getenv, "LD_PRELOAD").is_none());
}
