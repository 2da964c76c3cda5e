"""exp, expm1, log, softplus, tanh, the logistic function and erf on vector registers, float and double.

Every lane is computed by the same branch-free arithmetic, so a value never
depends on its neighbours. NaN propagates; limits are reached without overflow
on the way. The bounds below are tested; results that would be denormal may be 0.

    v_exp       2 ulp     0 at -inf, inf where e^x is beyond the largest number
    v_exp_below 2 ulp + |x| / 20 ulp      for x <= 0 that is a rounded difference, off by up to |x| ulp itself
    v_expm1     2 ulp     e^x - 1, -1 at -inf; from x = 88 (709) on it stays as large as there
    v_log       2 ulp     -inf at 0, NaN below
    v_softplus  4 ulp     log(1 + e^x), without overflow
    v_sigmoid   4 ulp     1 / (1 + exp(-x))
    v_tanh      4 ulp     odd, exactly +-1 beyond +-9.1 (+-19.1)
    v_erf       4 ulp     odd, exactly +-1 beyond +-3.94 (+-5.93)

exp      x = n ln2 + r, |r| <= ln2 / 2, with ln2 in two parts of which the first times n is exact (Cody and Waite; v_exp_below: in one);
         e^x = 2^n (1 + r + r^2 q(r)), q the Chebyshev fit of (e^r - 1 - r) / r^2
log      x = 2^n (1 + f), s = f / (2 + f):  log x = n ln2 + f - (f^2/2 - s (f^2/2 + s^2 R(s^2))), R the fit of (2 atanh(s)/s - 2) / s^2
tanh     e = e^(2|x|) - 1 from the parts of the above without cancellation; tanh |x| = e / (e + 2)
expm1    2^n (e^r - 1) + (2^n - 1) from the parts of exp without cancellation
softplus max(x, 0) + log(1 + u), u = e^-|x|; the 1 + u of log is split as 1 + f or 2 (1 + f), f exact
erf      erf |x| = 1 - e^(-|x| P(|x|)), from the parts of exp without cancellation as tanh; P the fit of -log(erfc(a)) / a, weighted by what its
         error does to erf: one branch-free formula from 0 to where erf rounds to 1

After    Cody and Waite, Software Manual for the Elementary Functions, 1980; Tang, ACM TOMS 15(2), 1989.
"""
from lamella.kernels._common.simd cimport (
    LM_ROUND_D, LM_ROUND_F, LM_VB,
    v_add, v_and, v_andnot, v_div, v_eq, v_exponent, v_fma, v_gt, v_mantissa, v_max, v_min, v_mul, v_or, v_scale, v_select, v_set, v_sub, v_zero, vec,
)
from lamella.kernels._common.types cimport real

cdef extern from "math.h" nogil:
    double INFINITY
    double NAN


cdef inline vec reduce_exp(real t, vec x, vec *n) noexcept nogil:
    """r of x = n ln2 + r."""
    cdef vec whole
    if real is float:
        whole = v_sub(t, v_fma(t, x, v_set(<real>1.4426950408889634), v_set(LM_ROUND_F)), v_set(LM_ROUND_F))
        x = v_fma(t, whole, v_set(<real>-0.693359375), x)
        x = v_fma(t, whole, v_set(<real>2.1219444005469058e-4), x)
    else:
        whole = v_sub(t, v_fma(t, x, v_set(<real>1.4426950408889634), v_set(LM_ROUND_D)), v_set(LM_ROUND_D))
        x = v_fma(t, whole, v_set(<real>-0.693145751953125), x)
        x = v_fma(t, whole, v_set(<real>-1.4286068203094172e-6), x)
    n[0] = whole
    return x


cdef inline vec exp_tail(real t, vec r) noexcept nogil:
    """q(r) = (e^r - 1 - r) / r^2 for |r| <= ln2 / 2."""
    cdef vec q
    if real is float:
        q = v_set(<real>0.0013926213466332443)
        q = v_fma(t, q, r, v_set(<real>0.0083632029715758549))
        q = v_fma(t, q, r, v_set(<real>0.041666554437685939))
        q = v_fma(t, q, r, v_set(<real>0.16666576845993976))
        return v_fma(t, q, r, v_set(<real>0.5))
    else:
        q = v_set(<real>2.5100424157005067e-8)
        q = v_fma(t, q, r, v_set(<real>2.7620138719733996e-7))
        q = v_fma(t, q, r, v_set(<real>2.7557268378684193e-6))
        q = v_fma(t, q, r, v_set(<real>2.4801521190217728e-5))
        q = v_fma(t, q, r, v_set(<real>1.9841269863105869e-4))
        q = v_fma(t, q, r, v_set(<real>0.0013888888917281793))
        q = v_fma(t, q, r, v_set(<real>0.0083333333333300513))
        q = v_fma(t, q, r, v_set(<real>0.041666666666623992))
        q = v_fma(t, q, r, v_set(<real>0.16666666666666667))
        return v_fma(t, q, r, v_set(<real>0.5000000000000001))


