/* The observer: preloaded into a tool and all it starts, it writes what they read into a shared trace.
 *
 * It knows nothing of caches. Format and meaning of the trace are specified in trace.rs; the two change together.
 *
 * What every line here must respect:
 *  - The host decides nothing of ours: it may close any descriptor, clear its environment, fork, vfork, block signals.
 *    So the only state is a shared mapping and static buffers, filled once.
 *  - Everything may run in a vfork child or a signal handler: no malloc, no locks, no stdio (popen and system excepted).
 *  - errno after a call is the call's. All our own work uses raw system calls, which leave errno alone.
 *  - Without a trace every wrapper forwards and nothing else. */

#define _GNU_SOURCE
#undef _FORTIFY_SOURCE
#include <features.h>
/* Callers pass NULL to all of these, and get EFAULT: our checks for it must not be optimized away. */
#undef __nonnull
#define __nonnull(params)
#include <alloca.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <fts.h>
#include <glob.h>
#include <limits.h>
#include <link.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

#ifndef __GLIBC__
#error "the observer interposes glibc's names"
#endif
_Static_assert(sizeof(long) == 8, "the 64-bit twins of the file calls are taken to have the plain ones' types");

#define EXPORT __attribute__((visibility("default")))
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define relaxed(p) __atomic_load_n(p, __ATOMIC_RELAXED)

/* ---- the trace, as trace.rs describes it ---- */

enum {
    START = 1, LOADED, OPEN, ABSENT, FAILED, STAT, LSTAT, LIST, READLINK, RESOLVE, MKDIR, RENAME, UNLINK, LINK, SYMLINK,
    META, GETENV, EXEC, EXECFAIL, SEARCHPATH, SPAWN, CLOCK, NET, FORK, WHERE,
    NATIVE, MACHINE,
};
enum { READ = 1, WRITE = 2, CREATE = 4, TRUNCATE = 8, EXCL = 16, EXISTED = 32, DIRECTORY = 64 }; /* flags of OPEN */
enum { RENDERED = 1 }; /* flag of CLOCK */
enum { UNSET = 1 };      /* flags of GETENV */
enum { OTHER_PATH = 1 }; /* flags of EXEC, EXECFAIL, SPAWN */
enum { OVERFLOW = 1, LOST = 2 }; /* flags of the trace */

struct trace {
    uint32_t magic, version;
    uint64_t capacity, len;
    uint32_t flags, pad;
    uint64_t path_hash; /* of the PATH the first program started with */
    uint8_t reserved[24];
};
struct record {
    uint32_t size;
    uint8_t kind, flags;
    uint16_t err;
    int32_t pid, arg;
    char text[];
};
_Static_assert(sizeof(struct trace) == 64 && offsetof(struct record, text) == 16, "trace.rs reads these");
enum { MAGIC = 0x3152544b, VERSION = 1 };

/* ---- raw system calls ---- */

