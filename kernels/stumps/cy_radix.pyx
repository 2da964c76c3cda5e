"""Stumps over features: values with samples in lanes, a radix sort, and the best cut of four features at a time.

    S(i) = weight[order[0]] + ... + weight[order[i]]

Shapes   sum (height + 1, width + 1, samples), norm (samples,), rectangles (F, 3, 4), weights (F, 3), out, x, order (F, samples),
         weight (samples,), extreme, cut (F, 2)
Storage  the samples of one corner of a rectangle lie side by side: the value of a feature is eight or twelve loads for a register of samples
Loops    tasks are BLOCK features, in all three
         values   features, samples
         sort     features; digits of eight bits from the lowest, of keys that rise with the value (the bits of the number; all of a negative
                  one turned, else its sign): counts of all digits in one turn over the samples, then one turn for each digit, which moves
                  numbers of samples and leaves keys in place; a digit that all samples share is passed over
         choose   groups of LANES features, samples in sorted order: the sums are chains of additions, of which so many run side by side
Edges    the last group of features is smaller: its missing lanes repeat the last feature
Cost     per feature and sample: 8 to 12 loads; 4 turns (float; double 8) over numbers in the first cache level; one read of 2 or 4 bytes and one of a
         weight, for each round of boosting
Source   Viola, Jones: Rapid object detection using a boosted cascade of simple features, 2001; Knuth: The art of computer programming 3, 5.2.5
"""
cimport numpy as cnp
from libc.math cimport INFINITY
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from lamella.kernels._common.pool cimport ANY_SLOTS, parallel_for
from lamella.kernels._common.types cimport i32, i64, real

cnp.import_array()

ctypedef uint32_t u32

ctypedef fused place:
    uint16_t
    uint32_t

cdef enum:
    BLOCK = 16      # features of a task
    LANES = 4       # features whose sums run side by side
    DIGITS = 256

cdef struct Context:
    const i32 *sum
    const float *norm
    const i32 *rectangles
    const float *weights
    float *out
    const char *x
    char *order
    const double *weight
    double *extreme
    i32 *cut
    char *slots
    i64 features, samples, width, per_slot
    bint narrow


cdef i64 slot_bytes(i64 samples) noexcept nogil:
    """Keys, two lists of samples, the counts of every digit."""
    return ((8 + 2 * 4) * samples + 8 * 4 * DIGITS + 63) // 64 * 64


def scratch(pass_, p):
    return 0, slot_bytes(p.samples) if pass_ == "sort" else 0


cdef inline void add(Context *c, const i32 *r, float w, float *out, bint first) noexcept nogil:
    """out = or += w * (sum over a rectangle), for all samples."""
    cdef i64 n = c.samples
    cdef i64 ld = c.width + 1
    cdef const i32 *a = c.sum + (r[1] * ld + r[0]) * n
    cdef const i32 *b = a + r[2] * n
    cdef const i32 *d = a + r[3] * ld * n
    cdef const i32 *e = d + r[2] * n
    cdef i64 i
    for i in range(n):
        out[i] = (0 if first else out[i]) + w * <float>(a[i] - b[i] - d[i] + e[i])


cdef void values_task(void *context, i64 task, i64 slot) noexcept nogil:
    cdef Context *c = <Context *>context
    cdef i64 f, i
    cdef float *out
    for f in range(task * BLOCK, min((task + 1) * BLOCK, c.features)):
        out = c.out + f * c.samples
        add(c, c.rectangles + 12 * f, c.weights[3 * f], out, True)
        add(c, c.rectangles + 12 * f + 4, c.weights[3 * f + 1], out, False)
        if c.weights[3 * f + 2] != 0:
            add(c, c.rectangles + 12 * f + 8, c.weights[3 * f + 2], out, False)
        for i in range(c.samples):
            out[i] *= c.norm[i]


cdef inline uint64_t key_of(real value) noexcept nogil:
    """The bits of a number, so that keys rise with values; those of -0 are those of 0."""
    cdef real v = value + 0
    cdef uint64_t bits
    if real is float:
        bits = (<u32 *>&v)[0]
        return <u32>~bits if bits >> 31 else bits | 0x80000000u
    else:
        bits = (<uint64_t *>&v)[0]
        return ~bits if bits >> 63 else bits | 0x8000000000000000u


cdef inline void sorted_feature(const real *x, place *order, i64 n, char *memory) noexcept nogil:
    cdef uint64_t *keys = <uint64_t *>memory
    cdef u32 *src = <u32 *>(keys + n)
    cdef u32 *dst = src + n
    cdef u32 *counts = dst + n
    cdef u32 *swap
    cdef u32 *count
    cdef u32 s, total, before
    cdef int digits = <int>sizeof(real)
    cdef int d, b
    cdef i64 i
    cdef uint64_t key
    memset(counts, 0, digits * DIGITS * sizeof(u32))
    for i in range(n):
        key = key_of(x[i])
        keys[i] = key
        src[i] = <u32>i
        for d in range(digits):
            counts[DIGITS * d + ((key >> (8 * d)) & 255)] += 1
    for d in range(digits):
        count = counts + DIGITS * d
        if count[(keys[0] >> (8 * d)) & 255] == n:
            continue
        total = 0
        for b in range(DIGITS):
            before = total
            total += count[b]
            count[b] = before
        for i in range(n):
            s = src[i]
            b = <int>((keys[s] >> (8 * d)) & 255)
            dst[count[b]] = s
            count[b] += 1
        swap = src
        src = dst
        dst = swap
    for i in range(n):
        order[i] = <place>(src[i] | (<u32>(i + 1 == n or keys[src[i]] == keys[src[i + 1]]) << (8 * sizeof(place) - 1)))


