#ifndef HAS_LIMITS_H
#define HAS_LIMITS_H

/* Names the folder of the limits file and maps the file if it is there. */
void has_limits_open(const char *folder);

/* Maps a file that has appeared or was replaced, and reads it if it changed. */
void has_limits_look(void);

void has_limits_after_fork(void);

#endif
