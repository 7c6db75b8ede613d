"""Making a scripted network as fast as this machine runs it.

A bundle holds plain operators and parameters, so that one file loads everywhere. When it is loaded, it is frozen
(batch norm goes into the convolutions), cast, and its convolutions take in the sum and the ReLU that follow them.
Unfused, each of these reads and writes the whole volume, which on a CPU costs as much as the convolutions.
"""

from __future__ import annotations

from typing import Literal

import torch

from .conv import suit_gpu

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
    script = script.float().to(device)
    if device.type == "cuda":
        suit_gpu(script)
    frozen = torch.jit.freeze(script, optimize_numerics=False)
    # The aligned weight is a constant only then, and batch norm goes into nothing else.
    torch._C._jit_pass_constant_propagation(frozen.graph)
    torch.jit.run_frozen_optimizations(frozen)
    _cast_constants(frozen.graph, dtype)
    if device.type == "cpu" and torch.backends.mkldnn.is_available():
        _rewrite(frozen.graph, _ONEDNN_CONV_ADD_RELU, _ONEDNN_CONV_RELU)
    elif device.type == "cuda" and torch.backends.cudnn.is_available() and torch.version.hip is None:
        _join_biases(frozen.graph)
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


def _join_biases(graph: torch._C.Graph) -> None:
    """Of two convolutions that are summed, let the first add both biases.

    cuDNN adds a bias for nothing only where a ReLU follows too, so the other's would cost a pass over the volume.
    """
    nothing = next((n for n in graph.findAllNodes("prim::Constant") if str(n.output().type()) == "NoneType"), None)  # type: ignore[attr-defined]
    for add in graph.findAllNodes("aten::add"):  # type: ignore[attr-defined]
        convs = [conv for value in list(add.inputs())[:2] if (conv := _convolution_behind(value))]
        if nothing is None or len(convs) < 2:
            continue
        biases = [conv.inputsAt(2).node() for conv in convs]
        if all(bias.hasAttribute("value") and len(bias.output().uses()) == 1 for bias in biases):
            biases[0].t_("value", biases[0].t("value") + biases[1].t("value"))
            convs[1].replaceInput(2, nothing.output())


def _convolution_behind(value: torch._C.Value) -> torch._C.Node | None:
    """The convolution whose answer this is, through views of it; None if it is another's or is used elsewhere too."""
    while len(value.uses()) == 1:
        node = value.node()
        if node.kind() in ("aten::conv2d", "aten::conv3d"):
            return node
        if node.kind() not in ("aten::flatten", "aten::unflatten", "aten::transpose", "aten::permute"):
            break
        value = node.inputsAt(0)
    return None


def _rewrite(graph: torch._C.Graph, conv_add_relu: str, conv_relu: str) -> None:
    for conv in ("conv2d", "conv3d"):
        for found, fused in ((_CONV_ADD_RELU, conv_add_relu), (_CONV_RELU, conv_relu)):
            texts = [text.format(arguments=_ARGUMENTS, conv=conv) for text in (found, fused)]
            torch._C._jit_pass_custom_pattern_based_rewrite_graph(*texts, graph)  # type: ignore[call-arg, arg-type]
