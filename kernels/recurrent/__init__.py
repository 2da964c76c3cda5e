"""Recurrent layers: all steps of one direction of one layer.

    rnn_tanh, rnn_relu   h' = f(a + W h)
    lstm                 i, f, o = sigmoid(a + W h),  g = tanh(a + W h)              in the order i f g o
                         c' = f c + i g,  h' = o tanh(c')
    gru                  r, z = sigmoid(a + W h),  n = tanh(a + r (W h + b))         in the order r z n; the reset gate after the product
                         h' = (1 - z) n + z h
    gru_before           n = tanh(a + W (r h))                                       the reset gate before the product

    forward              writes h' of every step to `out`, and what backward needs
    backward             the gradients da of a, dkept of W h + b (gru), dh0 and dc0

a comes from the input: x @ W_ih.T + biases of all steps is one matrix product, as are the gradients of the weights: dW_hh is da (of gru's n, dkept) times
the previous h of every row. Only what one step needs of another is computed here.

Shapes   gates (rows, G hidden), G = 1, 4, 3: a on entry, the activated gates on return (rnn: unchanged, and None in backward)
         w (G hidden, hidden)  b (hidden,) of gru's n, or None  h0, c0 (batch, hidden); c0, cn, dcn, dc0 only for lstm
         out, kept, dkept (rows, hidden); kept is c' (lstm), W h + b (gru), r h (gru_before), None (rnn); dkept only for gru; g like out
         steps (2, length) int64: see RecurrentProblem; rows that belong to no step are not touched
Storage  the last axis of all is contiguous; rows of out and g may have any stride (half of a bidirectional result), other arrays are C-contiguous

| implementation | how | when |
|---|---|---|
| ref | NumPy in float64, step by step | the formula |
| cy_rows | some sequences per task, through all steps without a barrier; weights packed once per call for the register tile | default |
| nb_rows | the same from Numba | numba |
"""

from lamella.kernels import implementations

__getattr__ = implementations("recurrent")