cdef inline void sort_block(const real *x, Context *c, i64 task, i64 slot) noexcept nogil:
    cdef i64 n = c.samples
    cdef i64 f
    for f in range(task * BLOCK, min((task + 1) * BLOCK, c.features)):
        if c.narrow:
            sorted_feature(x + f * n, <uint16_t *>c.order + f * n, n, c.slots + slot * c.per_slot)
        else:
            sorted_feature(x + f * n, <uint32_t *>c.order + f * n, n, c.slots + slot * c.per_slot)


cdef void sort_f32(void *c, i64 task, i64 slot) noexcept nogil:
    sort_block(<const float *>(<Context *>c).x, <Context *>c, task, slot)


cdef void sort_f64(void *c, i64 task, i64 slot) noexcept nogil:
    sort_block(<const double *>(<Context *>c).x, <Context *>c, task, slot)


cdef inline void choose_block(const place *order, Context *c, i64 task) noexcept nogil:
    cdef const place *o[LANES]
    cdef double total[LANES]
    cdef double most[LANES]
    cdef double least[LANES]
    cdef i32 where_most[LANES]
    cdef i32 where_least[LANES]
    cdef i64 n = c.samples
    cdef i64 first = task * BLOCK
    cdef i64 last = min(first + BLOCK, c.features) - 1
    cdef i64 i, f, _g
    cdef int l
    cdef place at
    cdef place mask = <place>~(<place>1 << (8 * sizeof(place) - 1))
    for _g in range(BLOCK // LANES):
        if first > last:
            break
        for l in range(LANES):
            o[l] = order + min(first + l, last) * n
            total[l] = 0
            most[l] = -INFINITY
            least[l] = INFINITY
            where_most[l] = -1
            where_least[l] = -1
        for i in range(n):
            for l in range(LANES):
                at = o[l][i]
                total[l] += c.weight[at & mask]
                if at <= mask:
                    if total[l] > most[l]:
                        most[l] = total[l]
                        where_most[l] = <i32>i
                    if total[l] < least[l]:
                        least[l] = total[l]
                        where_least[l] = <i32>i
        for l in range(LANES):
            f = min(first + l, last)
            c.extreme[2 * f] = most[l]
            c.extreme[2 * f + 1] = least[l]
            c.cut[2 * f] = where_most[l]
            c.cut[2 * f + 1] = where_least[l]
        first += LANES


cdef void choose_task(void *context, i64 task, i64 slot) noexcept nogil:
    cdef Context *c = <Context *>context
    if c.narrow:
        choose_block(<const uint16_t *>c.order, c, task)
    else:
        choose_block(<const uint32_t *>c.order, c, task)


cdef void shape(Context *c, p):
    c.features = p.features
    c.samples = p.samples
    c.width = p.width
    c.narrow = p.narrow


def values(p, cnp.ndarray sum, cnp.ndarray norm, cnp.ndarray rectangles, cnp.ndarray weights, cnp.ndarray out, scratch):
    cdef Context c
    shape(&c, p)
    c.sum = <const i32 *>cnp.PyArray_DATA(sum)
    c.norm = <const float *>cnp.PyArray_DATA(norm)
    c.rectangles = <const i32 *>cnp.PyArray_DATA(rectangles)
    c.weights = <const float *>cnp.PyArray_DATA(weights)
    c.out = <float *>cnp.PyArray_DATA(out)
    with nogil:
        parallel_for(values_task, &c, (c.features + BLOCK - 1) // BLOCK, 1.0 * c.features * c.samples, ANY_SLOTS)


def sort(p, cnp.ndarray x, cnp.ndarray order, cnp.ndarray scratch):
    cdef Context c
    cdef bint wide = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT64
    cdef i64 nbytes = cnp.PyArray_NBYTES(scratch)
    shape(&c, p)
    c.x = cnp.PyArray_BYTES(x)
    c.order = cnp.PyArray_BYTES(order)
    c.slots = cnp.PyArray_BYTES(scratch)
    c.per_slot = slot_bytes(c.samples)
    with nogil:
        parallel_for(
            sort_f64 if wide else sort_f32, &c, (c.features + BLOCK - 1) // BLOCK, 6.0 * c.features * (c.samples + 200), nbytes // c.per_slot
        )


def choose(p, cnp.ndarray order, cnp.ndarray weight, cnp.ndarray extreme, cnp.ndarray cut, scratch):
    cdef Context c
    shape(&c, p)
    c.order = cnp.PyArray_BYTES(order)
    c.weight = <const double *>cnp.PyArray_DATA(weight)
    c.extreme = <double *>cnp.PyArray_DATA(extreme)
    c.cut = <i32 *>cnp.PyArray_DATA(cut)
    with nogil:
        parallel_for(choose_task, &c, (c.features + BLOCK - 1) // BLOCK, 1.0 * c.features * c.samples, ANY_SLOTS)