#if defined(__x86_64__)
static long raw6(long n, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    __asm__ volatile("syscall" : "+a"(n) : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return n;
}
#define BASE_VERSION "GLIBC_2.2.5"
#elif defined(__aarch64__)
static long raw6(long n, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
#define BASE_VERSION "GLIBC_2.17"
#else
#error "the observer is written for x86_64 and aarch64"
#endif
#define RAW_(n, a, b, c, d, e, f, ...) raw6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define RAW(n, ...) RAW_(n, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

static long errno_of(long r)
{
    if (r < 0 && r > -4096) {
        errno = -r;
        return -1;
    }
    return r;
}

/* ---- the real functions ---- */

static long absent_function(void)
{
    errno = ENOSYS;
    return -1;
}

static __attribute__((noinline, cold)) void *find(const char *name)
{
    void *f = dlsym(RTLD_NEXT, name);
    if (!f) /* kept by newer libcs for old programs only */
        f = dlvsym(RTLD_NEXT, name, BASE_VERSION);
    return f ? f : (void *)absent_function;
}

#define REAL(name)                                             \
    ({                                                         \
        static __typeof__(&name) cached_;                      \
        __typeof__(&name) f_ = relaxed(&cached_);              \
        if (UNLIKELY(!f_)) {                                   \
            f_ = (__typeof__(&name))find(#name);               \
            __atomic_store_n(&cached_, f_, __ATOMIC_RELAXED);  \
        }                                                      \
        f_;                                                    \
    })

/* ---- state: filled once, before the program's own code runs ---- */

extern char **environ;

static int state; /* 0 untouched, 1 being set up, 2 inert, 3 observing */
static struct trace *trace;
static int origin; /* the process that started this program */
static int home; /* the one these statics belong to, a fork of it perhaps; a vfork child sees its parent's */
static bool i_am_driver;

static char self_path[PATH_MAX];
static char env_trace[128]; /* KACHE_TRACE=… */
static char env_map[16384]; /* KACHE_MAP=… */
enum { MAX_MAPS = 16 };
static char map_text[16384 + 32 * MAX_MAPS];
static const char *map_flags[MAX_MAPS];
static int maps;

static void set_up(void);

static inline bool observing(void)
{
    int s = __atomic_load_n(&state, __ATOMIC_ACQUIRE);
    if (UNLIKELY(s == 0)) {
        set_up();
        s = __atomic_load_n(&state, __ATOMIC_ACQUIRE);
    }
    return s == 3;
}

static int my_pid(void) { return (int)RAW(SYS_getpid); }

static void mark(uint32_t flag) { __atomic_fetch_or(&trace->flags, flag, __ATOMIC_RELAXED); }

/* ---- writing records ---- */

static void append(int pid, int kind, int flags, int err, int arg, const char *a, size_t al, const char *b, size_t bl)
{
    size_t size = (offsetof(struct record, text) + al + bl + 2 + 7) & ~(size_t)7;
    uint64_t at = __atomic_fetch_add(&trace->len, size, __ATOMIC_RELAXED);
    if (at > trace->capacity || size > trace->capacity - at) {
        mark(OVERFLOW);
        return;
    }
    struct record *r = (struct record *)((char *)trace + at);
    r->kind = kind;
    r->flags = flags;
    r->err = err;
    r->pid = pid;
    r->arg = arg;
    memcpy(r->text, a, al);
    memcpy(r->text + al + 1, b, bl); /* the mapping is zero: the NULs are there */
    __atomic_store_n(&r->size, (uint32_t)size, __ATOMIC_RELEASE);
}

static void emit(int kind, int flags, int err, int arg, const char *a, const char *b)
{
    int pid = my_pid();
    if (UNLIKELY(pid != home)) /* a vfork child, or one made without libc's fork */
        append(pid, FORK, 0, 0, home, "", 0, "", 0);
    append(pid, kind, flags, err, arg, a, strlen(a), b, strlen(b));
}

static uint64_t hash(uint64_t h, const char *s)
{
    size_t n = strlen(s);
    for (; n >= 8; s += 8, n -= 8) {
        uint64_t word;
        memcpy(&word, s, 8);
        h = (h ^ word) * 0xd6e8feb86659fd93u;
        h ^= h >> 32;
    }
    uint64_t rest = (uint64_t)(n + 1) << 56; /* at most seven bytes: the eighth says how many */
    memcpy(&rest, s, n);
    h = (h ^ rest) * 0xd6e8feb86659fd93u;
    return h ^ (h >> 32);
}

static uint64_t finish(uint64_t h)
{
    h = (h ^ (h >> 32)) * 0xd6e8feb86659fd93u;
    h = (h ^ (h >> 32)) * 0xd6e8feb86659fd93u;
    return h ^ (h >> 32);
}

/* What this process has reported. It only drops repetitions: a full set records more, never less. */
enum { SEEN = 8192, SEEN_FIRST = 2048, PROBES = 8 };
static uint64_t seen[SEEN];

static bool first_time(uint64_t h)
{
    h |= 1;
    /* Most processes have little to tell: the beginning is filled first, because fresh memory is slow. */
    for (int i = 0; i < 2 * PROBES; i++) {
        size_t room = i < PROBES ? SEEN_FIRST : SEEN;
        uint64_t *slot = &seen[((h >> 8) + i % PROBES) & (room - 1)], found = relaxed(slot);
        if (found == h)
            return false;
        if (found == 0 && __atomic_compare_exchange_n(slot, &found, h, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            return true;
        if (found == h)
            return false;
    }
    return true;
}

static bool repeats(int kind, int flags)
{
    switch (kind) {
    case OPEN: return !(flags & (WRITE | CREATE | TRUNCATE | EXCL));
    case LOADED: case ABSENT: case FAILED: case STAT: case LSTAT: case LIST: case READLINK: case RESOLVE: case NET: return true;
    default: return false;
    }
}

static void put(int kind, int flags, int err, int arg, const char *a, const char *b)
{
    if (repeats(kind, flags)) {
        uint64_t h = 0xcbf29ce484222325u ^ (kind | flags << 8 | (uint64_t)err << 16 | (uint64_t)(uint32_t)arg << 32);
        if (!first_time(finish(hash(hash(h, a), b))))
            return;
    }
    emit(kind, flags, err, arg, a, b);
}

/* ---- paths ---- */

/* The absolute form of a path, without "." and repeated slashes; ".." stays, only the kernel can resolve it.
 * `out` holds PATH_MAX bytes. False when there is no such form. */
static bool absolute(int dirfd, const char *path, char *out)
{
    size_t n = 0;
    if (path[0] != '/') {
        long r;
        if (dirfd == AT_FDCWD) {
            r = RAW(SYS_getcwd, out, PATH_MAX);
            n = r > 0 ? r - 1 : 0;
        } else {
            char link[40] = "/proc/self/fd/", digits[12];
            int d = 0, at = 14;
            for (unsigned v = dirfd; d == 0 || v; v /= 10)
                digits[d++] = '0' + v % 10;
            while (d)
                link[at++] = digits[--d];
            link[at] = 0;
            r = RAW(SYS_readlinkat, AT_FDCWD, link, out, PATH_MAX - 1);
            n = r > 0 ? r : 0;
        }
        if (n == 0 || out[0] != '/' || n >= PATH_MAX - 1) {
            mark(LOST);
            return false;
        }
        if (n == 1)
            n = 0;
    }
    for (const char *p = path; *p;) {
        size_t len = strcspn(p, "/");
        if (len && !(len == 1 && *p == '.')) {
            if (n + 1 + len >= PATH_MAX) {
                mark(LOST);
                return false;
            }
            out[n++] = '/';
            memcpy(out + n, p, len);
            n += len;
        }
        p += len;
        while (*p == '/')
            p++;
    }
    if (n == 0)
        out[n++] = '/';
    out[n] = 0;
    return true;
}

static bool there(int dirfd, const char *path)
{
    long r = RAW(SYS_faccessat, dirfd, path, F_OK);
    return r != -ENOENT && r != -ENOTDIR;
}

/* `ino`: its inode number, or NULL. */
static unsigned type_of(int dirfd, const char *path, int flags, uint64_t *ino)
{
    struct statx s;
    if (RAW(SYS_statx, dirfd, path, flags, STATX_TYPE | STATX_INO, &s) != 0)
        return 0;
    if (ino)
        *ino = s.stx_ino;
    return s.stx_mode & S_IFMT;
}

/* Errors that say something of the program and nothing of the path. */
static bool says_nothing(int err)
{
    switch (err) {
    case 0: case EBADF: case EFAULT: case EINTR: case EMFILE: case ENFILE: case ENOMEM: case ENOSYS: case EINVAL:
    case EAGAIN: case ERANGE: case EOPNOTSUPP: return true;
    default: return false;
    }
}

/* A pointer the kernel would refuse with EFAULT must not become a crash of ours. */
static bool unreadable(const char *path) { return !path || RAW(SYS_faccessat, AT_FDCWD, path, F_OK) == -EFAULT; }

static void flush_loads(void);
static int loads_pending;

static void note_failure(int dirfd, const char *path)
{
    int err = errno;
    char buf[PATH_MAX];
    if (err == ENAMETOOLONG || says_nothing(err) || !absolute(dirfd, path, buf))
        return;
    if (err == ENOENT || (err == ENOTDIR && !there(dirfd, path))) /* not that it is there, and no directory */
        put(ABSENT, 0, 0, 0, buf, "");
    else
        put(FAILED, 0, err, 0, buf, "");
}

/* `arg`: what a record of this kind says with it. */
static __attribute__((noinline)) void tell(bool ok, int kind, int flags, int arg, int dirfd, const char *path)
{
    if (!observing() || !path || (!ok && errno == EFAULT) || !*path)
        return;
    if (UNLIKELY(relaxed(&loads_pending)))
        flush_loads();
    char buf[PATH_MAX];
    if (!ok)
        note_failure(dirfd, path);
    else if (absolute(dirfd, path, buf))
        put(kind, flags, 0, arg, buf, "");
}

static void note(bool ok, int kind, int flags, int dirfd, const char *path)
{
    tell(ok, kind, flags, 0, dirfd, path);
}

static void note_fd(bool ok, int kind, int fd)
{
    char buf[PATH_MAX];
    if (ok && observing() && absolute(fd, "", buf))
        put(kind, 0, 0, 0, buf, "");
}

/* Two paths at once: rename and link. Of a failure only the path that is missing is told. */
static __attribute__((noinline)) void note_pair(bool ok, int kind, int fd1, const char *p1, int fd2, const char *p2)
{
    if (!observing() || !p1 || !p2 || (!ok && errno == EFAULT) || !*p1 || !*p2)
        return;
    char a[PATH_MAX], b[PATH_MAX];
    if (!ok && errno == ENOENT && type_of(fd1, p1, AT_SYMLINK_NOFOLLOW, NULL) == 0)
        note_failure(fd1, p1);
    else if (!ok)
        note_failure(fd2, p2);
    else if (absolute(fd1, p1, a) && absolute(fd2, p2, b))
        put(kind, 0, 0, 0, a, b);
}

/* A path and what the system answered. */
static __attribute__((noinline)) void note_answer(int kind, int dirfd, const char *path, const char *answer, size_t len)
{
    char a[PATH_MAX], b[PATH_MAX];
    if (!observing() || !*path || !absolute(dirfd, path, a))
        return;
    if (len >= PATH_MAX) {
        mark(LOST);
        return;
    }
    memcpy(b, answer, len);
    b[len] = 0;
    put(kind, 0, 0, 0, a, b);
}

/* ---- opens ---- */

static int existed_before(int dirfd, const char *path, int oflags)
{
    if (!(oflags & O_CREAT))
        return (oflags & O_ACCMODE) != O_RDONLY ? EXISTED : 0;
    return observing() && path && there(dirfd, path) ? EXISTED : 0;
}

static void note_open(int fd, int dirfd, const char *path, int oflags, int existed)
{
    if (!observing())
        return;
    if (fd >= 0 && (oflags & O_PATH)) {
        note(true, oflags & O_NOFOLLOW ? LSTAT : STAT, 0, dirfd, path);
        return;
    }
    if (fd >= 0 && (oflags & O_TMPFILE) == O_TMPFILE)
        return; /* a file without a name */
    int flags = existed;
    switch (oflags & O_ACCMODE) {
    case O_RDONLY: flags |= READ; break;
    case O_WRONLY: flags |= WRITE; break;
    default: flags |= READ | WRITE;
    }
    flags |= (oflags & O_CREAT ? CREATE : 0) | (oflags & O_TRUNC ? TRUNCATE : 0) | (oflags & O_EXCL ? EXCL : 0);
    uint64_t ino = 0;
    if (flags == READ && fd >= 0 && type_of(fd, "", AT_EMPTY_PATH, &ino) == S_IFDIR)
        flags |= DIRECTORY;
    tell(fd >= 0, OPEN, flags, (int)ino, dirfd, path);
}

#define MODE_OF(last)                                              \
    mode_t mode = 0;                                               \
    if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) {     \
        va_list ap;                                                \
        va_start(ap, last);                                        \
        mode = va_arg(ap, mode_t);                                 \
        va_end(ap);                                                \
    }
#define OPENED(dirfd, call)                                  \
    int existed = existed_before(dirfd, path, flags);        \
    int fd = call;                                           \
    note_open(fd, dirfd, path, flags, existed);              \
    return fd;

EXPORT int open(const char *path, int flags, ...) { MODE_OF(flags) OPENED(AT_FDCWD, REAL(open)(path, flags, mode)) }
EXPORT int open64(const char *path, int flags, ...) { MODE_OF(flags) OPENED(AT_FDCWD, REAL(open64)(path, flags, mode)) }
EXPORT int openat(int dir, const char *path, int flags, ...) { MODE_OF(flags) OPENED(dir, REAL(openat)(dir, path, flags, mode)) }
EXPORT int openat64(int dir, const char *path, int flags, ...) { MODE_OF(flags) OPENED(dir, REAL(openat64)(dir, path, flags, mode)) }
EXPORT int __open_2(const char *path, int flags) { OPENED(AT_FDCWD, REAL(__open_2)(path, flags)) }
EXPORT int __open64_2(const char *path, int flags) { OPENED(AT_FDCWD, REAL(__open64_2)(path, flags)) }
EXPORT int __openat_2(int dir, const char *path, int flags) { OPENED(dir, REAL(__openat_2)(dir, path, flags)) }
EXPORT int __openat64_2(int dir, const char *path, int flags) { OPENED(dir, REAL(__openat64_2)(dir, path, flags)) }
EXPORT int creat(const char *path, mode_t mode) { int flags = O_CREAT | O_WRONLY | O_TRUNC; OPENED(AT_FDCWD, REAL(creat)(path, mode)) }
EXPORT int creat64(const char *path, mode_t mode) { int flags = O_CREAT | O_WRONLY | O_TRUNC; OPENED(AT_FDCWD, REAL(creat64)(path, mode)) }

/* The same by names libc exports besides. */
#define ALIAS(type, name, of, ...) EXPORT type name(__VA_ARGS__) __attribute__((alias(#of)));
ALIAS(int, __open, open, const char *, int, ...)
ALIAS(int, __open64, open64, const char *, int, ...)

static int stdio_flags(const char *mode)
{
    int flags = *mode == 'r' ? O_RDONLY : *mode == 'w' ? O_WRONLY | O_CREAT | O_TRUNC : O_WRONLY | O_CREAT;
    for (; *mode && *mode != ','; mode++) {
        if (*mode == '+')
            flags = (flags & ~O_ACCMODE) | O_RDWR;
        else if (*mode == 'x')
            flags |= O_EXCL;
    }
    return flags;
}

#define STREAM(call)                                                                        \
    int flags = path && mode ? stdio_flags(mode) : 0;                                       \
    int existed = path ? existed_before(AT_FDCWD, path, flags) : 0;                         \
    FILE *f = call;                                                                         \
    if (path)                                                                               \
        note_open(f ? fileno(f) : -1, AT_FDCWD, path, flags, existed);                      \
    return f;

EXPORT FILE *fopen(const char *path, const char *mode) { STREAM(REAL(fopen)(path, mode)) }
EXPORT FILE *fopen64(const char *path, const char *mode) { STREAM(REAL(fopen64)(path, mode)) }
EXPORT FILE *freopen(const char *path, const char *mode, FILE *old) { STREAM(REAL(freopen)(path, mode, old)) }
EXPORT FILE *freopen64(const char *path, const char *mode, FILE *old) { STREAM(REAL(freopen64)(path, mode, old)) }

#define TEMPORARY(name, params, args)                                                         \
    EXPORT int name params                                                                    \
    {                                                                                         \
        int fd = REAL(name) args;                                                             \
        note(fd >= 0, OPEN, READ | WRITE | CREATE | EXCL, AT_FDCWD, path);                    \
        return fd;                                                                            \
    }
TEMPORARY(mkstemp, (char *path), (path))
TEMPORARY(mkstemp64, (char *path), (path))
TEMPORARY(mkostemp, (char *path, int flags), (path, flags))
TEMPORARY(mkostemp64, (char *path, int flags), (path, flags))
TEMPORARY(mkstemps, (char *path, int suffix), (path, suffix))
TEMPORARY(mkstemps64, (char *path, int suffix), (path, suffix))
TEMPORARY(mkostemps, (char *path, int suffix, int flags), (path, suffix, flags))
TEMPORARY(mkostemps64, (char *path, int suffix, int flags), (path, suffix, flags))
EXPORT char *mkdtemp(char *path)
{
    char *r = REAL(mkdtemp)(path);
    note(r != NULL, MKDIR, 0, AT_FDCWD, path);
    return r;
}

/* ---- looking ---- */

#define LOOK(kind, dirfd, path, call) \
    int r_ = call;                    \
    note(r_ == 0, kind, 0, dirfd, path); \
    return r_;
#define BY_FLAG(flags) ((flags) & AT_SYMLINK_NOFOLLOW ? LSTAT : STAT)

EXPORT int stat(const char *path, struct stat *s) { LOOK(STAT, AT_FDCWD, path, REAL(stat)(path, s)) }
EXPORT int stat64(const char *path, struct stat64 *s) { LOOK(STAT, AT_FDCWD, path, REAL(stat64)(path, s)) }
EXPORT int lstat(const char *path, struct stat *s) { LOOK(LSTAT, AT_FDCWD, path, REAL(lstat)(path, s)) }
EXPORT int lstat64(const char *path, struct stat64 *s) { LOOK(LSTAT, AT_FDCWD, path, REAL(lstat64)(path, s)) }
EXPORT int fstatat(int dir, const char *path, struct stat *s, int f) { LOOK(BY_FLAG(f), dir, path, REAL(fstatat)(dir, path, s, f)) }
EXPORT int fstatat64(int dir, const char *path, struct stat64 *s, int f) { LOOK(BY_FLAG(f), dir, path, REAL(fstatat64)(dir, path, s, f)) }
EXPORT int statx(int dir, const char *path, int f, unsigned mask, struct statx *s) { LOOK(BY_FLAG(f), dir, path, REAL(statx)(dir, path, f, mask, s)) }
/* What stat was called before glibc 2.33. */
EXPORT int __xstat(int v, const char *path, struct stat *s) { LOOK(STAT, AT_FDCWD, path, REAL(__xstat)(v, path, s)) }
EXPORT int __xstat64(int v, const char *path, struct stat64 *s) { LOOK(STAT, AT_FDCWD, path, REAL(__xstat64)(v, path, s)) }
EXPORT int __lxstat(int v, const char *path, struct stat *s) { LOOK(LSTAT, AT_FDCWD, path, REAL(__lxstat)(v, path, s)) }
EXPORT int __lxstat64(int v, const char *path, struct stat64 *s) { LOOK(LSTAT, AT_FDCWD, path, REAL(__lxstat64)(v, path, s)) }
EXPORT int __fxstatat(int v, int dir, const char *path, struct stat *s, int f) { LOOK(BY_FLAG(f), dir, path, REAL(__fxstatat)(v, dir, path, s, f)) }
EXPORT int __fxstatat64(int v, int dir, const char *path, struct stat64 *s, int f) { LOOK(BY_FLAG(f), dir, path, REAL(__fxstatat64)(v, dir, path, s, f)) }
EXPORT int statfs(const char *path, struct statfs *s) { LOOK(STAT, AT_FDCWD, path, REAL(statfs)(path, s)) }
EXPORT int statfs64(const char *path, struct statfs64 *s) { LOOK(STAT, AT_FDCWD, path, REAL(statfs64)(path, s)) }
EXPORT int statvfs(const char *path, struct statvfs *s) { LOOK(STAT, AT_FDCWD, path, REAL(statvfs)(path, s)) }
EXPORT int statvfs64(const char *path, struct statvfs64 *s) { LOOK(STAT, AT_FDCWD, path, REAL(statvfs64)(path, s)) }
EXPORT int access(const char *path, int mode) { LOOK(STAT, AT_FDCWD, path, REAL(access)(path, mode)) }
EXPORT int euidaccess(const char *path, int mode) { LOOK(STAT, AT_FDCWD, path, REAL(euidaccess)(path, mode)) }
EXPORT int eaccess(const char *path, int mode) { LOOK(STAT, AT_FDCWD, path, REAL(eaccess)(path, mode)) }
EXPORT int faccessat(int dir, const char *path, int mode, int f) { LOOK(BY_FLAG(f), dir, path, REAL(faccessat)(dir, path, mode, f)) }
/* The new directory is not in itself an input; that it is there, or not, is. */
EXPORT int chdir(const char *path)
{
    char before[PATH_MAX];
    bool known = observing() && !unreadable(path) && *path && absolute(AT_FDCWD, path, before);
    int r = REAL(chdir)(path);
    if (known)
        note(r == 0, STAT, 0, AT_FDCWD, before);
    return r;
}

static void note_readlink(ssize_t r, int dirfd, const char *path, const char *buf, size_t size)
{
    if (!observing() || !path || (r < 0 && errno == EFAULT) || !*path)
        return;
    if (r < 0 && errno == EINVAL) /* it is there and no link */
        note(true, LSTAT, 0, dirfd, path);
    else if (r < 0)
        note(false, READLINK, 0, dirfd, path);
    else if ((size_t)r == size) /* cut off: the caller will ask again, or make do with a part we cannot name */
        note(true, LSTAT, 0, dirfd, path);
    else
        note_answer(READLINK, dirfd, path, buf, r);
}

EXPORT ssize_t readlink(const char *restrict path, char *restrict buf, size_t size)
{
    ssize_t r = REAL(readlink)(path, buf, size);
    note_readlink(r, AT_FDCWD, path, buf, size);
    return r;
}
EXPORT ssize_t readlinkat(int dir, const char *restrict path, char *restrict buf, size_t size)
{
    ssize_t r = REAL(readlinkat)(dir, path, buf, size);
    note_readlink(r, dir, path, buf, size);
    return r;
}
ssize_t __readlink_chk(const char *, char *, size_t, size_t);
EXPORT ssize_t __readlink_chk(const char *path, char *buf, size_t size, size_t room)
{
    ssize_t r = REAL(__readlink_chk)(path, buf, size, room);
    note_readlink(r, AT_FDCWD, path, buf, size);
    return r;
}
ssize_t __readlinkat_chk(int, const char *, char *, size_t, size_t);
EXPORT ssize_t __readlinkat_chk(int dir, const char *path, char *buf, size_t size, size_t room)
{
    ssize_t r = REAL(__readlinkat_chk)(dir, path, buf, size, room);
    note_readlink(r, dir, path, buf, size);
    return r;
}

/* The object whose code called: found without the loader's lock, where libc can (since 2.35). */
static const char *object_of(const void *caller)
{
#ifdef DLFO_STRUCT_HAS_EH_DBASE
    struct dl_find_object found;
    if (!_dl_find_object((void *)caller, &found) && found.dlfo_link_map && found.dlfo_link_map->l_name)
        return found.dlfo_link_map->l_name;
    return "";
#else
    Dl_info info;
    return dladdr(caller, &info) && info.dli_fname ? info.dli_fname : "";
#endif
}

/* Where the process is reaches results as data when a program's own code asks: by whose code is told once per object. */
static void note_asker(int kind, const void *caller)
{
    if (!observing())
        return;
    int e = errno;
    const char *object = object_of(caller);
    if (first_time(finish(hash(0x5851f42d4c957f2du ^ kind, object))))
        emit(kind, 0, 0, 0, object, "");
    errno = e;
}

#define RESOLVED(call)                                                    \
    note_asker(WHERE, __builtin_return_address(0));                       \
    char *r = call;                                                       \
    if (r && path)                                                        \
        note_answer(RESOLVE, AT_FDCWD, path, r, strlen(r));               \
    else                                                                  \
        note(false, RESOLVE, 0, AT_FDCWD, path);                          \
    return r;
EXPORT char *realpath(const char *restrict path, char *restrict out) { RESOLVED(REAL(realpath)(path, out)) }
char *__realpath_chk(const char *, char *, size_t);
EXPORT char *__realpath_chk(const char *path, char *out, size_t room) { RESOLVED(REAL(__realpath_chk)(path, out, room)) }
EXPORT char *canonicalize_file_name(const char *path) { RESOLVED(REAL(canonicalize_file_name)(path)) }

EXPORT char *getcwd(char *out, size_t room)
{
    note_asker(WHERE, __builtin_return_address(0));
    return REAL(getcwd)(out, room);
}
char *__getcwd_chk(char *, size_t, size_t);
EXPORT char *__getcwd_chk(char *out, size_t room, size_t size)
{
    note_asker(WHERE, __builtin_return_address(0));
    return REAL(__getcwd_chk)(out, room, size);
}
EXPORT char *get_current_dir_name(void)
{
    note_asker(WHERE, __builtin_return_address(0));
    return REAL(get_current_dir_name)();
}

/* What the machine is called and which kernel it runs. */
EXPORT int uname(struct utsname *out)
{
    note_asker(MACHINE, __builtin_return_address(0));
    return REAL(uname)(out);
}
EXPORT int gethostname(char *out, size_t room)
{
    note_asker(MACHINE, __builtin_return_address(0));
    return REAL(gethostname)(out, room);
}
int __gethostname_chk(char *, size_t, size_t);
EXPORT int __gethostname_chk(char *out, size_t room, size_t size)
{
    note_asker(MACHINE, __builtin_return_address(0));
    return REAL(__gethostname_chk)(out, room, size);
}

/* ---- listings ---- */

EXPORT DIR *opendir(const char *path)
{
    DIR *d = REAL(opendir)(path);
    note(d != NULL, LIST, 0, AT_FDCWD, path);
    return d;
}
EXPORT DIR *fdopendir(int fd)
{
    DIR *d = REAL(fdopendir)(fd);
    note_fd(d != NULL, LIST, fd);
    return d;
}

#define LISTED(dirfd, call)                    \
    int n = call;                              \
    note(n >= 0, LIST, 0, dirfd, path);        \
    return n;
typedef int select_fn(const struct dirent *);
typedef int compare_fn(const struct dirent **, const struct dirent **);
typedef int select64_fn(const struct dirent64 *);
typedef int compare64_fn(const struct dirent64 **, const struct dirent64 **);
EXPORT int scandir(const char *restrict path, struct dirent ***restrict out, select_fn *s, compare_fn *c) { LISTED(AT_FDCWD, REAL(scandir)(path, out, s, c)) }
EXPORT int scandir64(const char *restrict path, struct dirent64 ***restrict out, select64_fn *s, compare64_fn *c) { LISTED(AT_FDCWD, REAL(scandir64)(path, out, s, c)) }
EXPORT int scandirat(int dir, const char *restrict path, struct dirent ***restrict out, select_fn *s, compare_fn *c) { LISTED(dir, REAL(scandirat)(dir, path, out, s, c)) }
EXPORT int scandirat64(int dir, const char *restrict path, struct dirent64 ***restrict out, select64_fn *s, compare64_fn *c) { LISTED(dir, REAL(scandirat64)(dir, path, out, s, c)) }

/* glob reads directories by names libc hides, but takes other functions for it: ours. */
static void *glob_opendir(const char *path) { return opendir(path); }
static void glob_closedir(void *d) { closedir(d); }
static struct dirent *glob_readdir(void *d) { return readdir(d); }
static struct dirent64 *glob_readdir64(void *d) { return readdir64(d); }
#define GLOBBED(name, type, reader, st)                                                                 \
    EXPORT int name(const char *restrict pattern, int flags, int (*fail)(const char *, int), type *restrict g) \
    {                                                                                                   \
        if (!observing() || flags & GLOB_ALTDIRFUNC)                                                    \
            return REAL(name)(pattern, flags, fail, g);                                                 \
        g->gl_opendir = glob_opendir;                                                                   \
        g->gl_closedir = glob_closedir;                                                                 \
        g->gl_readdir = (__typeof__(g->gl_readdir))reader;                                              \
        g->gl_stat = st;                                                                                \
        g->gl_lstat = l##st;                                                                            \
        int r = REAL(name)(pattern, flags | GLOB_ALTDIRFUNC, fail, g);                                  \
        g->gl_flags &= ~GLOB_ALTDIRFUNC;                                                                \
        return r;                                                                                       \
    }
GLOBBED(glob, glob_t, glob_readdir, stat)
GLOBBED(glob64, glob64_t, glob_readdir64, stat64)

/* fts and nftw list and look by hidden names; what they hand out tells what they saw. */
static void note_entry(FTSENT *e)
{
    if (!e || !observing())
        return;
    switch (e->fts_info) {
    case FTS_D: note(true, LIST, 0, AT_FDCWD, e->fts_accpath); break;
    case FTS_DP: case FTS_DOT: return;
    case FTS_NS: case FTS_DNR: case FTS_ERR: errno = e->fts_errno; note(false, LIST, 0, AT_FDCWD, e->fts_accpath); return;
    case FTS_SL: case FTS_SLNONE: note(true, LSTAT, 0, AT_FDCWD, e->fts_accpath); return;
    }
    note(true, STAT, 0, AT_FDCWD, e->fts_accpath);
}
EXPORT FTSENT *fts_read(FTS *f)
{
    FTSENT *e = REAL(fts_read)(f);
    int saved = errno;
    note_entry(e);
    errno = saved;
    return e;
}
EXPORT FTSENT *fts_children(FTS *f, int options)
{
    FTSENT *e = REAL(fts_children)(f, options);
    if (e && observing() && e->fts_parent && e->fts_level > 0)
        note(true, LIST, 0, AT_FDCWD, e->fts_parent->fts_accpath);
    return e;
}
EXPORT FTSENT64 *fts64_read(FTS64 *f)
{
    FTSENT64 *e = REAL(fts64_read)(f);
    int saved = errno;
    note_entry((FTSENT *)e); /* one layout where long is 64 bits wide */
    errno = saved;
    return e;
}

static __thread struct walk {
    __nftw_func_t nftw;
    __ftw_func_t ftw;
    int flags;
} walk;

static void note_walked(const char *path, int type, int base)
{
    bool changed_dir = walk.flags & FTW_CHDIR;
    const char *name = changed_dir && base ? path + base : path;
    int kind = type == FTW_SL || type == FTW_SLN || walk.flags & FTW_PHYS ? LSTAT : STAT;
    if (type == FTW_D || type == FTW_DP)
        note(true, LIST, 0, AT_FDCWD, *name ? name : ".");
    if (type != FTW_NS)
        note(true, kind, 0, AT_FDCWD, *name ? name : ".");
}
static int walked_nftw(const char *path, const struct stat *s, int type, struct FTW *w)
{
    struct walk mine = walk;
    note_walked(path, type, w->base);
    int r = mine.nftw(path, s, type, w);
    walk = mine; /* the callback may walk too */
    return r;
}
static int walked_ftw(const char *path, const struct stat *s, int type)
{
    struct walk mine = walk;
    note_walked(path, type, 0);
    int r = mine.ftw(path, s, type);
    walk = mine;
    return r;
}
#define WALKED(name, fn_type, field, params, args, walk_flags)                     \
    EXPORT int name params                                                         \
    {                                                                              \
        if (!observing())                                                          \
            return ((int(*) params)REAL(name)) args;                               \
        struct walk outer = walk;                                                  \
        walk = (struct walk){.field = (__##field##_func_t)fn, .flags = walk_flags}; \
        fn = (fn_type)walked_##field;                                              \
        int r = REAL(name) args;                                                   \
        walk = outer;                                                              \
        if (r < 0)                                                                 \
            note(false, LIST, 0, AT_FDCWD, path);                                  \
        return r;                                                                  \
    }
WALKED(nftw, __nftw_func_t, nftw, (const char *path, __nftw_func_t fn, int fds, int flags), (path, fn, fds, flags), flags)
WALKED(nftw64, __nftw64_func_t, nftw, (const char *path, __nftw64_func_t fn, int fds, int flags), (path, fn, fds, flags), flags)
WALKED(ftw, __ftw_func_t, ftw, (const char *path, __ftw_func_t fn, int fds), (path, fn, fds), 0)
WALKED(ftw64, __ftw64_func_t, ftw, (const char *path, __ftw64_func_t fn, int fds), (path, fn, fds), 0)

/* ---- changes ---- */

#define CHANGE(kind, dirfd, path, call)       \
    int r_ = call;                            \
    note(r_ == 0, kind, 0, dirfd, path);      \
    return r_;

EXPORT int mkdir(const char *path, mode_t m) { CHANGE(MKDIR, AT_FDCWD, path, REAL(mkdir)(path, m)) }
EXPORT int mkdirat(int dir, const char *path, mode_t m) { CHANGE(MKDIR, dir, path, REAL(mkdirat)(dir, path, m)) }
EXPORT int unlink(const char *path) { CHANGE(UNLINK, AT_FDCWD, path, REAL(unlink)(path)) }
EXPORT int unlinkat(int dir, const char *path, int f) { CHANGE(UNLINK, dir, path, REAL(unlinkat)(dir, path, f)) }
EXPORT int rmdir(const char *path) { CHANGE(UNLINK, AT_FDCWD, path, REAL(rmdir)(path)) }
EXPORT int remove(const char *path) { CHANGE(UNLINK, AT_FDCWD, path, REAL(remove)(path)) }

#define CHANGE2(kind, d1, p1, d2, p2, call)       \
    int r_ = call;                                \
    note_pair(r_ == 0, kind, d1, p1, d2, p2);     \
    return r_;
EXPORT int rename(const char *a, const char *b) { CHANGE2(RENAME, AT_FDCWD, a, AT_FDCWD, b, REAL(rename)(a, b)) }
EXPORT int renameat(int x, const char *a, int y, const char *b) { CHANGE2(RENAME, x, a, y, b, REAL(renameat)(x, a, y, b)) }
EXPORT int renameat2(int x, const char *a, int y, const char *b, unsigned f)
{
    int r = REAL(renameat2)(x, a, y, b, f);
    note_pair(r == 0, RENAME, x, a, y, b);
    if (f & 2 /* RENAME_EXCHANGE */)
        note_pair(r == 0, RENAME, y, b, x, a);
    return r;
}
EXPORT int link(const char *a, const char *b) { CHANGE2(LINK, AT_FDCWD, a, AT_FDCWD, b, REAL(link)(a, b)) }
EXPORT int linkat(int x, const char *a, int y, const char *b, int f) { CHANGE2(LINK, x, a, y, b, REAL(linkat)(x, a, y, b, f)) }

static void note_symlink(bool ok, const char *target, int dirfd, const char *path)
{
    char b[PATH_MAX];
    if (!observing() || !path || (!ok && errno == EFAULT) || !*path)
        return;
    if (!ok)
        note_failure(dirfd, path);
    else if (absolute(dirfd, path, b))
        put(SYMLINK, 0, 0, 0, target, b);
}
EXPORT int symlink(const char *target, const char *path)
{
    int r = REAL(symlink)(target, path);
    note_symlink(r == 0, target, AT_FDCWD, path);
    return r;
}
EXPORT int symlinkat(const char *target, int dir, const char *path)
{
    int r = REAL(symlinkat)(target, dir, path);
    note_symlink(r == 0, target, dir, path);
    return r;
}

/* They succeed only where nothing is. */
#define MAKE(dirfd, path, call)                                  \
    int r_ = call;                                               \
    note(r_ == 0, OPEN, WRITE | CREATE | EXCL, dirfd, path);     \
    return r_;
EXPORT int mkfifo(const char *path, mode_t m) { MAKE(AT_FDCWD, path, REAL(mkfifo)(path, m)) }
EXPORT int mkfifoat(int dir, const char *path, mode_t m) { MAKE(dir, path, REAL(mkfifoat)(dir, path, m)) }
EXPORT int mknod(const char *path, mode_t m, dev_t d) { MAKE(AT_FDCWD, path, REAL(mknod)(path, m, d)) }
EXPORT int mknodat(int dir, const char *path, mode_t m, dev_t d) { MAKE(dir, path, REAL(mknodat)(dir, path, m, d)) }
EXPORT int chmod(const char *path, mode_t m) { CHANGE(META, AT_FDCWD, path, REAL(chmod)(path, m)) }
EXPORT int lchmod(const char *path, mode_t m) { CHANGE(META, AT_FDCWD, path, REAL(lchmod)(path, m)) }
EXPORT int fchmodat(int dir, const char *path, mode_t m, int f) { CHANGE(META, dir, path, REAL(fchmodat)(dir, path, m, f)) }
EXPORT int chown(const char *path, uid_t u, gid_t g) { CHANGE(META, AT_FDCWD, path, REAL(chown)(path, u, g)) }
EXPORT int lchown(const char *path, uid_t u, gid_t g) { CHANGE(META, AT_FDCWD, path, REAL(lchown)(path, u, g)) }
EXPORT int fchownat(int dir, const char *path, uid_t u, gid_t g, int f) { CHANGE(META, dir, path, REAL(fchownat)(dir, path, u, g, f)) }
EXPORT int truncate(const char *path, off_t n) { CHANGE(META, AT_FDCWD, path, REAL(truncate)(path, n)) }
EXPORT int truncate64(const char *path, off64_t n) { CHANGE(META, AT_FDCWD, path, REAL(truncate64)(path, n)) }
EXPORT int utime(const char *path, const struct utimbuf *t) { CHANGE(META, AT_FDCWD, path, REAL(utime)(path, t)) }
EXPORT int utimes(const char *path, const struct timeval t[2]) { CHANGE(META, AT_FDCWD, path, REAL(utimes)(path, t)) }
EXPORT int lutimes(const char *path, const struct timeval t[2]) { CHANGE(META, AT_FDCWD, path, REAL(lutimes)(path, t)) }
EXPORT int futimesat(int dir, const char *path, const struct timeval t[2]) { CHANGE(META, dir, path, REAL(futimesat)(dir, path, t)) }
EXPORT int utimensat(int dir, const char *path, const struct timespec t[2], int f) { CHANGE(META, dir, path, REAL(utimensat)(dir, path, t, f)) }
EXPORT int setxattr(const char *path, const char *n, const void *v, size_t s, int f) { CHANGE(META, AT_FDCWD, path, REAL(setxattr)(path, n, v, s, f)) }
EXPORT int lsetxattr(const char *path, const char *n, const void *v, size_t s, int f) { CHANGE(META, AT_FDCWD, path, REAL(lsetxattr)(path, n, v, s, f)) }

/* Under another root or mount table our paths would name other files; in another pid namespace, pids other programs. */
static int elsewhere(int r)
{
    if (r >= 0 && observing())
        mark(LOST);
    return r;
}
EXPORT int chroot(const char *path) { return elsewhere(REAL(chroot)(path)); }
EXPORT int mount(const char *what, const char *path, const char *type, unsigned long f, const void *data) { return elsewhere(REAL(mount)(what, path, type, f, data)); }
EXPORT int setns(int fd, int type) { return elsewhere(REAL(setns)(fd, type)); }
EXPORT int unshare(int flags)
{
    int r = REAL(unshare)(flags);
    return flags & (CLONE_NEWNS | CLONE_NEWPID) ? elsewhere(r) : r;
}

/* ---- environment ---- */

static const char *value_in(char *const envp[], const char *name)
{
    size_t n = strlen(name);
    for (; envp && *envp; envp++)
        if (!strncmp(*envp, name, n) && (*envp)[n] == '=')
            return *envp + n + 1;
    return NULL;
}

static void note_variable(const char *name, const char *value, const void *caller)
{
    if (!observing() || !name || !*name)
        return;
    int flags = value ? 0 : UNSET;
    const char *object = object_of(caller);
    if (!first_time(finish(hash(finish(hash(0x9ae16a3b2f90404fu ^ flags, name)), object))))
        return;
    if (!strcmp(name, "LD_PRELOAD") || !strcmp(name, "KACHE_TRACE") || !strcmp(name, "KACHE_MAP"))
        return;
    emit(GETENV, flags, 0, 0, name, object);
}
#define ASKED(call)                  \
    char *v = call;                  \
    note_variable(name, v, __builtin_return_address(0)); \
    return v;
EXPORT char *getenv(const char *name) { ASKED(REAL(getenv)(name)) }
EXPORT char *secure_getenv(const char *name) { ASKED(REAL(secure_getenv)(name)) }
char *__secure_getenv(const char *);
EXPORT char *__secure_getenv(const char *name) { ASKED(REAL(secure_getenv)(name)) }

/* ---- starting programs ---- */

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* (.*-)?(cc|gcc|g++|c++|clang|clang++)(-[0-9.]+)? */
static bool is_driver(const char *path)
{
    static const char *const names[] = {"cc", "gcc", "g++", "c++", "clang", "clang++"};
    const char *base = base_of(path);
    size_t n = strlen(base), v = n;
    while (v > 0 && strchr("0123456789.", base[v - 1]))
        v--;
    if (v < n && v > 1 && base[v - 1] == '-')
        n = v - 1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t len = strlen(names[i]);
        if (n >= len && !memcmp(base + n - len, names[i], len) && (n == len || base[n - len - 1] == '-'))
            return true;
    }
    return false;
}

static bool wants_maps(const char *path, char *const argv[])
{
    if (!maps || i_am_driver || !argv || !argv[0] || !is_driver(path))
        return false;
    if (argv[1] && (!strcmp(argv[1], "-cc1") || !strcmp(argv[1], "-cc1as") || !strcmp(argv[1], map_flags[0])))
        return false;
    return true;
}

static bool holds_self(const char *preload)
{
    size_t n = strlen(self_path);
    for (const char *p = preload; p; p = strpbrk(p, ": ")) {
        p += strspn(p, ": ");
        if (!strncmp(p, self_path, n) && (p[n] == 0 || p[n] == ':' || p[n] == ' '))
            return true;
    }
    return false;
}

static bool read_at(int fd, void *out, size_t n, uint64_t at) { return RAW(SYS_pread64, fd, out, n, at) == (long)n; }

/* A program that needs the shared runtime of the address sanitizer ends at once if another library comes before it.
 * It must run, if only unobserved. */
static bool must_be_alone(const char *path)
{
    bool alone = false;
    Elf64_Ehdr head;
    Elf64_Phdr segment, dynamic = {0}, loads[8];
    Elf64_Dyn d;
    int fd = RAW(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), n_loads = 0;
    if (fd < 0)
        return false;
    if (!read_at(fd, &head, sizeof head, 0) || memcmp(head.e_ident, ELFMAG, SELFMAG) || head.e_ident[EI_CLASS] != ELFCLASS64)
        goto out;
    for (int i = 0; i < head.e_phnum && i < 64; i++) {
        if (head.e_phentsize != sizeof segment || !read_at(fd, &segment, sizeof segment, head.e_phoff + i * sizeof segment))
            goto out;
        if (segment.p_type == PT_DYNAMIC)
            dynamic = segment;
        if (segment.p_type == PT_LOAD && n_loads < 8)
            loads[n_loads++] = segment;
    }
    uint64_t names = 0, needed[32];
    int n_needed = 0;
    for (uint64_t at = 0; at + sizeof d <= dynamic.p_filesz; at += sizeof d) {
        if (!read_at(fd, &d, sizeof d, dynamic.p_offset + at) || d.d_tag == DT_NULL)
            break;
        if (d.d_tag == DT_NEEDED && n_needed < 32)
            needed[n_needed++] = d.d_un.d_val;
        for (int i = 0; d.d_tag == DT_STRTAB && i < n_loads; i++)
            if (d.d_un.d_ptr - loads[i].p_vaddr < loads[i].p_filesz)
                names = d.d_un.d_ptr - loads[i].p_vaddr + loads[i].p_offset;
    }
    for (int i = 0; names && i < n_needed && !alone; i++) {
        char name[20] = "";
        RAW(SYS_pread64, fd, name, sizeof name - 1, names + needed[i]);
        alone = !strncmp(name, "libasan.so", 10) || !strncmp(name, "libclang_rt.asan", 16);
    }
out:
    RAW(SYS_close, fd);
    return alone;
}

/* What a new program gets: its arguments with the maps, its environment with the observer. Laid out in memory of the
 * caller's, because a vfork child must not call malloc. */
struct launch {
    char *const *argv, *const *envp;
    size_t argc, envc, bytes;
    const char *old_preload;
    bool maps, preload, trace, map;
    bool alone; /* take our library out instead */
};

static void plan(struct launch *l, const char *path, char *const argv[], char *const envp[])
{
    memset(l, 0, sizeof *l);
    l->argv = argv;
    l->envp = envp;
    while (envp && envp[l->envc])
        l->envc++;
    for (; argv && argv[l->argc]; l->argc++) {
        size_t n = strlen(argv[l->argc]), of = sizeof "=native" - 1;
        if (n > of && !strcmp(argv[l->argc] + n - of, "=native"))
            emit(NATIVE, 0, 0, 0, argv[l->argc], "");
    }
    l->maps = wants_maps(path, argv);
    l->old_preload = value_in(envp, "LD_PRELOAD");
    l->alone = must_be_alone(path);
    l->preload = l->alone ? l->old_preload != NULL : !l->old_preload || !holds_self(l->old_preload);
    l->trace = !value_in(envp, "KACHE_TRACE");
    l->map = *env_map && !value_in(envp, "KACHE_MAP");
    if (l->maps)
        l->bytes += (l->argc + maps + 1) * sizeof(char *);
    if (l->preload || l->trace || l->map)
        l->bytes += (l->envc + 4) * sizeof(char *) + sizeof "LD_PRELOAD=:" + strlen(self_path) + (l->old_preload ? strlen(l->old_preload) : 0);
}

static void lay_out(struct launch *l, void *memory)
{
    const char **at = memory;
    if (l->maps) {
        const char **argv = at;
        *at++ = l->argv[0];
        for (int i = 0; i < maps; i++)
            *at++ = map_flags[i];
        memcpy(at, l->argv + 1, l->argc * sizeof(char *)); /* with the NULL */
        at += l->argc;
        l->argv = (char *const *)argv;
    }
    if (l->preload || l->trace || l->map) {
        const char **envp = at;
        char *text = (char *)(at + l->envc + 4);
        if (l->preload) {
            *at++ = text;
            text = stpcpy(text, "LD_PRELOAD=");
            if (!l->alone)
                text = stpcpy(text, self_path);
            for (const char *p = l->old_preload ? l->old_preload : ""; *p; p += strspn(p, ": ")) {
                size_t n = strcspn(p, ": "), self = strlen(self_path);
                if (n && !(n == self && !memcmp(p, self_path, n))) {
                    if (text[-1] != '=')
                        *text++ = ':';
                    memcpy(text, p, n);
                    text += n;
                }
                p += n;
            }
            *text = 0;
        }
        if (l->trace)
            *at++ = env_trace;
        if (l->map)
            *at++ = env_map;
        for (size_t i = 0; i < l->envc; i++)
            if (!(l->preload && l->old_preload && l->envp[i] == l->old_preload - 11))
                *at++ = l->envp[i];
        *at = NULL;
        l->envp = (char *const *)envp;
    }
}

/* The block must live until the program has started: alloca, hence a macro. Large ones are mapped. */
enum { ON_STACK = 65536 };
#define LAUNCH(l, path, argv, envp)                                                                          \
    plan(l, path, argv, envp);                                                                               \
    void *memory_ = (l)->bytes <= ON_STACK                                                                   \
        ? alloca((l)->bytes + 1)                                                                             \
        : (void *)RAW(SYS_mmap, NULL, (l)->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); \
    if ((long)memory_ < 0 && (long)memory_ > -4096)                                                          \
        (l)->bytes = 0; /* the program then starts unobserved, and the reader will see that */               \
    else if ((l)->bytes)                                                                                     \
        lay_out(l, memory_)
#define LAUNCHED(l)              \
    if ((l)->bytes > ON_STACK)   \
        RAW(SYS_munmap, memory_, (l)->bytes)

/* The interpreter a script names is started by the kernel, unseen, and its path may be a link. */
static void note_interpreter(const char *path)
{
    char head[256], next[256];
    for (int depth = 0; depth < 4; depth++) {
        long fd = RAW(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0)
            return;
        long n = RAW(SYS_read, fd, head, sizeof head - 1);
        RAW(SYS_close, fd);
        if (n < 3 || head[0] != '#' || head[1] != '!')
            return;
        head[n] = 0;
        char *p = head + 2 + strspn(head + 2, " \t");
        p[strcspn(p, " \t\n")] = 0;
        if (!*p)
            return;
        note(true, OPEN, READ, AT_FDCWD, p);
        path = strcpy(next, p);
    }
}

static void note_search(const char *name, const char *other_path)
{
    if (other_path)
        emit(SEARCHPATH, 0, 0, 0, other_path, name);
}

/* Returns only on failure. `name` is what was searched for, empty without a search. */
static int exec_as(int dirfd, const char *path, char *const argv[], char *const envp[], int flags, const char *name, const char *other_path)
{
    char full[PATH_MAX];
    if (unreadable(path) || !absolute(dirfd, path, full))
        return errno_of(RAW(SYS_execveat, dirfd, path, argv, envp, flags));
    struct launch l;
    LAUNCH(&l, full, argv, envp);
    note_interpreter(full);
    emit(EXEC, other_path ? OTHER_PATH : 0, 0, other_path != NULL, full, name);
    note_search(name, other_path);
    if (dirfd == AT_FDCWD && flags == 0)
        REAL(execve)(path, l.argv, l.envp);
    else
        errno_of(RAW(SYS_execveat, dirfd, path, l.argv, l.envp, flags));
    int err = errno;
    emit(EXECFAIL, 0, err, 0, full, name);
    LAUNCHED(&l);
    errno = err;
    return -1;
}

#if __GLIBC_PREREQ(2, 39)
#include <sys/pidfd.h>
#define HAVE_PIDFD_SPAWN
#endif
typedef int spawn_fn(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const[], char *const[]);

static pid_t child_of(spawn_fn *spawn, int answer)
{
#ifdef HAVE_PIDFD_SPAWN
    if (spawn == REAL(pidfd_spawn))
        return pidfd_getpid(answer);
#endif
    (void)spawn;
    return answer;
}

/* Returns an error number, as posix_spawn does. `answer` is given the pid, or the pidfd. */
static int spawn_as(spawn_fn *spawn, pid_t *answer, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr,
                    char *const argv[], char *const envp[], const char *name, const char *other_path)
{
    char full[PATH_MAX];
    if (unreadable(path) || !absolute(AT_FDCWD, path, full))
        return spawn(answer, path, actions, attr, argv, envp);
    struct launch l;
    LAUNCH(&l, full, argv, envp);
    pid_t child = 0;
    int r = spawn(&child, path, actions, attr, l.argv, l.envp);
    LAUNCHED(&l);
    if (r == 0) {
        if (answer)
            *answer = child;
        child = child_of(spawn, child);
        note_interpreter(full);
    }
    emit(r == 0 ? SPAWN : EXECFAIL, other_path ? OTHER_PATH : 0, r, child, full, name);
    note_search(name, other_path);
    return r;
}

/* Could this be executed? 0, or the error an attempt would give. Asked first so that a search leaves one record. */
static int obstacle(const char *path)
{
    long r = RAW(SYS_faccessat, AT_FDCWD, path, X_OK);
    if (r < 0)
        return -r;
    return type_of(AT_FDCWD, path, 0, NULL) == S_IFREG ? 0 : EACCES;
}

static bool goes_on(int err)
{
    return err == ENOENT || err == ENOTDIR || err == EACCES || err == ESTALE || err == ENODEV || err == ETIMEDOUT;
}

/* The search of execvp and posix_spawnp, as glibc does it: `attempt` is made with each candidate until one starts.
 * One record names what was found; the places where it was not are known from the name and PATH. */
struct search {
    const char *rest, *whole, *other;
    bool denied;
    int err;
    char candidate[PATH_MAX];
};

static void search_begin(struct search *s)
{
    s->whole = value_in(environ, "PATH");
    if (!s->whole)
        s->whole = "/bin:/usr/bin";
    s->rest = s->whole;
    s->other = finish(hash(0, s->whole)) == relaxed(&trace->path_hash) ? NULL : s->whole;
    s->denied = false;
    s->err = ENOENT;
}

static bool search_next(struct search *s, const char *name)
{
    size_t length = strlen(name);
    while (s->rest) {
        const char *dir = s->rest;
        size_t n = strcspn(dir, ":");
        s->rest = dir[n] ? dir + n + 1 : NULL;
        if (n + length + 2 > PATH_MAX) {
            s->err = ENAMETOOLONG;
            continue;
        }
        memcpy(s->candidate, dir, n);
        if (n)
            s->candidate[n++] = '/';
        memcpy(s->candidate + n, name, length + 1);
        s->err = obstacle(s->candidate);
        if (!s->err)
            return true;
        s->denied |= s->err == EACCES;
    }
    return false;
}

static int search_failed(struct search *s, const char *name)
{
    int err = s->denied ? EACCES : s->err;
    emit(EXECFAIL, s->other ? OTHER_PATH : 0, err, 0, "", name);
    note_search(name, s->other);
    return err;
}

/* A text without "#!" is given to the shell by the p variants of exec. */
static void exec_script(const char *path, char *const argv[], char *const envp[])
{
    size_t n = 0;
    while (argv[n])
        n++;
    const char **args = alloca((n + 3) * sizeof(char *));
    args[0] = "/bin/sh";
    args[1] = path;
    args[2] = NULL;
    if (n > 1)
        memcpy(args + 2, argv + 1, n * sizeof(char *));
    exec_as(AT_FDCWD, "/bin/sh", (char *const *)args, envp, 0, "", NULL);
}

static int exec_found(const char *name, char *const argv[], char *const envp[])
{
    if (!*name) {
        errno = ENOENT;
        return -1;
    }
    if (strchr(name, '/')) {
        exec_as(AT_FDCWD, name, argv, envp, 0, "", NULL);
        if (errno == ENOEXEC)
            exec_script(name, argv, envp);
        return -1;
    }
    struct search s;
    search_begin(&s);
    while (search_next(&s, name)) {
        exec_as(AT_FDCWD, s.candidate, argv, envp, 0, name, s.other);
        s.err = errno;
        if (s.err == ENOEXEC)
            exec_script(s.candidate, argv, envp);
        if (!goes_on(s.err))
            return -1;
        s.denied |= s.err == EACCES;
    }
    errno = search_failed(&s, name);
    return -1;
}

EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
    return observing() ? exec_as(AT_FDCWD, path, argv, envp, 0, "", NULL) : REAL(execve)(path, argv, envp);
}
EXPORT int execv(const char *path, char *const argv[]) { return execve(path, argv, environ); }
EXPORT int execvpe(const char *name, char *const argv[], char *const envp[])
{
    return observing() && name ? exec_found(name, argv, envp) : REAL(execvpe)(name, argv, envp);
}
EXPORT int execvp(const char *name, char *const argv[]) { return execvpe(name, argv, environ); }
EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
    return observing() && fd >= 0 ? exec_as(fd, "", argv, envp, AT_EMPTY_PATH, "", NULL) : REAL(fexecve)(fd, argv, envp);
}
EXPORT int execveat(int dir, const char *path, char *const argv[], char *const envp[], int flags)
{
    if (observing())
        return exec_as(dir, path, argv, envp, flags, "", NULL);
    return errno_of(RAW(SYS_execveat, dir, path, argv, envp, flags));
}

#define LISTED_ARGS(first)                                \
    va_list ap;                                           \
    size_t n = 1;                                         \
    va_start(ap, first);                                  \
    while (va_arg(ap, char *))                            \
        n++;                                              \
    va_end(ap);                                           \
    const char **argv = alloca((n + 1) * sizeof(char *)); \
    argv[0] = first;                                      \
    va_start(ap, first);                                  \
    for (size_t i = 1; i <= n; i++)                       \
        argv[i] = va_arg(ap, char *);
EXPORT int execl(const char *path, const char *arg, ...)
{
    LISTED_ARGS(arg)
    va_end(ap);
    return execve(path, (char *const *)argv, environ);
}
EXPORT int execle(const char *path, const char *arg, ...)
{
    LISTED_ARGS(arg)
    char *const *envp = va_arg(ap, char *const *);
    va_end(ap);
    return execve(path, (char *const *)argv, envp);
}
EXPORT int execlp(const char *name, const char *arg, ...)
{
    LISTED_ARGS(arg)
    va_end(ap);
    return execvpe(name, (char *const *)argv, environ);
}

static int spawn_found(spawn_fn *spawn, pid_t *answer, const char *name, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
    if (strchr(name, '/'))
        return spawn_as(spawn, answer, name, actions, attr, argv, envp, "", NULL);
    struct search s;
    search_begin(&s);
    while (search_next(&s, name)) {
        s.err = spawn_as(spawn, answer, s.candidate, actions, attr, argv, envp, name, s.other);
        if (s.err == 0 || !goes_on(s.err))
            return s.err;
        s.denied |= s.err == EACCES;
    }
    return errno = search_failed(&s, name);
}

#define SPAWNS(spawn, spawnp)                                                                                               \
    EXPORT int spawn(pid_t *restrict answer, const char *restrict path, const posix_spawn_file_actions_t *restrict actions, \
                     const posix_spawnattr_t *restrict attr, char *const argv[restrict], char *const envp[restrict])        \
    {                                                                                                                       \
        if (!observing())                                                                                                   \
            return REAL(spawn)(answer, path, actions, attr, argv, envp);                                                    \
        return spawn_as(REAL(spawn), answer, path, actions, attr, argv, envp, "", NULL);                                    \
    }                                                                                                                       \
    EXPORT int spawnp(pid_t *restrict answer, const char *restrict name, const posix_spawn_file_actions_t *restrict actions, \
                      const posix_spawnattr_t *restrict attr, char *const argv[restrict], char *const envp[restrict])       \
    {                                                                                                                       \
        if (!observing() || !name || !*name)                                                                                \
            return REAL(spawnp)(answer, name, actions, attr, argv, envp);                                                   \
        return spawn_found(REAL(spawn), answer, name, actions, attr, argv, envp);                                           \
    }
SPAWNS(posix_spawn, posix_spawnp)
#ifdef HAVE_PIDFD_SPAWN /* a libc without them must seem to have none: callers ask by dlsym */
SPAWNS(pidfd_spawn, pidfd_spawnp)
#endif

static int spawn_shell(pid_t *pid, const char *command, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr)
{
    char *const argv[] = {"sh", "-c", (char *)command, NULL};
    return spawn_as(REAL(posix_spawn), pid, "/bin/sh", actions, attr, argv, environ, "", NULL);
}

static int wait_for(pid_t pid)
{
    int status;
    pid_t r;
    do
        r = waitpid(pid, &status, 0);
    while (r < 0 && errno == EINTR);
    return r == pid ? status : -1;
}

static pthread_mutex_t shell_lock = PTHREAD_MUTEX_INITIALIZER;
static int shells;
static struct sigaction old_int, old_quit;

/* libc's own starts the shell by a hidden exec. The dispositions are the process's: several threads share one change. */
EXPORT int system(const char *command)
{
    if (!observing())
        return REAL(system)(command);
    if (!command)
        return system("exit 0") == 0;
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t chld, old_mask, reset;
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    sigemptyset(&reset);
    pthread_mutex_lock(&shell_lock);
    if (shells++ == 0) {
        sigaction(SIGINT, &ignore, &old_int);
        sigaction(SIGQUIT, &ignore, &old_quit);
    }
    if (old_int.sa_handler != SIG_IGN)
        sigaddset(&reset, SIGINT);
    if (old_quit.sa_handler != SIG_IGN)
        sigaddset(&reset, SIGQUIT);
    pthread_mutex_unlock(&shell_lock);
    pthread_sigmask(SIG_BLOCK, &chld, &old_mask);

    posix_spawnattr_t attr;
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &old_mask);
    posix_spawnattr_setsigdefault(&attr, &reset);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    pid_t pid;
    int status = spawn_shell(&pid, command, NULL, &attr) == 0 ? wait_for(pid) : W_EXITCODE(127, 0);
    posix_spawnattr_destroy(&attr);

    int err = errno;
    pthread_mutex_lock(&shell_lock);
    if (--shells == 0) {
        sigaction(SIGINT, &old_int, NULL);
        sigaction(SIGQUIT, &old_quit, NULL);
    }
    pthread_mutex_unlock(&shell_lock);
    pthread_sigmask(SIG_SETMASK, &old_mask, NULL);
    errno = err;
    return status;
}

struct pipe_stream {
    struct pipe_stream *next;
    FILE *file;
    pid_t pid;
};
static pthread_mutex_t pipe_lock = PTHREAD_MUTEX_INITIALIZER;
static struct pipe_stream *pipes;

EXPORT FILE *popen(const char *command, const char *mode)
{
    if (!observing())
        return REAL(popen)(command, mode);
    bool reads = strchr(mode, 'r'), writes = strchr(mode, 'w'), keep_closed = strchr(mode, 'e');
    if (reads == writes) {
        errno = EINVAL;
        return NULL;
    }
    int ends[2];
    struct pipe_stream *p = malloc(sizeof *p);
    if (!p || pipe2(ends, O_CLOEXEC) < 0) {
        free(p);
        return NULL;
    }
    int ours = ends[reads ? 0 : 1], theirs = ends[reads ? 1 : 0], target = reads ? 1 : 0, err;
    p->file = fdopen(ours, reads ? "r" : "w");
    if (!p->file)
        goto no_stream;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    pthread_mutex_lock(&pipe_lock);
    if (theirs == target) /* dup2 onto itself would leave it to be closed */
        fcntl(theirs, F_SETFD, 0);
    else
        posix_spawn_file_actions_adddup2(&actions, theirs, target);
    for (struct pipe_stream *q = pipes; q; q = q->next)
        if (fileno(q->file) != target)
            posix_spawn_file_actions_addclose(&actions, fileno(q->file));
    err = spawn_shell(&p->pid, command, &actions, NULL);
    posix_spawn_file_actions_destroy(&actions);
    if (err == 0) {
        p->next = pipes;
        pipes = p;
    }
    pthread_mutex_unlock(&pipe_lock);
    close(theirs);
    if (err) {
        fclose(p->file);
        free(p);
        errno = err;
        return NULL;
    }
    if (!keep_closed)
        fcntl(ours, F_SETFD, 0);
    return p->file;

no_stream:
    err = errno;
    close(ends[0]);
    close(ends[1]);
    free(p);
    errno = err;
    return NULL;
}
EXPORT int pclose(FILE *file)
{
    pthread_mutex_lock(&pipe_lock);
    struct pipe_stream **at = &pipes, *p;
    while (*at && (*at)->file != file)
        at = &(*at)->next;
    p = *at;
    if (p)
        *at = p->next;
    pthread_mutex_unlock(&pipe_lock);
    if (!p)
        return REAL(pclose)(file);
    pid_t pid = p->pid;
    free(p);
    fclose(file);
    return wait_for(pid);
}

/* ---- shared objects ---- */

/* dlopen looks at who called it (DT_RUNPATH, $ORIGIN, namespaces), so it must be left by a jump. What it loaded is
 * told at the next record of this process, or at its end. */
static unsigned long long loads_told;

static int tell_load(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size, (void)unused;
    if (info->dlpi_adds == loads_told)
        return 1;
    if (strchr(info->dlpi_name, '/') && strcmp(info->dlpi_name, self_path)) {
        char full[PATH_MAX];
        if (absolute(AT_FDCWD, info->dlpi_name, full))
            put(LOADED, 0, 0, 0, full, "");
    }
    return 0;
}
static int count_loads(struct dl_phdr_info *info, size_t size, void *out)
{
    (void)size;
    *(unsigned long long *)out = info->dlpi_adds;
    return 1;
}
static void tell_loads(void)
{
    unsigned long long now = 0;
    dl_iterate_phdr(count_loads, &now);
    dl_iterate_phdr(tell_load, NULL);
    loads_told = now;
}
/* Only in the process that asked for the load: in a forked child another thread may have left the list locked. */
static __attribute__((noinline)) void flush_loads(void)
{
    int me = my_pid();
    if (__atomic_compare_exchange_n(&loads_pending, &me, 0, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        tell_loads();
}
static __attribute__((noinline)) void before_load(const char *file)
{
    if (!observing() || !file)
        return;
    if (strchr(file, '/') && !strchr(file, '$')) {
        bool found = there(AT_FDCWD, file);
        int saved = errno;
        errno = ENOENT;
        note(found, OPEN, READ, AT_FDCWD, file);
        errno = saved;
    }
    __atomic_store_n(&loads_pending, my_pid(), __ATOMIC_RELAXED);
}
EXPORT void *dlopen(const char *file, int mode)
{
    before_load(file);
    return REAL(dlopen)(file, mode);
}
EXPORT void *dlmopen(Lmid_t space, const char *file, int mode)
{
    before_load(file);
    if (space == LM_ID_NEWLM && observing())
        mark(LOST); /* it gets a libc of its own, in which we are not */
    return REAL(dlmopen)(space, file, mode);
}
EXPORT int dlclose(void *handle)
{
    if (observing() && relaxed(&loads_pending))
        flush_loads();
    return REAL(dlclose)(handle);
}
static void at_end(void)
{
    if (__atomic_load_n(&state, __ATOMIC_ACQUIRE) != 3)
        return;
    if (my_pid() == origin) /* here libc's own loads (NSS, gconv) show, too */
        tell_loads();
    else
        flush_loads();
}
EXPORT void _exit(int code)
{
    at_end();
    RAW(SYS_exit_group, code);
    __builtin_unreachable();
}
EXPORT void _Exit(int code) { _exit(code); }
static __attribute__((destructor)) void unload(void) { at_end(); }

/* ---- clock and network ---- */

/* One more than any program may do. */
enum { CLOCK_READS = 3 };
static int clock_reads;
static inline void note_clock(void)
{
    if (relaxed(&clock_reads) < CLOCK_READS && observing()) {
        int n = __atomic_add_fetch(&clock_reads, 1, __ATOMIC_RELAXED);
        if (n <= CLOCK_READS)
            emit(CLOCK, 0, 0, n, "", "");
    }
}
static inline bool is_wall(clockid_t c) { return c == CLOCK_REALTIME || c == CLOCK_REALTIME_COARSE || c == CLOCK_TAI; }
EXPORT int clock_gettime(clockid_t c, struct timespec *t)
{
    if (is_wall(c))
        note_clock();
    return REAL(clock_gettime)(c, t);
}
EXPORT int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
    note_clock();
    return REAL(gettimeofday)(t, zone);
}
EXPORT time_t time(time_t *t)
{
    note_clock();
    return REAL(time)(t);
}
EXPORT int timespec_get(struct timespec *t, int base)
{
    note_clock();
    return REAL(timespec_get)(t, base);
}
int ftime(void *);
EXPORT int ftime(void *t)
{
    note_clock();
    return REAL(ftime)(t);
}

/* A time in words of this place: what a compiler does for __DATE__, __TIME__ and (a file's time) __TIMESTAMP__ only. */
struct tm;
static int rendered;
static inline void note_rendered(void)
{
    if (!relaxed(&rendered) && observing() && !__atomic_exchange_n(&rendered, 1, __ATOMIC_RELAXED))
        emit(CLOCK, RENDERED, 0, 0, "", "");
}
EXPORT struct tm *localtime(const time_t *t)
{
    note_rendered();
    return REAL(localtime)(t);
}
EXPORT struct tm *localtime_r(const time_t *restrict t, struct tm *restrict tm)
{
    note_rendered();
    return REAL(localtime_r)(t, tm);
}
EXPORT char *ctime(const time_t *t)
{
    note_rendered();
    return REAL(ctime)(t);
}

static void note_address(const struct sockaddr *to, socklen_t len)
{
    if (!to || len < sizeof to->sa_family || !observing()) /* called after the kernel has read it */
        return;
    char text[160], host[INET6_ADDRSTRLEN] = "";
    unsigned port;
    if (to->sa_family == AF_UNIX) {
        const struct sockaddr_un *u = (const void *)to;
        size_t n = len - offsetof(struct sockaddr_un, sun_path);
        if (len <= offsetof(struct sockaddr_un, sun_path))
            return;
        bool hidden = u->sun_path[0] == 0; /* the abstract name space */
        n = hidden ? n : strnlen(u->sun_path, n);
        n = n < sizeof u->sun_path ? n : sizeof u->sun_path;
        char *p = stpcpy(text, "unix ");
        memcpy(p, u->sun_path, n);
        p[n] = 0;
        if (hidden)
            *p = '@';
        if (!strcmp(p, "/var/run/nscd/socket") || !strcmp(p, "/run/nscd/socket"))
            return;
    } else if (to->sa_family == AF_INET || to->sa_family == AF_INET6) {
        int saved = errno;
        bool six = to->sa_family == AF_INET6;
        if (len < (six ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in)))
            return;
        inet_ntop(to->sa_family, six ? (void *)&((struct sockaddr_in6 *)to)->sin6_addr : (void *)&((struct sockaddr_in *)to)->sin_addr, host, sizeof host);
        port = ntohs(six ? ((struct sockaddr_in6 *)to)->sin6_port : ((struct sockaddr_in *)to)->sin_port);
        snprintf(text, sizeof text, six ? "inet6 [%s]:%u" : "inet %s:%u", host, port);
        errno = saved;
    } else
        return;
    put(NET, 0, 0, 0, text, "");
}
static void note_host(const char *host)
{
    char text[300];
    struct in6_addr any;
    if (!host || !*host || !observing() || inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1)
        return;
    snprintf(text, sizeof text, "resolve %s", host);
    put(NET, 0, 0, 0, text, "");
}
#define PEERED(type, call, tell)      \
    type r_ = call;                   \
    if (r_ >= 0 || errno != EFAULT) { \
        tell;                         \
    }                                 \
    return r_;
EXPORT int connect(int fd, const struct sockaddr *to, socklen_t len)
{
    PEERED(int, REAL(connect)(fd, to, len), note_address(to, len))
}
ALIAS(int, __connect, connect, int, const struct sockaddr *, socklen_t)
EXPORT int bind(int fd, const struct sockaddr *to, socklen_t len)
{
    PEERED(int, REAL(bind)(fd, to, len), note_address(to, len))
}
EXPORT ssize_t sendto(int fd, const void *p, size_t n, int flags, const struct sockaddr *to, socklen_t len)
{
    PEERED(ssize_t, REAL(sendto)(fd, p, n, flags, to, len), note_address(to, len))
}
EXPORT ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    PEERED(ssize_t, REAL(sendmsg)(fd, m, flags), note_address(m->msg_name, m->msg_namelen))
}
EXPORT int sendmmsg(int fd, struct mmsghdr *m, unsigned n, int flags)
{
    PEERED(int, REAL(sendmmsg)(fd, m, n, flags),
           for (int i = 0; i < (int)n && (r_ < 0 ? i == 0 : i < r_); i++) note_address(m[i].msg_hdr.msg_name, m[i].msg_hdr.msg_namelen))
}
EXPORT int getaddrinfo(const char *restrict host, const char *restrict service, const struct addrinfo *restrict hints, struct addrinfo **restrict out)
{
    note_host(host);
    return REAL(getaddrinfo)(host, service, hints, out);
}
EXPORT struct hostent *gethostbyname(const char *host)
{
    note_host(host);
    return REAL(gethostbyname)(host);
}
EXPORT struct hostent *gethostbyname2(const char *host, int af)
{
    note_host(host);
    return REAL(gethostbyname2)(host, af);
}
EXPORT int gethostbyname_r(const char *restrict host, struct hostent *restrict e, char *restrict b, size_t n, struct hostent **restrict out, int *restrict err)
{
    note_host(host);
    return REAL(gethostbyname_r)(host, e, b, n, out, err);
}
EXPORT int gethostbyname2_r(const char *restrict host, int af, struct hostent *restrict e, char *restrict b, size_t n, struct hostent **restrict out, int *restrict err)
{
    note_host(host);
    return REAL(gethostbyname2_r)(host, af, e, b, n, out, err);
}

/* ---- syscall(2): the calls that name a file, a program or a peer ---- */

EXPORT long syscall(long n, ...)
{
    va_list ap;
    va_start(ap, n);
    long a = va_arg(ap, long), b = va_arg(ap, long), c = va_arg(ap, long);
    long d = va_arg(ap, long), e = va_arg(ap, long), f = va_arg(ap, long);
    va_end(ap);
    const char *pa = (const char *)a, *pb = (const char *)b, *pd = (const char *)d;
    int existed = 0, flags = 0;

    switch (n) {
#ifdef SYS_open
    case SYS_open: existed = existed_before(AT_FDCWD, pa, b); break;
    case SYS_creat: existed = existed_before(AT_FDCWD, pa, O_CREAT | O_WRONLY | O_TRUNC); break;
#endif
    case SYS_openat: existed = existed_before(a, pb, c); break;
    case SYS_openat2: flags = c ? *(uint64_t *)c : 0; existed = existed_before(a, pb, flags); break;
    case SYS_execve: return execve(pa, (char *const *)b, (char *const *)c);
    case SYS_execveat: return execveat(a, pb, (char *const *)c, (char *const *)d, e);
    case SYS_clock_gettime: if (is_wall(a)) note_clock(); break;
    case SYS_gettimeofday: note_clock(); break;
    case SYS_uname: note_asker(MACHINE, __builtin_return_address(0)); break;
    case SYS_chdir: return chdir(pa);
    case SYS_exit_group: at_end(); break;
    }

    long r = errno_of(raw6(n, a, b, c, d, e, f));
    bool ok = r == 0;
    switch (n) {
#ifdef SYS_open
    case SYS_open: note_open(r, AT_FDCWD, pa, b, existed); break;
    case SYS_creat: note_open(r, AT_FDCWD, pa, O_CREAT | O_WRONLY | O_TRUNC, existed); break;
    case SYS_stat: note(ok, STAT, 0, AT_FDCWD, pa); break;
    case SYS_lstat: note(ok, LSTAT, 0, AT_FDCWD, pa); break;
    case SYS_access: note(ok, STAT, 0, AT_FDCWD, pa); break;
    case SYS_readlink: note_readlink(r, AT_FDCWD, pa, pb, c); break;
    case SYS_rename: note_pair(ok, RENAME, AT_FDCWD, pa, AT_FDCWD, pb); break;
    case SYS_link: note_pair(ok, LINK, AT_FDCWD, pa, AT_FDCWD, pb); break;
    case SYS_symlink: note_symlink(ok, pa, AT_FDCWD, pb); break;
    case SYS_unlink: case SYS_rmdir: note(ok, UNLINK, 0, AT_FDCWD, pa); break;
    case SYS_mkdir: note(ok, MKDIR, 0, AT_FDCWD, pa); break;
    case SYS_chmod: case SYS_chown: case SYS_lchown: case SYS_utime: case SYS_utimes: case SYS_mknod: note(ok, META, 0, AT_FDCWD, pa); break;
    case SYS_getdents: note_fd(r >= 0, LIST, a); break;
    case SYS_time: note_clock(); break;
#endif
#ifdef SYS_renameat
    case SYS_renameat: note_pair(ok, RENAME, a, pb, c, pd); break;
#endif
    case SYS_openat: note_open(r, a, pb, c, existed); break;
    case SYS_openat2: note_open(r, a, pb, flags, existed); break;
    case SYS_newfstatat: note(ok, BY_FLAG(d), 0, a, pb); break;
    case SYS_statx: note(ok, BY_FLAG(c), 0, a, pb); break;
    case SYS_statfs: note(ok, STAT, 0, AT_FDCWD, pa); break;
    case SYS_faccessat: note(ok, STAT, 0, a, pb); break;
#ifdef SYS_faccessat2
    case SYS_faccessat2: note(ok, BY_FLAG(d), 0, a, pb); break;
#endif
    case SYS_readlinkat: note_readlink(r, a, pb, (char *)c, d); break;
    case SYS_getdents64: note_fd(r >= 0, LIST, a); break;
    case SYS_renameat2: note_pair(ok, RENAME, a, pb, c, pd); break;
    case SYS_linkat: note_pair(ok, LINK, a, pb, c, pd); break;
    case SYS_symlinkat: note_symlink(ok, pa, b, (const char *)c); break;
    case SYS_unlinkat: note(ok, UNLINK, 0, a, pb); break;
    case SYS_mkdirat: note(ok, MKDIR, 0, a, pb); break;
    case SYS_fchmodat: case SYS_fchownat: case SYS_utimensat: case SYS_mknodat: note(ok, META, 0, a, pb); break;
    case SYS_truncate: case SYS_setxattr: case SYS_lsetxattr: note(ok, META, 0, AT_FDCWD, pa); break;
    case SYS_clone: if (a & (CLONE_NEWNS | CLONE_NEWPID)) elsewhere(r); break;
    case SYS_unshare: if (a & (CLONE_NEWNS | CLONE_NEWPID)) elsewhere(r); break;
    case SYS_chroot: case SYS_pivot_root: case SYS_mount: case SYS_setns: elsewhere(r); break;
    case SYS_connect: case SYS_bind: if (ok || errno != EFAULT) note_address((void *)b, c); break;
    case SYS_sendto: if (r >= 0 || errno != EFAULT) note_address((void *)e, f); break;
    case SYS_io_uring_setup: elsewhere(r); break; /* opens through a ring are seen by nobody */
    }
    return r;
}

/* ---- setting up ---- */

static void copy_variable(char *out, size_t room, const char *name, const char *value)
{
    if (strlen(name) + strlen(value) + 2 <= room)
        stpcpy(stpcpy(stpcpy(out, name), "="), value);
}

static void read_maps(const char *value)
{
    char *at = map_text;
    while (*value) {
        size_t n = strcspn(value, ":");
        if (n) {
            if (maps == MAX_MAPS || at + n + 20 > map_text + sizeof map_text) {
                maps = 0; /* all or none: a part would give objects that nobody asked for */
                mark(LOST);
                return;
            }
            map_flags[maps++] = at;
            at = stpcpy(at, "-fdebug-prefix-map=");
            memcpy(at, value, n);
            at += n;
            *at++ = 0;
        }
        value += n + (value[n] == ':');
    }
}

static struct trace *map_trace(const char *path)
{
    long fd = RAW(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    long size = RAW(SYS_lseek, fd, 0, SEEK_END), at = -1;
    if (size >= (long)sizeof(struct trace))
        at = RAW(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    RAW(SYS_close, fd); /* the host may do with its descriptors what it likes */
    if (at < 0 && at > -4096)
        return NULL;
    RAW(SYS_madvise, at, size, MADV_DONTDUMP);
    struct trace *t = (struct trace *)at;
    return t->magic == MAGIC && t->version == VERSION && t->capacity == (uint64_t)size ? t : NULL;
}

static void forked(void)
{
    int pid = my_pid();
    append(pid, FORK, 0, 0, home, "", 0, "", 0);
    home = pid;
    clock_reads = 0;
}

/* Also called from the first wrapper that runs, which may be before our constructor: in malloc's, or in that of another
 * library. Until it is done, calls (its own, and those of a second thread) pass unrecorded. */
static void set_up(void)
{
    int untouched = 0;
    if (!__atomic_compare_exchange_n(&state, &untouched, 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return;
    const char *where = value_in(environ, "KACHE_TRACE"), *map = value_in(environ, "KACHE_MAP");
    const char *path = value_in(environ, "PATH");
    Dl_info info;
    if (!where || strlen(where) + sizeof "KACHE_TRACE=" > sizeof env_trace || !dladdr((void *)set_up, &info) || !info.dli_fname
        || strlen(info.dli_fname) >= sizeof self_path || !(trace = map_trace(where))) {
        __atomic_store_n(&state, 2, __ATOMIC_RELEASE);
        return;
    }
    strcpy(self_path, info.dli_fname);
    copy_variable(env_trace, sizeof env_trace, "KACHE_TRACE", where);
    origin = home = my_pid();
    if (map && strlen(map) + sizeof "KACHE_MAP=" > sizeof env_map)
        mark(LOST);
    else if (map) {
        copy_variable(env_map, sizeof env_map, "KACHE_MAP", map);
        read_maps(map);
    }
    uint64_t none = 0, mine = finish(hash(0, path ? path : "/bin:/usr/bin"));
    __atomic_compare_exchange_n(&trace->path_hash, &none, mine, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);

    char exe[PATH_MAX];
    long n = RAW(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0 || n >= (long)sizeof exe - 1) {
        mark(LOST);
        n = 0;
    }
    exe[n] = 0;
    i_am_driver = is_driver(exe);
    append(home, START, 0, 0, RAW(SYS_getppid), exe, n, program_invocation_name ? program_invocation_name : "",
           program_invocation_name ? strlen(program_invocation_name) : 0);
    __atomic_store_n(&state, 3, __ATOMIC_RELEASE);
}

static __attribute__((constructor)) void load(void)
{
    if (!observing())
        return;
    (void)REAL(execve), (void)REAL(posix_spawn); /* not first looked up in a vfork child */
    pthread_atfork(NULL, NULL, forked);
    tell_loads();
}
