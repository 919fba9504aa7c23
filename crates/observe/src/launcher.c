/* What cargo finds in place of a compiled build script: asks kache to run the real one, which lies beside this file,
 * or, without kache, becomes it. It runs once per build script and build, so it is a few hundred instructions without
 * a C library (there is one for it on architectures whose entry point is not written here).
 *
 * It knows nothing of caches, cargo's protocol, or what kache does with `--build-script REAL ARGV0 [ARG...]`. */

enum { PATH_ROOM = 4096 };

#if defined(__x86_64__) || defined(__aarch64__)

#define O(name, x86, arm) enum { SYS_##name = IS_X86 ? x86 : arm };
#if defined(__x86_64__)
#define IS_X86 1
static long call(long n, long a, long b, long c, long d)
{
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "+a"(n) : "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return n;
}
__asm__(".globl _start\n_start:\n xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call run\n");
#else
#define IS_X86 0
static long call(long n, long a, long b, long c, long d)
{
    register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c, x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}
__asm__(".globl _start\n_start:\n mov x29, xzr\n mov x30, xzr\n mov x0, sp\n bl run\n");
#endif
O(write, 1, 64)
O(execve, 59, 221)
O(exit_group, 231, 94)
O(readlinkat, 267, 78)

static long sys_execve(const char *path, char **argv, char **envp) { return call(SYS_execve, (long)path, (long)argv, (long)envp, 0); }
static long own_path(char *out) { return call(SYS_readlinkat, -100, (long)"/proc/self/exe", (long)out, PATH_ROOM); }
static void say(const char *text, long n) { call(SYS_write, 2, (long)text, n, 0); }

#else

#include <errno.h>
#include <unistd.h>
#define HOSTED
static long sys_execve(const char *path, char **argv, char **envp) { return execve(path, argv, envp), -errno; }
static long own_path(char *out) { return readlink("/proc/self/exe", out, PATH_ROOM); }
static void say(const char *text, long n) { if (write(2, text, n) < 0) return; }

#endif

static long length(const char *s)
{
    long n = 0;
    while (s[n])
        n++;
    return n;
}
static int starts(const char *s, const char *with)
{
    while (*with)
        if (*s++ != *with++)
            return 0;
    return 1;
}
static const char *base_of(const char *path)
{
    const char *base = path;
    for (; *path; path++)
        if (*path == '/')
            base = path + 1;
    return base;
}
static int is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

/* DIR/build-script-build, DIR/build_script_build-0123456789abcdef → DIR/build_script_build.real */
static int real_path(char *path, long n)
{
    enum { HASH = 16 };
    if (n <= 0 || n + 6 > PATH_ROOM)
        return 0;
    path[n] = 0;
    char *base = (char *)base_of(path), *end = path + n, *hash = end;
    while (end - hash < HASH && hash > base && is_hex(hash[-1]))
        hash--;
    if (end - hash == HASH && hash - 1 > base && hash[-1] == '-')
        end = hash - 1;
    for (char *p = base; p < end; p++)
        if (*p == '-')
            *p = '_';
    for (const char *p = ".real";; p++) {
        *end++ = *p;
        if (!*p)
            return 1;
    }
}

static const char *reason(long err)
{
    switch (err) {
    case 1: return "Operation not permitted";
    case 2: return "No such file or directory";
    case 7: return "Argument list too long";
    case 8: return "Exec format error";
    case 12: return "Cannot allocate memory";
    case 13: return "Permission denied";
    case 20: return "Not a directory";
    case 26: return "Text file busy";
    default: return "execve failed";
    }
}

/* cargo hands a bare name on as it was configured: it stands for the first such program on PATH. */
static void search(const char *name, char **argv, char **envp)
{
    static char path[PATH_ROOM];
    const char *dirs = 0;
    for (char **e = envp; *e; e++)
        if (starts(*e, "PATH="))
            dirs = *e + sizeof "PATH=" - 1;
    while (dirs && *dirs) {
        long n = 0;
        for (; *dirs && *dirs != ':'; dirs++)
            if (n < PATH_ROOM)
                path[n++] = *dirs;
        dirs += *dirs == ':';
        if (n + 1 + length(name) + 1 > PATH_ROOM)
            continue;
        path[n++] = '/';
        for (const char *s = name;; s++) {
            path[n++] = *s;
            if (!*s)
                break;
        }
        sys_execve(path, argv, envp);
    }
}

/* `room` has place for argc + 4 pointers: it is on the stack of the caller, whose size the kernel has limited. */
static int become(long argc, char **argv, char **envp, char **room)
{
    static char path[PATH_ROOM];
    const char *wrapper = 0;
    long err = 2;
    if (real_path(path, own_path(path))) {
        for (char **e = envp; *e; e++)
            if (starts(*e, "RUSTC_WRAPPER="))
                wrapper = *e + sizeof "RUSTC_WRAPPER=" - 1;
        if (wrapper && starts(base_of(wrapper), "kache")) {
            room[0] = "kache";
            room[1] = "--build-script";
            room[2] = path;
            room[3] = argc ? argv[0] : path;
            for (long i = 1; i <= argc; i++)
                room[3 + i] = argv[i];
            if (!argc)
                room[4] = 0;
            if (base_of(wrapper) != wrapper)
                sys_execve(wrapper, room, envp);
            else
                search(wrapper, room, envp);
        }
        err = -sys_execve(path, argv, envp);
    }
    const char *parts[] = {"build script: cannot execute ", path, ": ", reason(err), "\n"};
    for (int i = 0; i < 5; i++)
        say(parts[i], length(parts[i]));
    return 101;
}

#ifdef HOSTED
int main(int argc, char **argv, char **envp)
{
    char *room[argc + 5];
    return become(argc, argv, envp, room);
}
#else
__attribute__((noreturn, used)) void run(long *stack)
{
    long argc = stack[0];
    char **argv = (char **)(stack + 1);
    char *room[argc + 5];
    call(SYS_exit_group, become(argc, argv, argv + argc + 1, room), 0, 0, 0);
    __builtin_unreachable();
}
#endif
