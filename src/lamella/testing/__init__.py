"""Tools to check and understand kernels and gradients, for this library's tests and for yours."""

from lamella.testing.check import check_adjoint, check_kernel
from lamella.testing.explain import Explanation, explain
from lamella.testing.gradcheck import gradcheck, numeric_gradient

__all__ = ["Explanation", "check_adjoint", "check_kernel", "explain", "gradcheck", "numeric_gradient"]
