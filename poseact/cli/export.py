"""`poseact export`: from a checkpoint of PYSKL or MMAction2 to a bundle, and from a bundle to ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import say, show_warnings
from .options import Debug, Quiet, parse_subjects

Checkpoint = Annotated[
    Path,
    typer.Argument(
        metavar="CHECKPOINT.pth",
        help="Of PYSKL's or MMAction2's PoseC3D; for --onnx also a bundle.",
        show_default=False,
    ),
]
Output = Annotated[Path | None, typer.Option("-o", "--output", metavar="OUT.pt", help="The bundle to write.")]
Labels = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Class names, one a line, in the order of the checkpoint's classes.")
]
Net = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The network; `poseact models --nets` lists them.",
        show_default="read off the weights",
    ),
]
ModalityName = Annotated[
    str | None,
    typer.Option(
        metavar="auto|joint|limb", help="What its volumes show.", show_default="read off the batch norm's statistics"
    ),
]
LayoutName = Annotated[
    str | None,
    typer.Option(metavar="auto|coco17|body13", help="Keypoints that it sees.", show_default="read off the weights"),
]
Window = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="What a clip should span in video.", show_default="3.0")
]
Subjects = Annotated[
    str | None,
    typer.Option(metavar="N|all", help="People drawn into one volume; NTU RGB+D's networks see two.", show_default="2"),
]
Name = Annotated[str | None, typer.Option(help="The bundle's name.", show_default="OUT's")]
Licence = Annotated[str | None, typer.Option(help="What the bundle says of its licence.")]
Onnx = Annotated[
    Path | None, typer.Option(metavar="OUT.onnx", help="Write ONNX too, checked against the bundle by ONNX Runtime.")
]


def export(
    checkpoint: Checkpoint,
    labels: Labels = None,
    output: Output = None,
    net: Net = None,
    modality: ModalityName = None,
    layout: LayoutName = None,
    window: Window = None,
    subjects: Subjects = None,
    name: Name = None,
    licence: Licence = None,
    onnx: Onnx = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Make a bundle of a PYSKL or MMAction2 checkpoint, and ONNX of it or of a bundle."""
    show_warnings(quiet)
    from ..checkpoints import ExportJob, export_checkpoint, is_bundle
    from ..errors import UsageError
    from ..files import check_output
    from ..onnx import export_onnx, require_onnx

    given = {
        "labels": labels,
        "output": output,
        "net": net,
        "modality": modality,
        "layout": layout,
        "window": window,
        "subjects": parse_subjects(subjects),
        "name": name,
        "licence": licence,
    }
    given = {option: value for option, value in given.items() if value is not None}
    if onnx:
        check_output(onnx, [path for path in (checkpoint, labels, output) if path])
        require_onnx()
    if is_bundle(checkpoint):
        if given or not onnx:
            what = f"--{next(iter(given))} is not for bundles" if given else "give --onnx OUT.onnx to convert it"
            raise UsageError(f"{checkpoint} is a bundle already: {what}")
        bundle = checkpoint
    else:
        if output is None or labels is None:
            raise UsageError("a checkpoint needs --labels FILE and -o OUT.pt")
        export_checkpoint(ExportJob(checkpoint, **given), log=lambda text: None if quiet else say(text))  # type: ignore[arg-type]
        bundle = output
        if not quiet:
            say(f"wrote {output}")
    if onnx:
        difference = export_onnx(bundle, onnx)
        if not quiet:
            say(f"wrote {onnx}; its logits differ from the bundle's by {difference:.1e} of the largest")