cdef inline vec exp_poly(real t, vec r) noexcept nogil:
    """e^r - 1 for |r| <= ln2 / 2, with a small relative error."""
    return v_fma(t, v_mul(t, r, r), exp_tail(t, r), r)


cdef inline vec exp_near(real t, vec r) noexcept nogil:
    """e^r for |r| <= ln2 / 2."""
    cdef vec one = v_set(<real>1)
    return v_fma(t, v_fma(t, exp_tail(t, r), r, one), r, one)


cdef inline vec v_exp(real t, vec x) noexcept nogil:
    """e^x within 2 ulp."""
    cdef vec n, r
    if real is float:
        x = v_max(t, v_set(<real>-104), v_min(t, v_set(<real>89), x))
    else:
        x = v_max(t, v_set(<real>-746), v_min(t, v_set(<real>710), x))
    r = reduce_exp(t, x, &n)
    return v_scale(t, exp_near(t, r), n)


cdef inline vec v_exp_below(real t, vec x) noexcept nogil:
    """e^x for x <= 0 within 2 + |x| / 20 ulp: for differences, which were rounded before."""
    cdef vec n
    if real is float and LM_VB >= 32:       # with FMA: n ln2 is not rounded
        x = v_max(t, v_set(<real>-104), x)
        n = v_sub(t, v_fma(t, x, v_set(<real>1.4426950408889634), v_set(LM_ROUND_F)), v_set(LM_ROUND_F))
        return v_scale(t, exp_near(t, v_fma(t, n, v_set(<real>-0.6931471805599453), x)), n)
    else:
        return v_exp(t, x)


cdef inline vec v_expm1(real t, vec x) noexcept nogil:
    """e^x - 1 within 2 ulp for x <= 88 (709); beyond, the value there."""
    cdef vec n, r, power
    if real is float:       # below -20 (-40) it rounds to -1
        x = v_max(t, v_set(<real>-20), v_min(t, v_set(<real>88), x))
    else:
        x = v_max(t, v_set(<real>-40), v_min(t, v_set(<real>709), x))
    r = reduce_exp(t, x, &n)
    power = v_scale(t, v_set(<real>1), n)
    return v_fma(t, power, exp_poly(t, r), v_sub(t, power, v_set(<real>1)))


cdef inline vec log_parts(real t, vec n, vec f) noexcept nogil:
    """log(2^n (1 + f)), sqrt(1/2) <= 1 + f < sqrt(2)."""
    cdef vec s, z, h, p, y
    s = v_div(t, f, v_add(t, f, v_set(<real>2)))
    z = v_mul(t, s, s)
    h = v_mul(t, v_mul(t, f, f), v_set(<real>0.5))
    if real is float:
        p = v_set(<real>0.23331040834029353)
        p = v_fma(t, p, z, v_set(<real>0.28550799730209069))
        p = v_fma(t, p, z, v_set(<real>0.40000122025712325))
        p = v_fma(t, p, z, v_set(<real>0.66666666554269726))
    else:
        p = v_set(<real>0.14617128399807300)
        p = v_fma(t, p, z, v_set(<real>0.15331666676597174))
        p = v_fma(t, p, z, v_set(<real>0.18182890778026130))
        p = v_fma(t, p, z, v_set(<real>0.22222211112104947))
        p = v_fma(t, p, z, v_set(<real>0.28571428626114518))
        p = v_fma(t, p, z, v_set(<real>0.39999999999899198))
        p = v_fma(t, p, z, v_set(<real>0.66666666666666697))
    y = v_mul(t, s, v_fma(t, z, p, h))
    if real is float:
        y = v_fma(t, n, v_set(<real>-2.1219444005469058e-4), y)
        return v_fma(t, n, v_set(<real>0.693359375), v_sub(t, f, v_sub(t, h, y)))
    else:
        y = v_fma(t, n, v_set(<real>1.4286068203094172e-6), y)
        return v_fma(t, n, v_set(<real>0.693145751953125), v_sub(t, f, v_sub(t, h, y)))


cdef inline vec v_log(real t, vec x) noexcept nogil:
    """log x within 2 ulp."""
    cdef vec n, y, tiny, u
    if real is float:
        tiny = v_gt(t, v_set(<real>1.1754943508222875e-38), x)
    else:
        tiny = v_gt(t, v_set(<real>2.2250738585072014e-308), x)
    u = v_select(tiny, v_mul(t, x, v_set(<real>18014398509481984.0)), x)     # 2^54 lifts denormals
    n = v_sub(t, v_exponent(t, u), v_and(tiny, v_set(<real>54)))
    y = log_parts(t, n, v_sub(t, v_mantissa(t, u), v_set(<real>1)))
    y = v_select(v_gt(t, v_set(<real>INFINITY), x), y, x)                           # inf and NaN are their own logarithms
    y = v_select(v_eq(t, x, v_zero()), v_set(<real>-INFINITY), y)
    return v_select(v_gt(t, v_zero(), x), v_set(<real>NAN), y)


