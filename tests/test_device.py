"""`--device`: the device that is named, or one line that says what is wrong with it."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from tiny_run import RunCommand

from dgaug.device import default_device, named_device, on_device, require_precision, use_device
from dgaug.distributed import Processes
from dgaug.errors import DgaugError
from dgaug.report.doctor import examine
from dgaug.runs import Run

TOO_OLD = (
    "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040). Please update your GPU "
    "driver by downloading and installing a new version from the URL: http://www.nvidia.com/Download/index.aspx "
    "Alternatively, go to: https://pytorch.org to install a PyTorch version that has been compiled with your version "
    "of the CUDA driver. (Triggered internally at /pytorch/c10/cuda/CUDAFunctions.cpp:119.)"
)
COMMANDS = {
    "train": [],
    "synthesize": [],
    "score-fid": [],
    "train-reid": [],
    "eval-reid": ["a.pt", "--data", "b"],
    "ablate": [],
    "study": [],
    "grid": [],
    "swap": ["a.jpg", "b.jpg"],
    "interpolate": ["a.jpg", "b.jpg"],
    "demo": [],
    "report": [],
    "export": ["store", "--to", "csv", "--out", "c"],
}


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cards, as torch tells of them; nothing computes there."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "Card")
    monkeypatch.setattr(torch.cuda, "_exchange_device", lambda index: 0, raising=False)
    monkeypatch.setattr(torch.cuda, "_maybe_exchange_device", lambda index: 0, raising=False)


@pytest.fixture
def no_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")


def refusal(name: str) -> str:
    with pytest.raises(DgaugError) as refused:
        named_device(name)
    return str(refused.value)


@pytest.mark.usefixtures("cards")
def test_devices_by_name() -> None:
    assert [str(named_device(name)) for name in ("auto", "cpu", "cuda", "cuda:1")] == ["cuda", "cpu", "cuda", "cuda:1"]


@pytest.mark.usefixtures("cards")
@pytest.mark.parametrize("name", ["cuda:2", "gpu", "cuda:-1", "cuda:x", "", "mps", "meta"])
def test_a_device_that_does_not_exist_is_answered_with_those_that_do(name: str) -> None:
    output = refusal(name)
    assert output.endswith("here: cpu, cuda:0 (Card), cuda:1 (Card)")
    assert name in output


def test_without_a_card_auto_is_the_cpu(no_cards: None) -> None:
    assert default_device() == torch.device("cpu") == named_device("auto")


def test_a_build_for_the_cpu(no_cards: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    assert "is a build for the CPU only; pytorch.org names the builds for CUDA; --device cpu" in refusal("cuda")


def test_no_driver(no_cards: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def init() -> None:
        raise RuntimeError("Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU.")

    monkeypatch.setattr(torch.cuda, "init", init)
    assert refusal("cuda:0") == (
        "--device cuda:0: Found no NVIDIA driver on your system; --device cpu computes without it"
    )


def test_a_driver_that_is_too_old(no_cards: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def init() -> None:
        raise RuntimeError(TOO_OLD.removeprefix("CUDA initialization: "))

    monkeypatch.setattr(torch.cuda, "init", init)
    output = refusal("cuda")
    assert "the NVIDIA driver is too old (the newest CUDA that it can run is 11.4)" in output
    assert f"torch {torch.__version__}, built for CUDA 13.0; update the driver, or install a torch for it" in output


def test_doctor_names_the_driver(no_cards: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def init() -> None:
        raise RuntimeError(TOO_OLD)

    monkeypatch.setattr(torch.cuda, "init", init)
    (device,) = (one for one in examine(tmp_path).machine if one.name == "device")
    assert not device.ok
    assert "the NVIDIA driver is too old" in device.found
    assert device.remedy.startswith("update the driver, or install a torch for it")


def test_auto_says_once_why_a_card_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def is_available() -> bool:
        warnings.warn(TOO_OLD, stacklevel=1)
        return False

    monkeypatch.setattr("dgaug.device._warned", set())
    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [default_device().type for _ in range(2)] == ["cpu", "cpu"]
    (note,) = caplog.messages
    assert note == (
        "the GPU is not used: The NVIDIA driver on your system is too old (found version 11040); "
        "pytorch.org names the builds of torch for each driver"
    )


@pytest.mark.usefixtures("cards")
def test_a_call_inside_another_keeps_its_device() -> None:
    @on_device
    def inner(*, device: str = "auto") -> str:
        return str(default_device())

    @on_device
    def outer(*, device: str = "auto") -> str:
        return inner()

    assert outer(device="cuda:1") == "cuda:1"
    assert outer(device="cpu") == "cpu"
    assert outer() == "cuda"
    with use_device("cpu"):
        assert (outer(), outer(device="cuda:0"), str(default_device())) == ("cpu", "cuda:0", "cpu")
    assert str(default_device()) == "cuda"


@pytest.mark.usefixtures("cards")
def test_a_numbered_card_under_torchrun_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    group = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    for name, value in group.items():
        monkeypatch.setenv(name, value)
    with use_device("cuda:1"), pytest.raises(DgaugError, match="its LOCAL_RANK; use --device cuda"):
        Processes.here()


@pytest.mark.usefixtures("cards")
def test_bf16_on_a_card_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cuda", 1)
    asked = []

    def supported(including_emulation: bool = True) -> bool:
        asked.append(including_emulation)
        return including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    require_precision("fp32", device, option="--precision ")
    require_precision("bf16", torch.device("cpu"), option="--precision ")
    with pytest.raises(DgaugError, match=r"--precision bf16-labels needs bfloat16, .*Card.*; use --precision fp32$"):
        require_precision("bf16-labels", device, option="--precision ")
    assert asked == [False]
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)  # of an older torch
    require_precision("bf16", device, option="--precision ")


def test_training_in_bf16_on_a_card_without_it_makes_nothing(
    cards: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dgaug: RunCommand
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    out = tmp_path / "run"
    output = dgaug("train", "--device", "cuda:1", "--set", "behaviour.precision=bf16", "--out", out).error()
    assert output.endswith("use --set behaviour.precision=fp32")
    assert not out.exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_computes_reads_it(
    command: str, tmp_path: Path, dgaug: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    output = dgaug(command, *COMMANDS[command], "--device", "cuda:7000").error()
    assert "--device cuda:7000" in output
    assert list(tmp_path.iterdir()) == []


def test_every_command_computes_there(tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing but `cpu` may be used, asking for another device anywhere would be an error."""
    from dgaug.scores.retrieval.evaluate import evaluate_reid
    from dgaug.synthesis.draw import draw_grid

    def no(*_: object) -> bool:
        raise AssertionError("looked for another device")

    monkeypatch.setattr(torch.cuda, "is_available", no)
    draw_grid(tiny_run.folder, device="cpu", out=tmp_path / "grid.png")
    evaluate_reid(tiny_run.teacher, tiny_run.data_root(), device="cpu")


def test_ray_workers_choose_for_themselves(tiny_run: Run, dgaug: RunCommand) -> None:
    output = dgaug("synthesize", "--run", tiny_run.folder, "--engine", "ray", "--device", "cpu").error()
    assert "remove --device cpu" in output
