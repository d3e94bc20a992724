/* The lease file of the GPU: mapped when the limits name a slot in it. */
#ifndef HAS_LEASE_FILE_H
#define HAS_LEASE_FILE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "has_abi.h"

extern struct has_leases *_Atomic has_leases_now; /* NULL: none */

/* Names the folder of the lease files; NULL or empty: there is none. */
void has_lease_file_folder(const char *name);

/* Maps the file of a GPU in the folder that the environment names, or again where it was replaced.
 * False: there is none that can be used. A file that makes no sense is counted and told of once. */
bool has_lease_file_open(const char *gpu_uuid);

/* Whether the file on the disk is another one than at the last open. */
bool has_lease_file_changed(void);

void has_lease_file_after_fork(void);

#endif
