/* A few words for the C tests: a case per name, the first failed check ends the program. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);              \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#define CHECK_NEAR(found, wanted, tolerance)                                                       \
    do {                                                                                           \
        double found_ = (double)(found), wanted_ = (double)(wanted);                               \
        if (found_ < wanted_ - (tolerance) || found_ > wanted_ + (tolerance)) {                    \
            fprintf(stderr, "%s:%d: %s is %g, not %g\n", __FILE__, __LINE__, #found, found_,       \
                    wanted_);                                                                      \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

struct test_case {
    const char *name;
    void (*run)(void);
};

#define CASE(function) {#function, function}

static inline int run_case(const struct test_case *cases, size_t count, int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < count; i++)
        if (strcmp(cases[i].name, argv[1]) == 0) {
            cases[i].run();
            return 0;
        }
    fprintf(stderr, "usage: %s CASE\n", argv[0]);
    return 2;
}

#define MAIN(...)                                                                                  \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        static const struct test_case cases[] = {__VA_ARGS__};                                     \
        return run_case(cases, sizeof cases / sizeof cases[0], argc, argv);                        \
    }

#endif
