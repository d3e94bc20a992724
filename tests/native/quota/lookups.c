/* Every way in which a program can come to a driver function: lookups WAY.
 *
 * Prints one line for each function found: how it was asked for and whose it is. Makes no context.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "../../../quota_runtime/include/has_cuda.h"
#include "names.h" /* static const char *const names[]: the entries of the list, without variants */

typedef CUresult (*ask_type)(const char *, void **, int, uint64_t);
typedef CUresult (*ask_v2_type)(const char *, void **, int, uint64_t, int *);

static void say(const char *name, const char *how, void *pointer)
{
    Dl_info info;
    const char *file = pointer && dladdr(pointer, &info) ? strrchr(info.dli_fname, '/') + 1 : "none";
    const char *symbol = pointer && info.dli_sname ? info.dli_sname : "-";
    printf("%s %s %s %s\n", name, how, file, symbol);
}

static void by_ask(void *driver)
{
    static const int versions[] = {11040, 12000, 12080, 13000};
    ask_type ask = (ask_type)dlsym(driver, "cuGetProcAddress");
    ask_v2_type ask_v2 = (ask_v2_type)dlsym(driver, "cuGetProcAddress_v2");
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        for (unsigned v = 0; v < 4; v++)
            for (uint64_t flags = 0; flags < 3; flags++) {
                void *one = NULL, *two = NULL;
                char how[32];
                int status = -1;
                CUresult first = ask(names[i], &one, versions[v], flags);
                CUresult second = ask_v2(names[i], &two, versions[v], flags, &status);
                snprintf(how, sizeof how, "%d/%d/%d", versions[v], (int)flags, status);
                if (first != second || one != two)
                    puts("the two ways differ");
                else if (two)
                    say(names[i], how, two);
            }
}

int main(int argc, char **argv)
{
    void *driver = dlopen("libcuda.so.1", RTLD_NOW | (argc > 2 ? RTLD_DEEPBIND : 0));
    if (!driver || argc < 2)
        return 2;
    if (strcmp(argv[1], "ask") == 0)
        by_ask(driver);
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(argv[1], "dlsym") == 0)
            say(names[i], "handle", dlsym(driver, names[i]));
        if (strcmp(argv[1], "dlvsym") == 0)
            say(names[i], "version", dlvsym(driver, names[i], "nothing"));
        if (strcmp(argv[1], "default") == 0)
            say(names[i], "default", dlsym(RTLD_DEFAULT, names[i]));
    }
    if (strcmp(argv[1], "others") == 0) {
        say("cuInit", "handle", dlsym(driver, "cuInit"));
        say("malloc", "default", dlsym(RTLD_DEFAULT, "malloc"));
        say("fopen", "next", dlsym(RTLD_NEXT, "fopen"));
        say("fopen", "version", dlvsym(RTLD_DEFAULT, "fopen", "GLIBC_2.2.5"));
        say("cuNothing", "handle", dlsym(driver, "cuNothing"));
        if (!dlerror())
            puts("no error was kept");
    }
    return 0;
}
