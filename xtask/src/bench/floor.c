/* The floor: the least a compiler wrapper can do on a warm build, to measure caches against. Not a cache: it never looks
 * at an input. The first run of a command line records its streams and outputs; later runs link the outputs and replay
 * the streams. Command lines are told apart by their arguments, in which everything up to "/target/" does not count.
 *
 *   FLOOR_DIR=DIR RUSTC_WRAPPER=./floor CARGO_INCREMENTAL=0 cargo build      (twice)
 *
 * FLOOR_COPY=1: what is no library and no build script is copied, so that it may be written to: the least on a file system
 * without reflinks.
 *
 * A build script is replaced by this program (the real one stays beside it as NAME.real), so its runs are replayed too:
 * its OUT_DIR is linked, its stdout is written with the recorded OUT_DIR replaced by the current one. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what) {
    perror(what);
    exit(101);
}

static char *text(const char *format, ...) {
    char *out;
    va_list args;
    va_start(args, format);
    if (vasprintf(&out, format, args) < 0) die("memory");
    va_end(args);
    return out;
}

static int starts(const char *s, const char *with) { return strncmp(s, with, strlen(with)) == 0; }

/* Everything up to the target directory differs between checkouts. */
static const char *local(const char *arg) {
    const char *at = strstr(arg, "/target/");
    return at ? at : arg;
}

static uint64_t hash(uint64_t h, const char *s) {
    for (; *s; s++) h = (h ^ (unsigned char)*s) * 1099511628211u;
    return (h ^ 0xff) * 1099511628211u;
}

static char *whole(const char *path, size_t *size) {
    struct stat st;
    int f = open(path, O_RDONLY | O_CLOEXEC);
    if (f < 0 || fstat(f, &st)) die(path);
    char *bytes = malloc(st.st_size + 1);
    ssize_t got = 0, n;
    while (got < st.st_size && (n = read(f, bytes + got, st.st_size - got)) > 0) got += n;
    bytes[got] = 0;
    close(f);
    *size = got;
    return bytes;
}

static void put(int fd, const char *bytes, size_t size) {
    while (size) {
        ssize_t n = write(fd, bytes, size);
        if (n <= 0) return;
        bytes += n;
        size -= n;
    }
}

static void replay(const char *path, int fd) {
    size_t size;
    char *bytes = whole(path, &size);
    put(fd, bytes, size);
}

static int ends(const char *s, const char *with) {
    size_t n = strlen(s), m = strlen(with);
    return n >= m && !strcmp(s + n - m, with);
}

static void copy(const char *from, const char *to) {
    struct stat st;
    int in = open(from, O_RDONLY | O_CLOEXEC), out;
    if (in < 0 || fstat(in, &st) || (out = open(to, O_CREAT | O_WRONLY | O_CLOEXEC, st.st_mode & 0777)) < 0) die(to);
    for (ssize_t n; st.st_size > 0; st.st_size -= n)
        if ((n = copy_file_range(in, NULL, out, NULL, st.st_size, 0)) <= 0) die(to);
    close(in);
    close(out);
}

static void place(const char *from, const char *to) {
    unlink(to);
    int shared = ends(to, ".rlib") || ends(to, ".rmeta") || strstr(to, "/build_script_");
    if (getenv("FLOOR_COPY") && !shared) copy(from, to);
    else if (link(from, to)) die(to);
    utimensat(AT_FDCWD, to, NULL, 0);
}

static void place_tree(const char *from, const char *to) {
    mkdir(to, 0777);
    DIR *dir = opendir(from);
    if (!dir) die(from);
    for (struct dirent *e; (e = readdir(dir));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        char *a = text("%s/%s", from, e->d_name), *b = text("%s/%s", to, e->d_name);
        if (e->d_type == DT_DIR) place_tree(a, b);
        else if (link(a, b)) { /* a leftover of the same run */ }
    }
    closedir(dir);
}

