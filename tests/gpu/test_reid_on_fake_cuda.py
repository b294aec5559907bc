"""Training a re-id network and feeding it on a GPU that is not there: one device, and no wait but for the log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_cuda import GPU
from fake_streams import Machine
from tiny_run import tiny_settings

from dgaug.distributed import Processes
from dgaug.models.checkpoints import ReidModel
from dgaug.models.decoder import Decoder
from dgaug.models.reid import ReidNetwork
from dgaug.settings import FeedSettings, ReidSettings
from dgaug.store.assemble import finish_store
from dgaug.store.codes import write_codes
from dgaug.store.index import begin_store
from dgaug.store.policies import POLICIES
from dgaug.store.read import StoreDataset, open_store
from dgaug.store.shard_writer import ImageBatch, write_shard
from dgaug.store.sources import Sources
from dgaug.store.spec import Part, StoreSpec
from dgaug.store.virtual import StoredDecoder
from dgaug.studies.feeds import Fitting, StoreFeed
from dgaug.training import reid_loop
from dgaug.training.batches import LabelledImages
from dgaug.training.reid_loop import ahead_of
from dgaug.training.reid_losses import GeneratedBatch
from dgaug.training.sampling import Share

SIZE, CLASSES, BATCH = (64, 32), 6, 4

# Operations of a step without those of gradients and optimiser, and of a generated batch with its labels; lower them
# when fewer are needed.
STEP, FED_STEP = {"fp32": 257, "bf16": 316}, {"fp32": 567, "bf16": 635}
FED = 523


def network(heads: int = 1, backbone: str = "resnet50") -> ReidNetwork:
    return ReidNetwork(backbone, CLASSES, dropouts=(0.5,) * heads, pool="avg").to(GPU)


def generated(iteration: int) -> GeneratedBatch:
    return GeneratedBatch(
        torch.zeros(BATCH, 3, *SIZE, device=GPU),
        torch.zeros(BATCH, CLASSES, device=GPU),
        torch.zeros(BATCH, dtype=torch.int64, device=GPU),
        torch.zeros(BATCH, device=GPU),
    )


def loop_of(settings: ReidSettings, precision: str, feed: Callable[[int], GeneratedBatch] | None) -> reid_loop._Loop:
    images = LabelledImages([], torch.zeros(0), [str(k) for k in range(CLASSES)], SIZE, [])
    job = reid_loop.ReidJob(images, settings, tiny_settings().data, {}, "none", 0, feed=feed, precision=precision)
    model = network(2 if feed else 1)
    optimizer = reid_loop._optimizer(model, settings)
    return reid_loop._Loop(job, model, optimizer, processes=Processes(GPU), share=Share(0, 1, 1))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("fed", [False, True])
def test_a_step_never_waits_and_needs_few_operations(machine: Machine, precision: str, fed: bool) -> None:
    settings = FeedSettings(ramp_start=0, batch_size=BATCH, metric="triplet") if fed else ReidSettings(batch_size=BATCH)
    loop = loop_of(settings, precision, generated if fed else None)
    images, labels = torch.zeros(1, BATCH, 3, *SIZE, device=GPU), torch.zeros(BATCH, dtype=torch.int64, device=GPU)
    machine.gpu.waits.clear()
    machine.gpu.kernels = 0
    terms = [loop.step([(images, labels)], iteration) for iteration in (1, 2)]
    assert +machine.gpu.waits == {}
    assert machine.gpu.kernels <= 2 * (FED_STEP if fed else STEP)[precision]
    assert {one.values.device for one in terms} == {GPU}
    assert ("teacher" in terms[0].names) is fed
    assert [read["total"] for read in reid_loop._read(terms, "model")] == [0.5, 0.5]
    assert +machine.gpu.waits != {}, "the log is read here"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of codes of a few sources, all zero."""
    count, folder = 5, tmp_path / "store"
    names = [str(k) for k in range(CLASSES)]
    sources = Sources(
        [f"{k}.jpg" for k in range(count)],
        np.arange(count, dtype=np.int32),
        names[:count],
        np.ones(count, np.int32),
        names,
    )
    spec = StoreSpec(
        parts=(Part(pairs="all", planned=count**2, seed=0, shard_size=count**2),),
        image_size=SIZE,
        codec="codes",
        quality=0,
        labels="none",
        min_confidence=0.0,
        micro_batch=8,
        generator_sha256="ab" * 32,
        teacher_sha256="",
        dgaug_version="0.1.0",
        precision="bf16",
    )
    begin_store(folder, spec, sources)
    codes = np.zeros((count, 128, 16, 8), np.float16), np.zeros((count, 4, 2, 2, 128), np.float16)
    (folder / "codes").mkdir()
    write_codes(folder / "codes" / "000000.h5", np.arange(count), [codes], generator_sha256="ab" * 32)
    (folder / "generator.safetensors").write_bytes(b"weights")
    pairs = np.divmod(np.arange(count**2, dtype=np.int32), count)
    write_shard(folder, 0, [ImageBatch([], *pairs)], spec=spec, sources=sources)
    finish_store(folder)
    return folder


def opened(store: Path, patch: pytest.MonkeyPatch, *, backbone: str = "resnet50") -> StoreDataset:
    """The store on the GPU, with a teacher; weights are made there, because files hold real ones."""
    decoder = Decoder(128).to(GPU).eval().requires_grad_(False)
    patch.setattr("dgaug.store.virtual.read_decoder", lambda *_: StoredDecoder(decoder, 128, SIZE))
    teacher = ReidModel(network(backbone=backbone).eval().requires_grad_(False), None, SIZE, "ab" * 32)
    patch.setattr("dgaug.store.read.load_reid", lambda _: teacher)
    return open_store(store, device=GPU, teacher="teacher.pt")


def test_an_online_feed_never_waits_and_needs_few_operations(
    machine: Machine, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = StoreFeed(opened(store, monkeypatch), 24, seed=0, fitting=Fitting(None, torch.arange(CLASSES)))
    feed(0)
    machine.gpu.waits.clear()
    machine.gpu.kernels, machine.streams.waited = 0, 0
    batch = feed(1)
    assert +machine.gpu.waits == {}
    assert machine.streams.waited == 0
    assert machine.gpu.kernels <= FED, "one micro-batch, whatever the store recorded"
    assert {tensor.device for tensor in vars(batch).values()} == {GPU}
    assert batch.images.shape == (24, 3, *SIZE)


def test_no_label_policy_waits(machine: Machine, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = opened(store, monkeypatch, backbone="small")
    StoreFeed(dataset, 8, seed=0)(0)
    for policy in POLICIES:
        machine.gpu.waits.clear()
        StoreFeed(dataset, 8, seed=0, policy=policy, confidence=True)(1)
        assert +machine.gpu.waits == {}, policy


def test_the_next_batch_is_made_on_a_stream_of_its_own(machine: Machine) -> None:
    on: list[str] = []

    def feed(iteration: int) -> GeneratedBatch:
        on.append(machine.streams.current.name)
        return generated(iteration)

    with ahead_of(feed, GPU) as ahead:
        assert ahead is not None
        ahead(3)
    assert on == ["stream 1", "stream 1"]
    assert machine.streams.said == ["stream 1 waits for stream 0", "stream 0 waits for an event of stream 1"]
    assert machine.streams.held == 4, "what was made on one stream lives until the other has used it"
