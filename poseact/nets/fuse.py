"""Fusing a frozen network's convolutions with the sum and the ReLU that follow, for one device.

A bundle holds only plain operators, so that it loads everywhere; what is fastest here is put in when it is loaded.
Unfused, a sum and a ReLU each read and write the whole volume, which on a CPU costs as much as the convolutions.
"""

from __future__ import annotations

import logging

import torch

log = logging.getLogger(__name__)

_CONV = "aten::conv2d(%x, %w, %b, %stride, %padding, %dilation, %groups)"
_CONV_RELU = f"""
graph(%x, %w, %b, %stride, %padding, %dilation, %groups):
  %y = {_CONV}
  %z = aten::relu(%y)
  return (%z)"""
_CONV_ADD_RELU = f"""
graph(%x, %w, %b, %stride, %padding, %dilation, %groups, %residual, %one):
  %y = {_CONV}
  %s = aten::add(%y, %residual, %one)
  %z = aten::relu(%s)
  return (%z)"""
_CPU_CONV_RELU = """
graph(%x, %w, %b, %stride, %padding, %dilation, %groups):
  %relu : str = prim::Constant[value="relu"]()
  %none : NoneType = prim::Constant()
  %no_scalars : Scalar?[] = prim::ListConstruct()
  %z = mkldnn::_convolution_pointwise(%x, %w, %b, %padding, %stride, %dilation, %groups, %relu, %no_scalars, %none)
  return (%z)"""
_CPU_CONV_ADD_RELU = """
graph(%x, %w, %b, %stride, %padding, %dilation, %groups, %residual, %one):
  %add : str = prim::Constant[value="add"]()
  %relu : str = prim::Constant[value="relu"]()
  %none : NoneType = prim::Constant()
  %alpha : float = prim::Constant[value=1.0]()
  %no_scalars : Scalar?[] = prim::ListConstruct()
  %z = mkldnn::_convolution_pointwise(%x, %residual, %w, %b, %padding, %stride, %dilation, %groups, %add, %alpha, %relu, %no_scalars, %none)
  return (%z)"""