/* Runs the tool with its streams recorded, then shows them; the tool's own exit code. */
static int record(char **argv, const char *out, const char *err) {
    pid_t pid = fork();
    if (!pid) {
        dup2(open(out, O_CREAT | O_WRONLY | O_TRUNC, 0666), 1);
        dup2(open(err, O_CREAT | O_WRONLY | O_TRUNC, 0666), 2);
        execvp(argv[0], argv);
        _exit(127);
    }
    int status;
    waitpid(pid, &status, 0);
    replay(out, 1);
    replay(err, 2);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int build_script(const char *store, char **argv) {
    const char *out_dir = getenv("OUT_DIR");
    char *dir = strdup(argv[0]), *slash = strrchr(dir, '/'), *real = NULL;
    if (!out_dir || !slash) die("not called by cargo");
    *slash = 0;
    char *key = text("%s/run-%016lx", store, (unsigned long)hash(14695981039346656037u, local(out_dir)));
    char *out = text("%s/out", key), *err = text("%s/err", key), *tree = text("%s/tree", key), *origin = text("%s/origin", key);
    if (!access(origin, F_OK)) {
        size_t size, length;
        char *old = whole(origin, &length), *said = whole(out, &size), *at;
        place_tree(tree, out_dir);
        while ((at = strstr(said, old))) {
            put(1, said, at - said);
            put(1, out_dir, strlen(out_dir));
            said = at + length;
        }
        put(1, said, strlen(said));
        replay(err, 2);
        return 0;
    }
    DIR *d = opendir(dir);
    if (!d) die(dir);
    for (struct dirent *e; (e = readdir(d));) {
        size_t n = strlen(e->d_name);
        if (n > 5 && !strcmp(e->d_name + n - 5, ".real")) real = text("%s/%s", dir, e->d_name);
    }
    if (!real) die("no recorded build script");
    mkdir(key, 0777);
    argv[0] = real;
    int code = record(argv, out, err);
    if (code) return code;
    place_tree(out_dir, tree);
    FILE *f = fopen(origin, "w");
    if (!f || fputs(out_dir, f) < 0 || fclose(f)) die(origin);
    return 0;
}

/* Puts this program where a build script was compiled to. */
static void stand_in(const char *path) {
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0) die("/proc/self/exe");
    self[n] = 0;
    char *real = text("%s.real", path);
    unlink(real); /* renaming one link of a file onto another does nothing */
    if (rename(path, real) || link(self, path)) die(path);
}

int main(int argc, char **argv) {
    const char *store = getenv("FLOOR_DIR"), *name = NULL, *extra = "", *out_dir = NULL;
    if (!store || argc < 1) die("FLOOR_DIR");
    const char *me = strrchr(argv[0], '/');
    if (me && starts(me + 1, "build-script-")) return build_script(store, argv);

    uint64_t h = 14695981039346656037u;
    int piped = 0, asks = 0;
    for (int i = 1; i < argc; i++) {
        piped |= !strcmp(argv[i], "-");
        asks |= starts(argv[i], "--print");
        h = hash(h, local(argv[i]));
        if (!strcmp(argv[i], "--crate-name") && i + 1 < argc) name = argv[i + 1];
        if (!strcmp(argv[i], "--out-dir") && i + 1 < argc) out_dir = argv[i + 1];
        if (starts(argv[i], "extra-filename=")) extra = argv[i] + strlen("extra-filename=");
    }
    /* What a build script tries, its source from a pipe: the next one may be another. */
    if (piped && !asks && execvp(argv[1], argv + 1)) die(argv[1]);
    char *key = text("%s/%016lx", store, (unsigned long)h), *done = text("%s/done", key);
    char *out = text("%s/out", key), *err = text("%s/err", key);
    int compiles = name && out_dir, script = compiles && starts(name, "build_script_");
    char *main_output = compiles ? text("%s/%s%s", out_dir, name, extra) : NULL;

    if (!access(done, F_OK)) {
        DIR *dir = opendir(key);
        if (!dir) die(key);
        if (out_dir) mkdir(out_dir, 0777);
        for (struct dirent *e; (e = readdir(dir));)
            if (starts(e->d_name, "f.")) place(text("%s/%s", key, e->d_name), text("%s/%s", out_dir, e->d_name + 2));
        replay(err, 2);
        replay(out, 1);
        if (script) stand_in(main_output);
        return 0;
    }
    mkdir(key, 0777);
    int code = record(argv + 1, out, err);
    if (code) return code;
    if (compiles) {
        char *stem = text("%s%s", name, extra), *lib = text("lib%s.", stem);
        DIR *dir = opendir(out_dir);
        if (!dir) die(out_dir);
        for (struct dirent *e; (e = readdir(dir));) {
            char after = starts(e->d_name, stem) ? e->d_name[strlen(stem)] : 'x';
            if (after == 0 || after == '.' || starts(e->d_name, lib))
                if (link(text("%s/%s", out_dir, e->d_name), text("%s/f.%s", key, e->d_name))) { /* recorded twice */ }
        }
        if (script) stand_in(main_output);
    }
    close(open(done, O_CREAT | O_WRONLY, 0666));
    return 0;
}
