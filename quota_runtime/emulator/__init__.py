"""An emulated GPU: the driver and NVML as C libraries, and the folder of GPUs they work on."""
