"""Making a scripted network as fast as this machine runs it.

A bundle holds plain operators and parameters, so that one file loads everywhere. When it is loaded, it is frozen
(batch norm goes into the convolutions), cast, and its convolutions take in the sum and the ReLU that follow them.
Unfused, each of these reads and writes the whole volume, which on a CPU costs as much as the convolutions.
"""

from __future__ import annotations

from typing import Literal

import torch

Precision = Literal["auto", "float32", "bfloat16", "float16"]

# {conv}: conv2d or conv3d. A weight, bias or anything else of the convolution is passed on as it is.
_ARGUMENTS = "%x, %w, %b, %stride, %padding, %dilation, %groups"
_CONV_RELU = """
graph({arguments}):
  %y = aten::{conv}({arguments})
  %z = aten::relu(%y)
  return (%z)"""
_CONV_ADD_RELU = """
graph({arguments}, %residual, %one):
  %y = aten::{conv}({arguments})
  %s = aten::add(%y, %residual, %one)
  %z = aten::relu(%s)
  return (%z)"""
_ONEDNN_CONV_RELU = """
graph({arguments}):
  %relu : str = prim::Constant[value="relu"]()
  %none : NoneType = prim::Constant()
  %empty : Scalar?[] = prim::ListConstruct()
  %z = mkldnn::_convolution_pointwise(%x, %w, %b, %padding, %stride, %dilation, %groups, %relu, %empty, %none)
  return (%z)"""
_ONEDNN_CONV_ADD_RELU = """
graph({arguments}, %residual, %one):
  %add : str = prim::Constant[value="add"]()
  %relu : str = prim::Constant[value="relu"]()
  %none : NoneType = prim::Constant()
  %alpha : float = prim::Constant[value=1.0]()
  %empty : Scalar?[] = prim::ListConstruct()
  %z = mkldnn::_convolution_pointwise(%x, %residual, %w, %b, %padding, %stride, %dilation, %groups,
    %add, %alpha, %relu, %empty, %none)
  return (%z)"""
_CUDNN_CONV_RELU = """
graph({arguments}):
  %z = aten::cudnn_convolution_relu({arguments})
  return (%z)"""
_CUDNN_CONV_ADD_RELU = """
graph({arguments}, %residual, %one):
  %alpha : float = prim::Constant[value=1.0]()
  %z = aten::cudnn_convolution_add_relu(%x, %w, %residual, %alpha, %b, %stride, %padding, %dilation, %groups)
  return (%z)"""


def freeze(script: torch.jit.ScriptModule, device: torch.device, dtype: torch.dtype) -> torch.jit.ScriptModule:
    """A frozen form of a scripted network in evaluation mode, for volumes of `dtype` on `device`.

    dtype: as `choose_dtype` gives it. Batch norm is folded in float32 before the weights are rounded.
    """
    frozen = torch.jit.freeze(script.float().to(device))
    _cast_constants(frozen.graph, dtype)
    if device.type == "cpu" and torch.backends.mkldnn.is_available():
        _rewrite(frozen.graph, _ONEDNN_CONV_ADD_RELU, _ONEDNN_CONV_RELU)
    elif device.type == "cuda" and torch.backends.cudnn.is_available() and torch.version.hip is None:
        _rewrite(frozen.graph, _CUDNN_CONV_ADD_RELU, _CUDNN_CONV_RELU)
    return frozen


def choose_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """What the network computes in. auto: float16 on CUDA, bfloat16 on a CPU that has it, else float32.

    Raises ValueError if the device cannot compute in what is asked for.
    """
    if precision == "auto":
        if device.type == "cuda":
            return torch.float16
        return torch.bfloat16 if device.type == "cpu" and has_bfloat16() else torch.float32
    if precision == "float16" and device.type == "cpu":
        raise ValueError("float16 is slow and inexact on a CPU; choose bfloat16 or float32")
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]


def has_bfloat16() -> bool:
    """Whether the processor itself multiplies bfloat16 (AVX-512 BF16 or AMX); emulated it is slower than float32."""
    if not torch.backends.mkldnn.is_available():
        return False
    asked = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    return any(supported is not None and supported() for supported in asked)


def _cast_constants(graph: torch._C.Graph, dtype: torch.dtype) -> None:
    """Cast the weights, and lay them out with the channels last as the volumes are."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for node in graph.findAllNodes("prim::Constant"):  # type: ignore[attr-defined]  # torch's stubs lack it
        if node.hasAttribute("value") and node.kindOf("value") == "t" and node.t("value").is_floating_point():
            weight = node.t("value").to(dtype)
            if weight.dim() in formats:
                weight = weight.contiguous(memory_format=formats[weight.dim()])
            node.t_("value", weight)
            node.output().inferTypeFrom(weight)


def _rewrite(graph: torch._C.Graph, conv_add_relu: str, conv_relu: str) -> None:
    for conv in ("conv2d", "conv3d"):
        for found, fused in ((_CONV_ADD_RELU, conv_add_relu), (_CONV_RELU, conv_relu)):
            texts = [text.format(arguments=_ARGUMENTS, conv=conv) for text in (found, fused)]
            torch._C._jit_pass_custom_pattern_based_rewrite_graph(*texts, graph)  # type: ignore[call-arg, arg-type]
