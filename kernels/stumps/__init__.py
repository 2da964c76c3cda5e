"""Boosting over stumps: of all features of all samples, the threshold that tells the weighted samples apart best.

    values   out[f, n]      = (sum over r of weights[f, r] * (sum over rectangle r of window n)) * norm[n], in float32, as detectors compute it
    sort     order[f]       = the samples from the least value of feature f to the largest, of equal ones the first first
    choose   extreme[f]     = the largest and the least of S(i) = weight[order[f, 0]] + ... + weight[order[f, i]] over all cuts i, the places
                              between a sample and one of another value; -inf and inf where there is none
             cut[f]         = the first i of each; -1 where there is none

Errors     with weights above 0 for samples of class 1, below 0 for those of class 0, the stump that says 1 up to the cut errs by
           (sum of the weights above 0) - S, the one that says 1 beyond it by (-sum of those below 0) + S: the least error of all stumps of a
           feature is in its two extremes
Shapes     sum (height + 1, width + 1, samples) int32: integral images, samples side by side; norm (samples,) float32; rectangles (F, 3, 4)
           int32 x, y, width, height; weights (F, 3) float32, 0 where unused; values out (F, samples) float32; x (F, samples);
           order (F, samples); weight (samples,) float64; extreme (F, 2) float64; cut (F, 2) int32
Order      unsigned numbers of 16 bits, for more than 2^15 samples of 32, whose highest bit is set where the next sample has the same value, and
           on the last sample: where no cut can be. All that boosting has to keep of a feature
Rounding   S is summed in sorted order, in double, by every implementation: all choose the same stump

| implementation | how | when |
|---|---|---|
| ref | NumPy | the formula |
| cy_radix | samples in lanes; sorted digit by digit; four features at a time | default |
| nb_radix | the same, features one by one | numba |
"""

from lamella.kernels import implementations

__getattr__ = implementations("stumps")
