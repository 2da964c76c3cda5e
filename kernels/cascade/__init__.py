"""All windows of an image through an attentional cascade of boosted trees over Haar-like features.

    forward   reached[y, x]   = the number of stages that the window at (x, y) * step passes; -1: too flat to judge, -2: passed over
              score[y, x]     = the sum of the last stage it saw

Feature    value = (sum over r of weights[f, r] * (sum of the pixels in rectangles[f, r])) / spread, in float32
           spread = sqrt(area * sum of squares - (sum)^2) over the window without its outermost pixels: area times the standard deviation,
           so that brightness and contrast do not count. A window is too flat if area / spread >= 0.1
Tree       from node 0: value < thresholds[node] goes left, else right; a number above 0 is the next node, -l is leaf l
Stage      the sum of its trees' leaves, in double; passed if that is not below limits[stage]
Skip       with p.skip, a window that fails in the first stage takes its right neighbour with it
Shapes     level (ih, iw) with its sums sum, squared, tilted (ih + 1, iw + 1); reached, score (oh, ow)
Model      rectangles (F, 3, 4) x, y, width, height; weights (F, 3); slanted (F,) bytes: turned by 45 degrees, from tilted; nodes (M, 3) feature,
           left, right and thresholds (M,); leaves, one more than nodes in each tree; trees (T + 1,): the first node of each; stages (S + 1,):
           the first tree of each; limits (S,)
Rounding   with whole weights all sums are exact, so that every implementation, and OpenCV, decides alike, bit by bit

| implementation | how | when |
|---|---|---|
| ref | all windows at once, in NumPy | the formula |
| cy_blocks | sixteen neighbouring windows in registers, those left alone one by one | default |
| nb_blocks | the same | numba |
"""

from lamella.kernels import implementations

__getattr__ = implementations("cascade")
