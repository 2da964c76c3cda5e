"""What this processor can execute. Compiled for any processor of the family: it decides which other modules may be loaded."""

cdef extern from *:
    """
    static int lm_level(void) {
    #if defined(__x86_64__)
        __builtin_cpu_init();
        if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))) return 0;
        if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw")
              && __builtin_cpu_supports("avx512vl"))) return 1;
        return 2;
    #else
        return 0;
    #endif
    }
    """
    int lm_level() nogil


def supported():
    """Instruction sets this processor executes, best first: of ``v4`` (AVX-512), ``v3`` (AVX2 and FMA), ``base``."""
    return ("v4", "v3", "base")[2 - lm_level():]