cdef inline vec v_sigmoid(real t, vec x) noexcept nogil:
    """1 / (1 + e^-x) within 4 ulp; an overflow of e^-x gives 0."""
    cdef vec one = v_set(<real>1)
    return v_div(t, one, v_add(t, one, v_exp(t, v_sub(t, v_zero(), x))))


cdef inline vec v_softplus(real t, vec x) noexcept nogil:
    """log(1 + e^x) within 4 ulp."""
    cdef vec one = v_set(<real>1)
    cdef vec u = v_exp(t, v_or(v_set(<real>-0.0), x))
    cdef vec large = v_gt(t, u, v_set(<real>0.41421356))
    cdef vec f = v_select(large, v_mul(t, v_sub(t, u, one), v_set(<real>0.5)), u)
    return v_add(t, v_max(t, v_zero(), x), log_parts(t, v_and(large, one), f))


cdef inline vec v_tanh(real t, vec x) noexcept nogil:
    """tanh x within 4 ulp."""
    cdef vec sign = v_set(<real>-0.0)
    cdef vec one = v_set(<real>1)
    cdef vec n, r, power, e
    e = v_andnot(sign, x)
    if real is float:       # beyond these, tanh rounds to 1
        e = v_min(t, v_set(<real>9.1), e)
    else:
        e = v_min(t, v_set(<real>19.1), e)
    r = reduce_exp(t, v_add(t, e, e), &n)
    power = v_scale(t, one, n)
    e = v_fma(t, power, exp_poly(t, r), v_sub(t, power, one))
    return v_or(v_div(t, e, v_add(t, e, v_set(<real>2))), v_and(sign, x))


cdef inline vec v_erf(real t, vec x) noexcept nogil:
    """erf x within 4 ulp."""
    cdef vec sign = v_set(<real>-0.0)
    cdef vec one = v_set(<real>1)
    cdef vec n, r, power, q, a
    a = v_andnot(sign, x)
    if real is float:       # beyond these, erf rounds to 1
        a = v_min(t, v_set(<real>3.94), a)
        q = v_set(<real>9.2173526030146968e-6)
        q = v_fma(t, q, a, v_set(<real>-0.00011729798887723357))
        q = v_fma(t, q, a, v_set(<real>0.00063162581948088118))
        q = v_fma(t, q, a, v_set(<real>-0.0016648295649846055))
        q = v_fma(t, q, a, v_set(<real>0.0001582190646737319))
        q = v_fma(t, q, a, v_set(<real>0.019154202597017697))
        q = v_fma(t, q, a, v_set(<real>-0.10277810763478229))
        q = v_fma(t, q, a, v_set(<real>-0.63661935859461416))
        q = v_fma(t, q, a, v_set(<real>-1.1283791718962193))
    else:
        a = v_min(t, v_set(<real>5.93), a)
        q = v_set(<real>3.5869726141413267e-15)
        q = v_fma(t, q, a, v_set(<real>-1.6127712827325345e-13))
        q = v_fma(t, q, a, v_set(<real>3.3604500053488893e-12))
        q = v_fma(t, q, a, v_set(<real>-4.2973414812194437e-11))
        q = v_fma(t, q, a, v_set(<real>3.7572294022638489e-10))
        q = v_fma(t, q, a, v_set(<real>-2.3585231121664515e-9))
        q = v_fma(t, q, a, v_set(<real>1.0764729135214863e-8))
        q = v_fma(t, q, a, v_set(<real>-3.4555954597130741e-8))
        q = v_fma(t, q, a, v_set(<real>6.5657442910517071e-8))
        q = v_fma(t, q, a, v_set(<real>1.1867160256119703e-8))
        q = v_fma(t, q, a, v_set(<real>-5.7089710050776765e-7))
        q = v_fma(t, q, a, v_set(<real>2.0375403887624406e-6))
        q = v_fma(t, q, a, v_set(<real>-3.1333356347404412e-6))
        q = v_fma(t, q, a, v_set(<real>-3.1693569509480844e-6))
        q = v_fma(t, q, a, v_set(<real>2.9575458709101761e-5))
        q = v_fma(t, q, a, v_set(<real>-6.4420364662582641e-5))
        q = v_fma(t, q, a, v_set(<real>-2.5904541463277031e-5))
        q = v_fma(t, q, a, v_set(<real>0.00059013244199477516))
        q = v_fma(t, q, a, v_set(<real>-0.0016962076722177874))
        q = v_fma(t, q, a, v_set(<real>0.00020919485422934456))
        q = v_fma(t, q, a, v_set(<real>0.019128446993070501))
        q = v_fma(t, q, a, v_set(<real>-0.1027726033013142))
        q = v_fma(t, q, a, v_set(<real>-0.63661977236759104))
        q = v_fma(t, q, a, v_set(<real>-1.1283791670955125))
    r = reduce_exp(t, v_mul(t, a, q), &n)
    power = v_scale(t, one, n)
    q = v_fma(t, power, exp_poly(t, r), v_sub(t, power, one))
    return v_or(v_andnot(sign, q), v_and(sign, x))
