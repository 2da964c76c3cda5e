"""Helpers for networks."""

from lamella.nn.utils import rnn
from lamella.nn.utils.clip_grad import clip_grad_norm_, clip_grad_value_
from lamella.nn.utils.transfer import LoadReport, freeze, layer_groups, load_matching, replace_head, unfreeze

__all__ = [
    "LoadReport",
    "clip_grad_norm_",
    "clip_grad_value_",
    "freeze",
    "layer_groups",
    "load_matching",
    "replace_head",
    "rnn",
    "unfreeze",
]
