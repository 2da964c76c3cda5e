"""The thread pool (pool.h): for Cython kernels by cimport, for Numba kernels by `run`, for Python by its settings."""
from lamella.kernels._common.types cimport i64

cdef extern from "pool.h" nogil:
    ctypedef void (*lm_task)(void *, i64, i64) noexcept
    void lamella_run(lm_task, void *, i64, double, i64) noexcept
    int lamella_get_num_threads() noexcept
    void lamella_set_num_threads(int) noexcept
    int lm_flush
    int LM_MAX_THREADS
    void lm_after_fork() noexcept

cdef extern from "pthread.h" nogil:
    int pthread_atfork(void (*)() noexcept, void (*)() noexcept, void (*)() noexcept)

pthread_atfork(NULL, NULL, lm_after_fork)

MAX_THREADS = LM_MAX_THREADS


cdef void parallel_for(task_fn fn, void *ctx, i64 ntasks, double nanoseconds, i64 slots) noexcept nogil:
    lamella_run(<lm_task>fn, ctx, ntasks, nanoseconds, slots)


cdef int num_threads() noexcept nogil:
    return lamella_get_num_threads()


def run(size_t address, size_t ctx, i64 ntasks, double nanoseconds, i64 slots):
    """Run the C function at `address`, ``void (void *ctx, int64 task, int64 slot)``, for every task; the GIL is released.

    At most `slots` threads take part, each with its own slot below `slots`; fewer where `nanoseconds`, the estimated time of one
    thread, is not worth them.
    """
    with nogil:
        lamella_run(<lm_task>address, <void *>ctx, ntasks, nanoseconds, slots)


def get_num_threads():
    return lamella_get_num_threads()


def set_num_threads(int n):
    lamella_set_num_threads(n)


def set_flush_denormals(bint on):
    """Whether kernels treat denormal numbers as zero (default) or compute with them, up to a hundred times slower."""
    global lm_flush
    lm_flush = on


def get_flush_denormals():
    return bool(lm_flush)
