/* Reading one limits block: a consistent copy, then whether it makes sense. */
#ifndef HAS_LIMITS_BLOCK_H
#define HAS_LIMITS_BLOCK_H

#include "has_abi.h"

enum has_block_state {
    HAS_BLOCK_GOOD,
    HAS_BLOCK_TORN,    /* a write is in progress, or stopped half way */
    HAS_BLOCK_FOREIGN, /* another magic, version or size */
    HAS_BLOCK_BAD,     /* limits that cannot take effect */
};

/* Copies a block that another process may be writing into `copy`. */
enum has_block_state has_block_read(const struct has_limits *block, struct has_limits *copy);

enum has_block_state has_block_check(const struct has_limits *copy);

#endif
