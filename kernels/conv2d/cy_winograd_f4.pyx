"""Winograd F(4x4, 3x3): 36 products for 16 pixels of the output, where the formula has 144.

    Y = A^T [ sum over c of  (G g G^T) * (B^T d B) ] A           *: element by element; d 6 x 6 pixels, g 3 x 3 weights, Y 4 x 4 pixels
    dg = G^T [ sum over tiles of  (B^T d B) * (A dY A^T) ] G     the adjoint: backward_weight

          p^2   0  -1-p^2   0    1   0            p^-2    0    0
           0  -p^2  -p^2    1    1   0             s      s    s            1  1   1   1    1   0
    B^T =  0   p^2  -p^2   -1    1   0      G =    s     -s    s     A^T =  0  1  -1   p   -p   0
           0   -p   -1      p    1   0             r     pr  p^2 r          0  1   1  p^2  p^2  0
           0    p   -1     -p    1   0             r    -pr  p^2 r          0  1  -1  p^3 -p^3  1
           0   p^2   0  -1-p^2   0   1             0      0    1
    p = 5/8    s = 1 / (2 - 2p^2)    r = 1 / (2p^4 - 2p^2): interpolation at 0, 1, -1, p, -p and infinity

Shapes   images (mb, c, h, w) in channels-last memory, weights (oc, ic, 3, 3); stride 1, any padding and dilation; several groups, if
         their channels fill half a register and more.
         backward_input is the forward pass of g with weights turned by 180 degrees, channels exchanged and padding 2 dh - ph, 2 dw - pw.
         A dilated convolution is an ordinary one on each of its dh * dw sub-images, of every dh-th row and dw-th column: the pixels of a tile lie so far apart.
Storage  V = B^T d B [36][tile][ic]    U = G g G^T [panel of nr channels][36][ic][nr]    M = V U [36][tile][nr]    dM = A dY A^T [36][tile][oc]
         dU = V^T dM [36][ic][nr], ic of a group; nr is one register if that holds the group's oc.  Rows of V and dM and the 36 planes of each are an odd number of cache lines apart: a tile's 36
         streams and a register tile's rows spread over all sets of L1.
Transforms   lanes = channels, a tile in registers; weights are transposed in registers on their way in and gradients on their way out
Tile     forward, backward_input                              backward_weight
         rows: up to mr tiles, V read in place, of equal number    rows: up to mr channels of x, V read in place
         columns: nr channels, depth: channels of the source       columns: nr channels of g, depth: tiles
Loops    few channels (U at most 3 MB): U once per call; tasks are blocks of tiles
           V of the block        in L2
           panels                U streams past it, from L2 or L3
             36 products         M of the block and panel, in L2; meanwhile the pixels to be read and written next are fetched
             Y                   bias and activation on the way out
         many channels or few tiles: V for a span of tiles, by all threads; then tasks are panels
           U of the panel        made by the task that uses it up: it never sees memory. With few tiles slice by slice, in L2, adding to M
             blocks of tiles     M and Y as above
         backward_weight: V and dM for a span of tiles, by all threads; then tasks are panels x blocks of channels
           36 products           dU of the task, in L2
           dg                    from dU at once, nine instead of 36 numbers; added to those of earlier spans
         the same for few channels, where a thread computes with V and dM faster than another one could read them: tasks are chunks of tiles,
         each with spans and sums of its own; then the sums are added up
         several groups: as many as fill a tile's rows of V or dM in L2 are transformed together; tasks are blocks or chunks of tiles x such sets
Edges    pixels outside an image, and tiles that hang over, read a pixel of zeros through a table of addresses; stores look at the tile's
         extent once per row. The last panel is padded, the last register of channels masked.
Cost     36/16 multiplications per output, channel and channel; transforms of about 700 cycles per tile and register of channels
         (memory included); U, 230 cycles per 16 weights
Error    float32, 512 channels: at most 2e-5 of max|y| (measured 1.2e-5; direct: 4e-7), float64 2e-14; backward_weight 6e-6. Points 2 or 1/2 lose
         twice as much.
Threads  spans, blocks and the order of all sums depend on the problem only.
Loses    to cy_direct for few channels (transforms), to F(2x2) for few pixels and many channels (making U)
After    Lavin and Gray, CVPR 2016, arXiv:1509.09308; Barabasz et al., ACM TOMS 46(4), 2020, arXiv:1803.10986 (points and errors).
"""
cdef enum:
    M = 4

include "winograd.pxi"
