"""Helpers for networks."""

from lamella.nn.utils import rnn
from lamella.nn.utils.clip_grad import clip_grad_norm_, clip_grad_value_

__all__ = ["clip_grad_norm_", "clip_grad_value_", "rnn"]
