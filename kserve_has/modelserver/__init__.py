"""A KServe model server whose network runs on the emulated GPU or, where there is one, on torch."""
