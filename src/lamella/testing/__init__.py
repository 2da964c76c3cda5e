"""Tools to check and understand kernels and gradients, for this library's tests and for yours."""

from lamella.testing.check import check_adjoint, check_kernel
from lamella.testing.gradcheck import gradcheck, numeric_gradient

__all__ = ["check_adjoint", "check_kernel", "gradcheck", "numeric_gradient"]
