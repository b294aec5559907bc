"""Finding and reading weight files: a path, the local cache, or an explicit download with a checksum."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn

from dgaug.errors import DgaugError
from dgaug.files import ZIP_ERRORS

_ZIP = b"PK\x03\x04"
RESNET50_URL = "https://download.pytorch.org/models/resnet50-11ad3fa6.pth"


def torchvision_weights(name: str, weights: str) -> Path:
    """The weight file that `weights` means for backbone `name`: a path itself, or the cached ImageNet file.

    Raises:
        DgaugError: nothing there; says where was looked, what to fetch and how to do without.
    """
    if weights not in ("imagenet", "download"):
        path = Path(weights).expanduser()
        if not path.is_file():
            raise DgaugError(f"backbone weights not found: {path}; give an existing file or --set model.weights=none")
        return path
    if name == "small":
        raise DgaugError("backbone 'small' has no ImageNet weights; use --set model.weights=none or a file")
    if name != "resnet50":
        return _timm_cache(name, fetch=weights == "download")
    path = hub_cache(RESNET50_URL)
    if weights == "download":
        return download(RESNET50_URL, path)
    if not path.is_file():
        raise DgaugError(
            f"ImageNet weights not found at {path}; put {RESNET50_URL} there, or --set model.weights=FILE, "
            "or --set model.weights=download, or start from random weights with --set model.weights=none"
        )
    return path


def download(url: str, path: Path) -> Path:
    """Fetch a file whose name ends in the start of its sha256, check it, and put it at `path`, whole.

    Raises:
        DgaugError: no network, or other contents.
    """
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rsplit("-", 1)[1], progress=False)
    except (URLError, OSError, RuntimeError) as error:
        raise DgaugError(f"could not download {url} ({error}); fetch it elsewhere and put it at {path}") from error
    return path


def hub_cache(url: str) -> Path:
    """Where torch's cache keeps what is at an address, there or not."""
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]


def _timm_cache(name: str, *, fetch: bool) -> Path:
    import timm
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    configuration = timm.get_pretrained_cfg(name)
    repository = configuration.hf_hub_id if configuration else None
    remedy = "or --set model.weights=FILE (safetensors or .pth), or --set model.weights=none"
    if not repository:
        raise DgaugError(f"timm names no ImageNet weights for {name!r}; {remedy}")
    if fetch:
        try:
            return Path(hf_hub_download(repository, "model.safetensors"))
        except (OSError, ValueError) as error:
            raise DgaugError(f"could not download the weights of {repository} ({error}); {remedy}") from error
    cached = try_to_load_from_cache(repository, "model.safetensors")
    if not isinstance(cached, str):
        from huggingface_hub.constants import HF_HUB_CACHE

        raise DgaugError(
            f"ImageNet weights of {name} not found: {repository} is not in {HF_HUB_CACHE}; "
            f"--set model.weights=download, {remedy}"
        )
    return Path(cached)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a safetensors file or a torch file; never unpickles anything else.

    Raises:
        DgaugError: not such a file, or it holds anything but tensors.
    """
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(path))
        except (SafetensorError, OSError) as error:
            raise DgaugError(f"cannot read weights from {path}: {error}") from error
    content = read_checkpoint(path)
    tensors = content.get("state_dict", content)
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise DgaugError(f"{path} is not a plain file of weights (a dictionary of tensors)")
    return tensors


def read_checkpoint(path: Path) -> dict[str, object]:
    """A torch file that holds a dictionary of tensors and plain values, read without unpickling code.

    Raises:
        DgaugError: missing, damaged, or holding objects that only an unsafe load could make.
    """
    from pickle import UnpicklingError

    if not path.is_file():
        raise DgaugError(f"no such file: {path}")
    _require_as_written(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is refused in one line, or read right
            content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise DgaugError(f"{path} is not a plain checkpoint (it holds more than tensors, or is damaged)") from error
    except (*ZIP_ERRORS, TypeError, AttributeError, AssertionError, ArithmeticError) as error:
        raise DgaugError(f"cannot read {path}: damaged or not a checkpoint") from error
    if not isinstance(content, dict):
        raise DgaugError(f"{path} holds a {type(content).__name__}, not a dictionary of tensors")
    return content


def _require_as_written(path: Path) -> None:
    """Hold a torch file against the checksums of its records, which torch's own reader passes over.

    Raises:
        DgaugError: it was damaged since it was written. Files in torch's format of before 1.6 have no checksums.
    """
    try:
        with path.open("rb") as stream:
            if stream.read(4) != _ZIP:
                return
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except ZIP_ERRORS as error:
        raise DgaugError(f"cannot read {path}: damaged or cut off ({error})") from error
    if damaged is not None:
        raise DgaugError(f"{path} was damaged after it was written: the checksum of {damaged!r} does not fit")


def load_weights(network: nn.Module, path: Path, *, name: str) -> None:
    """Load a backbone's weights; the file's own classifier is left out, nothing else may be missing.

    Raises:
        DgaugError: the file's tensors do not fit this network.
    """
    wanted = network.state_dict()
    given = {key.removeprefix("module."): tensor for key, tensor in read_tensors(path).items()}
    missing = [key for key in wanted if key not in given and not key.endswith("num_batches_tracked")]
    wrong = [key for key in wanted if key in given and given[key].shape != wanted[key].shape]
    if missing or wrong:
        raise DgaugError(
            f"{path} does not hold the weights of {name}: {len(missing)} tensors missing "
            f"and {len(wrong)} of another shape (first: {(missing + wrong)[0]})"
        )
    network.load_state_dict({key: given[key] for key in wanted if key in given}, strict=False)
