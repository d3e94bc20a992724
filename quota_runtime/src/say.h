/* What the library says on the program's standard error: a line now and then. */
#ifndef HAS_SAY_H
#define HAS_SAY_H

/* Says a line, unless that would hold the program up, or end it because nobody reads there. */
__attribute__((format(printf, 1, 2))) void has_say(const char *format, ...);

#endif
