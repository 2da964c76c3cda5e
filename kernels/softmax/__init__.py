"""Softmax, its logarithm, and the losses on top of it, row by row.

    m_i = max_c x_ic        s_i = sum_c exp(x_ic - m_i)        l_ic = x_ic - m_i - log s_i

    forward                      out = exp(x - m) / s                                       softmax
    backward                     dx = y (g - sum_c g y)                                     y its output
    log_forward                  out = l                                                    log-softmax
    log_backward                 dx = g - exp(y) sum_c g                                    y its output
    cross_entropy_forward        loss_i = -(1 - e) w_t l_it - e/C sum_c w_c l_ic            t = target_i, e label smoothing
    cross_entropy_backward       dx = k_i (a_i exp(x - m) / s - e/C w_c - (1 - e) w_t [c = t])   a_i = (1 - e) w_t + e/C sum_c w_c
    cross_entropy_soft_forward   loss_i = -sum_c w_c q_ic l_ic,  q = (1 - e) target + e/C   target holds probabilities
    cross_entropy_soft_backward  dx = k_i (exp(x - m) / s sum_c w_c q_ic - w_c q_ic)
    nll_forward                  loss_i = -w_t x_it                                         x holds log-probabilities
    nll_backward                 dx = -k_i w_t [c = t]

Shapes     x, out, y, dx (rows, classes), C-contiguous; target (rows,) int64, in range or ignore_index (soft: like x); weight (classes,) or None
           g like out, for the losses like loss
reduction  none: loss (rows,), k_i = g_i.   sum: loss (1,), k = g.   mean: the sum over total, k = g / total (soft: over rows)
           total (1,) float64 is the sum of w_t over the rows that count; it may be 0, and the mean is then NaN
ignored    rows with target == ignore_index add nothing to loss and total; their dx is 0
stats      (rows, 2): m_i and s_i, what backward needs besides x. Kept apart: m + log s would lose the digits of log s for large logits
NaN        propagates through its row; so does +inf (inf - inf), as in PyTorch

| implementation | how | when |
|---|---|---|
| ref | NumPy in float64 | the formula |
| cy_rows | a row at a time, vector registers along the classes | default |
| nb_rows | the same from Numba | numba |
"""

from lamella.kernels import implementations

__getattr__ = implementations("softmax")
