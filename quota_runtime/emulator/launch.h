/* From launch parameters to an operation of the engine. */
#ifndef EMU_LAUNCH_H
#define EMU_LAUNCH_H

#include "objects.h"

CUfunction kernel_of(const CUDA_KERNEL_NODE_PARAMS *parameters);
CUresult kernel_check(const CUDA_KERNEL_NODE_PARAMS *parameters);
struct emu_op kernel_op(const CUDA_KERNEL_NODE_PARAMS *parameters, const struct sm_set *sms);

#endif
