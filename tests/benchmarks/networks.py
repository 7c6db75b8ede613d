"""How fast the networks run, against PYSKL's form of them: 3D convolutions, eager, float32 (on a GPU TF32).

    python tests/benchmarks/networks.py                             # one clip on this CPU
    python tests/benchmarks/networks.py --device cuda --batch 32
    python tests/benchmarks/networks.py --device cuda --batch 32 --train [--compile]        # a training step

Runs of all forms take turns, so that what else the machine does falls on all of them; figures are medians. Each form
starts from a volume as its own side makes it, which is not timed: the peer's in float32 and in the order
(N, K, T, H, W); ours as `draw_volume` makes it, the channels last, with zeros as further ones to train on a GPU.
"""

import argparse
import copy
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F

from poseact.cli import keep_freed_memory
from poseact.nets import NETS
from poseact.nets.conv import plain_form, suit_gpu
from poseact.nets.freeze import freeze, has_bfloat16
from poseact.training.loop import compiled_for_training, training_dtype


def inference_forms(net: nn.Module, volume: torch.Tensor, compiled: bool) -> dict:
    device = volume.device
    peer = plain_form(net).eval()
    forms = {"peer: 3D, eager, float32": (peer, volume.contiguous())}
    half = [torch.float16, torch.bfloat16] if device.type == "cuda" else [torch.bfloat16] * has_bfloat16()
    for dtype in (torch.float32, *half):
        fast = freeze(torch.jit.script(copy.deepcopy(net).eval()), device, dtype)
        forms[f"ours: frozen, {str(dtype)[6:]}"] = (fast, as_drawn(volume, dtype, net.inputs))
    if compiled:
        half_net = torch.compile(copy.deepcopy(net).eval().half())
        forms["ours: compiled, float16"] = (half_net, as_drawn(volume, torch.float16, net.inputs))
    return {name: _inferring(form, volume) for name, (form, volume) in forms.items()}


def _inferring(form: nn.Module, volume: torch.Tensor):
    def run():
        with torch.inference_mode():
            form(volume)

    return run


def training_forms(net: nn.Module, volume: torch.Tensor, compiled: bool) -> dict:
    forms = {"peer: 3D, eager, float32": _training(plain_form(net), volume, False, False)}
    ours = copy.deepcopy(net)
    if volume.is_cuda:
        suit_gpu(ours)
    for dtype in dict.fromkeys((torch.float32, training_dtype(ours, volume.device))):
        drawn, amp = as_drawn(volume, dtype, ours.inputs + ours.extra_inputs), dtype == torch.bfloat16
        forms[f"ours: 2D, {str(dtype)[6:]}"] = _training(copy.deepcopy(ours), drawn, amp, False)
    if compiled:
        forms[f"ours: 2D, {str(dtype)[6:]}, compiled"] = _training(ours, drawn, amp, True)
    return forms


def as_drawn(volume: torch.Tensor, dtype: torch.dtype, channels: int) -> torch.Tensor:
    """The volume (N, K, T, H, W) with zeros as further channels, laid out as `draw_volume` does."""
    n, k, *picture = volume.shape
    drawn = torch.zeros((n, *picture, channels), dtype=dtype, device=volume.device)
    drawn[..., :k] = volume.movedim(1, -1)
    return drawn.movedim(-1, 1)


def _training(net: nn.Module, volume: torch.Tensor, amp: bool, compiled: bool):
    device, net = volume.device.type, net.train()
    labels = torch.arange(len(volume), device=volume.device) % 60
    fused = {"fused": True} if amp and device == "cuda" else {}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=3e-4, nesterov=True, **fused)
    forward = compiled_for_training(net, device) if compiled else net

    def run():
        with torch.autocast(device, dtype=torch.bfloat16, enabled=amp):
            logits = forward(volume)
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    return run


def measure(forms: dict, rounds: int, cuda: bool) -> None:
    times = {name: [] for name in forms}
    for _ in range(rounds + 3):
        for name, run in forms.items():
            started = time.perf_counter()
            run()
            if cuda:
                torch.cuda.synchronize()
            times[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(found[3:]) for name, found in times.items()}
    peer = next(iter(medians.values()))
    for name, median in medians.items():
        print(f"  {name:32} {1e3 * median:8.1f} ms   {peer / median:5.2f} times the peer's speed", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", default="slowonly,x3d-s,c3d-s")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    keep_freed_memory()
    cuda = arguments.device.startswith("cuda")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    for name in arguments.nets.split(","):
        net = NETS[name].build(17, 60).to(arguments.device)
        shape = (arguments.batch, 17, NETS[name].clip_len, *NETS[name].size)
        volume = torch.rand(shape, device=arguments.device)
        volume = volume * (volume > 0.99)
        what, forms = ("a training step", training_forms) if arguments.train else ("inference", inference_forms)
        print(f"{name}, batch {arguments.batch}, {arguments.device}, {what}", flush=True)
        measure(forms(net, volume, arguments.compile), arguments.rounds, cuda)


if __name__ == "__main__":
    main()
