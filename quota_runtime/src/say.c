#include "say.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

void has_say(const char *format, ...)
{
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    int before = errno;
    char line[384];
    va_list values;
    va_start(values, format);
    int length = vsnprintf(line, sizeof(line), format, values);
    va_end(values);
    /* A pipe that is nearly full answers nothing, one without a reader more than that. */
    if (length > 0 && (size_t)length < sizeof(line) && poll(&out, 1, 0) == 1 &&
        out.revents == POLLOUT)
        (void)!write(STDERR_FILENO, line, (size_t)length);
    errno = before;
}
