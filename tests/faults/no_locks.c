/* A file system that knows no locks, where LOCKS_FAIL_WITH holds an error number: flock, and fcntl where it would lock,
 * fail with it. To be preloaded; see no_locks.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>

static int refused(void)
{
    const char *number = getenv("LOCKS_FAIL_WITH");
    errno = number ? atoi(number) : 0;
    return number != 0;
}

int flock(int descriptor, int operation)
{
    static int (*original)(int, int);
    if (refused())
        return -1;
    if (!original)
        original = (int (*)(int, int))dlsym(RTLD_NEXT, "flock");
    return original(descriptor, operation);
}

static int is_lock(int command)
{
    switch (command) {
    case F_SETLK: case F_SETLKW:
#if F_SETLK64 != F_SETLK
    case F_SETLK64: case F_SETLKW64:
#endif
#ifdef F_OFD_SETLK
    case F_OFD_SETLK: case F_OFD_SETLKW:
#endif
        return 1;
    }
    return 0;
}

#define PASSED_ON(name)                                                          \
    int name(int descriptor, int command, ...)                                   \
    {                                                                            \
        static int (*original)(int, int, ...);                                   \
        va_list words;                                                           \
        void *word;                                                              \
        va_start(words, command);                                                \
        word = va_arg(words, void *);                                            \
        va_end(words);                                                           \
        if (is_lock(command) && refused())                                       \
            return -1;                                                           \
        if (!original)                                                           \
            original = (int (*)(int, int, ...))dlsym(RTLD_NEXT, #name);          \
        return original(descriptor, command, word);                              \
    }

PASSED_ON(fcntl)
PASSED_ON(fcntl64)
