from lamella.kernels._common.types cimport i64

# fn(ctx, task, slot) computes one task; slot names the scratch of the executing thread.
ctypedef void (*task_fn)(void *ctx, i64 task, i64 slot) noexcept nogil

# Call fn for every task in [0, ntasks): in parallel if the estimated single-thread time (ns) is worth it, on `slots` threads at most.
# Kernels without scratch per thread pass ANY_SLOTS.
cdef void parallel_for(task_fn fn, void *ctx, i64 ntasks, double nanoseconds, i64 slots) noexcept nogil

# The number of threads in use.
cdef int num_threads() noexcept nogil

cdef enum:
    ANY_SLOTS = 1 << 20
