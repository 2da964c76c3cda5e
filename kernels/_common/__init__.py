"""What the kernels share: element types, vector registers, the register tile, the thread pool, and their Numba twins."""
