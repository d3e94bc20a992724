#include "capture.h"

#include "real.h"

atomic_int has_captures;

bool has_capture_on(CUstream stream, bool per_thread)
{
    CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
    CUresult (*ask)(CUstream, CUstreamCaptureStatus *) =
        per_thread && has_real.cuStreamIsCapturing_ptsz ? has_real.cuStreamIsCapturing_ptsz
                                                        : has_real.cuStreamIsCapturing;
    if (!ask)
        return true;
    CUresult result = ask(stream, &status);
    /* The legacy stream answers with an error while another one captures: then it does not. */
    return result == CUDA_SUCCESS && status != CU_STREAM_CAPTURE_STATUS_NONE;
}

CUstreamCaptureMode has_capture_relax(void)
{
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    if (has_use.cuThreadExchangeStreamCaptureMode)
        has_use.cuThreadExchangeStreamCaptureMode(&mode);
    return mode;
}

void has_capture_restore(CUstreamCaptureMode mode)
{
    if (has_use.cuThreadExchangeStreamCaptureMode)
        has_use.cuThreadExchangeStreamCaptureMode(&mode);
}
