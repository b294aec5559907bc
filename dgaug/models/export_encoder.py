"""A trained re-id network as one file for other programs: TorchScript, or ONNX (extra `onnx`)."""

from __future__ import annotations

import importlib.metadata
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dgaug.data.normalisation import IMAGENET_MEAN, IMAGENET_STD
from dgaug.errors import DgaugError
from dgaug.files import whole
from dgaug.models.checkpoints import load_reid
from dgaug.models.reid import AnyReidNetwork, ReidNetwork
from dgaug.models.torchscript import (
    TOLERANCE,
    Run,
    TracedNetwork,
    difference_of,
    example_images,
    read_program,
    save_program,
    trace,
)
from dgaug.outputs import require_free
from dgaug.surroundings import as_found

KINDS = ("torchscript", "onnx")
OPSET = 17


class Encoder(nn.Module):
    """From RGB images float32 [B, 3, H, W] in 0..1 to re-id features [B, D], normalisation and mirror included."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: AnyReidNetwork, *, flip: bool = True) -> None:
        super().__init__()
        self.network = network
        self.flip = flip
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None])
        self.register_buffer("deviation", torch.tensor(IMAGENET_STD)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """The features, each head's part of unit length (see `ReidNetwork.features`)."""
        return self.network.features((images - self.mean) / self.deviation, flip=self.flip)


@dataclass(frozen=True)
class EncoderExport:
    """What was written.

    Attributes:
        out: the file.
        to: `torchscript` or `onnx`.
        image_size: [H, W] of the images that it takes; any number of them.
        feature_length: D.
        difference: the largest between a number of its features and of the network's, on images of noise.
    """

    out: Path
    to: str
    image_size: tuple[int, int]
    feature_length: int
    difference: float


@as_found
def export_encoder(
    checkpoint: str | Path, *, to: str = "torchscript", out: str | Path, flip: bool = True, force: bool = False
) -> EncoderExport:
    """Write the encoder of a re-id or DG-Net checkpoint in another form, and check that it says the same.

    The file takes images float32 [B, 3, H, W], RGB in 0..1 and resized (bicubic) to the size that its metadata
    name, and returns features [B, D] with each head's part of unit length, prim first. The metadata are the entry
    `dgaug` of an ONNX model, and the extra file `dgaug.json` of a TorchScript archive.

    Args:
        checkpoint: what `eval-reid` reads.
        to: `torchscript` or `onnx`.
        out: the new file.
        flip: average over each image and its mirror inside the model, at twice the work.
        force: write over a file.

    Raises:
        DgaugError: an unknown form, `out` exists, a bad checkpoint, ONNX is not installed, the network cannot be
            written in this form, or the exported form gives other features; then no file is left.
    """
    path = Path(out)
    if to not in KINDS:
        raise DgaugError(f"unknown form of an encoder {to!r}; known are {', '.join(KINDS)}")
    if to == "onnx":
        _require_onnx()
    require_free(path, force=force)
    model = load_reid(Path(checkpoint))
    encoder = Encoder(model.network, flip=flip).eval()
    height, width = model.image_size
    described = {
        "input": "RGB images float32 [B, 3, H, W] in 0..1, resized bicubic",
        "image_size": [height, width],
        "output": "features float32 [B, D], each part of unit length, prim first",
        "feature_length": model.network.feature_length,
        "parts": len(model.network.heads) if isinstance(model.network, ReidNetwork) else 1,
        "flip": flip,
        "checkpoint_sha256": model.sha256,
        "dgaug_version": importlib.metadata.version("dgaug"),
    }
    with whole(path) as aside:
        difference = _written(
            encoder, example_images(model.image_size), to, aside, json.dumps(described), source=str(checkpoint)
        )
        if not difference <= TOLERANCE:
            raise DgaugError(
                f"the {to} form of {checkpoint} gives features that differ by {difference:.2g} from the network's, "
                f"more than {TOLERANCE:g}; nothing was written"
            )
    return EncoderExport(path, to, model.image_size, model.network.feature_length, difference)


def _written(encoder: Encoder, noise: Tensor, to: str, path: Path, described: str, *, source: str) -> float:
    """Write the form and run it; the largest difference of a feature from the network's."""
    try:
        run = _WRITERS[to](encoder, noise[:2], path, described)
        return difference_of(run, noise, [encoder(noise)])
    except (DgaugError, OSError, MemoryError):
        raise
    except Exception as error:  # whatever tracers, exporters and runtimes raise at a layer that they do not know
        reason = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), "")
        other = next(kind for kind in KINDS if kind != to)
        raise DgaugError(
            f"{source} cannot be written as {to}, try --to {other}: {type(error).__name__}: {reason[:300]}"
        ) from error


def _write_torchscript(encoder: Encoder, example: Tensor, path: Path, described: str) -> Run:
    save_program(trace(encoder, example), str(path), files={"dgaug.json": described})
    program = read_program(str(path))
    return lambda images: [program(images)]


def _write_onnx(encoder: Encoder, example: Tensor, path: Path, described: str) -> Run:
    import onnx
    import onnxruntime

    # The exporter traces by itself, but not through a program that was traced before.
    exported = trace(encoder, example) if isinstance(encoder.network, TracedNetwork) else encoder
    names = {"pictures": {0: "batch"}, "features": {0: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter by tracing needs no further package, and torch calls it legacy
        torch.onnx.export(
            exported,
            (example,),
            str(path),
            input_names=["pictures"],
            output_names=["features"],
            dynamic_axes=names,
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {"dgaug": described})
    onnx.save(model, str(path))
    session: Any = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: [torch.from_numpy(session.run(None, {"pictures": images.numpy()})[0])]


_WRITERS: dict[str, Callable[[Encoder, Tensor, Path, str], Run]] = {
    "torchscript": _write_torchscript,
    "onnx": _write_onnx,
}


def _require_onnx() -> None:
    missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise DgaugError(f"ONNX needs {' and '.join(missing)}, not installed here: pip install 'dgaug[onnx]'")
