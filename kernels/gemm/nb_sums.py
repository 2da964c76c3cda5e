"""Column sums: the gradient of a bias that was added to every row; the Numba twin of cy_sums.

    db[j] = sum_i g[i, j]

Shapes   g (m, n)  db (n,)
Storage  g with unit column stride, any row stride
Loops    chunks of CHUNK rows x blocks of COLUMNS columns    parallel
         columns by NB registers: so much of a row is read at a time
         rows                                                NB independent sums stand in registers
         then, where there are several, chunks are added up as rows are
Edges    columns that fill no NB registers go one register at a time, four rows at once; the last one is masked
Sums     by chunks, so that an element passes through some CHUNK + m / CHUNK additions; chunks depend on the problem only: the same bits for
         any number of threads
Cost     g is read once: bound by memory, or by the caches where a product has just read it
"""

from functools import cache, lru_cache

from lamella.kernels._common.nb import Argument, Stage, inline, ints, program, runs, task
from lamella.kernels._common.nb_simd import simd

NB = 8  # registers of columns
CHUNK = 256
COLUMNS = 1024
RATE = 16  # bytes per ns, for the pool's estimate
ROWS, WIDTH, STEP, BLOCKS, LD, G, OUT = range(7)  # words of a stage; the first word of the context says where they begin


@cache
def block(dtype):
    """The task that sums a block of columns of a chunk."""
    item = dtype.itemsize
    wide, v = simd(dtype, NB), simd(dtype)
    lanes, line = v.lanes, wide.lanes

    @inline
    def sum_wide(g, ld, rows, out):
        s = wide.zero()
        for _ in range(rows):
            s = s + wide.load(g)
            g += ld
        wide.store(out, s)

    @inline
    def sum_register(g, ld, rows, width, out):
        s0, s1, s2, s3 = v.zero(), v.zero(), v.zero(), v.zero()
        for _ in range(rows // 4):
            s0 = s0 + v.load_n(g, width)
            s1 = s1 + v.load_n(g + ld, width)
            s2 = s2 + v.load_n(g + 2 * ld, width)
            s3 = s3 + v.load_n(g + 3 * ld, width)
            g += 4 * ld
        for _ in range(rows % 4):
            s0 = s0 + v.load_n(g, width)
            g += ld
        v.store_n(out, width, (s0 + s1) + (s2 + s3))

    @task
    def work(ctx, task, slot):
        c = ints(ctx)
        at = c[0]
        chunk, j = task // c[at + BLOCKS], task % c[at + BLOCKS] * COLUMNS
        end, ld = min(j + COLUMNS, c[at + WIDTH]), c[at + LD] * item
        rows = min(c[at + STEP], c[at + ROWS] - chunk * c[at + STEP])
        g, out = c[at + G] + chunk * c[at + STEP] * ld, c[at + OUT] + chunk * c[at + WIDTH] * item
        while j + line <= end:
            sum_wide(g + j * item, ld, rows, out + j * item)
            j += line
        while j < end:
            sum_register(g + j * item, ld, rows, min(lanes, end - j), out + j * item)
            j += lanes

    return work


def chunks_of(p):
    return max(1, -(-p.m // CHUNK))


def scratch(pass_, p):
    return (chunks_of(p) * p.n * p.dtype.itemsize if chunks_of(p) > 1 else 0), 0


@lru_cache(4096)
def programs(p):
    work, chunks, blocks, ns = block(p.dtype), chunks_of(p), -(-p.n // COLUMNS), p.n * p.dtype.itemsize / RATE
    g, db, partial = Argument(0), Argument(1), Argument(2)
    rows = [p.m, p.n, CHUNK, blocks, g.stride(0), g]
    first = Stage(work, chunks * blocks, p.m * ns)
    if chunks == 1:
        return program([1, *rows, db], first)
    sums = [chunks, p.n, chunks, blocks, p.n, partial]  # what the first stage wrote, as rows of one chunk
    return program([1, *rows, partial, *sums, db], first, Stage(work, blocks, chunks * ns, settings={0: 8}))


@runs(programs)
def backward_bias(p, g, db, scratch): ...
