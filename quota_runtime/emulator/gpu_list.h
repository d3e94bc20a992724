/* The GPUs of a folder that this process may see. */
#ifndef EMU_GPU_LIST_H
#define EMU_GPU_LIST_H

#include "gpu_file.h"

/* Map the GPUs of $KSERVE_HAS_EMULATED_GPUS that $NVIDIA_VISIBLE_DEVICES names (unset or `all`:
 * every one). Returns how many, 0 when there is no folder. */
int gpu_list_open(struct emu_gpu **gpus, int limit);

#endif
