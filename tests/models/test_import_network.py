"""A network from elsewhere: it answers as itself, teaches, is evaluated, or is refused with the reason."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import RunCommand, write_config
from torch import Tensor, nn

from dgaug.data.normalisation import normalise
from dgaug.errors import DgaugError
from dgaug.models.checkpoints import load_reid
from dgaug.models.import_network import import_network
from dgaug.models.reid import soft_labels
from dgaug.models.torchscript import TRUST, TracedNetwork, trust
from dgaug.runs import Run
from dgaug.store.read import open_store

SIZE = (64, 32)


class Outsider(nn.Module):
    """What somebody may have: layers that act differently in training, features beside the scores."""

    def __init__(self, classes: int, *, features: bool = True) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 5, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
        self.classify = nn.Linear(32, classes)
        self.dropout = nn.Dropout(0.5)
        self.features = features

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        embedding = self.body(images).flatten(1)
        scores = self.classify(self.dropout(embedding))
        return (scores, embedding) if self.features else scores


class Slice(nn.Module):
    """Returns what is asked of it: a part of an outsider's answer in another form."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.network, self.form = Outsider(3), form

    def forward(self, images: Tensor) -> object:
        scores, embedding = self.network(images)
        answers: dict[str, object] = {
            "three": (scores, embedding, embedding),
            "dictionary": {"scores": scores},
            "map": (scores, embedding[:, :, None]),
            "one image's": scores[0],
            "of the batch": scores - scores.mean(dim=0),
            "by chance": scores + torch.rand_like(scores),
            "not finite": scores / 0,
        }
        return answers[self.form]


def pixels(count: int) -> Tensor:
    return torch.randint(256, (count, *SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_it_says_what_it_said_with_its_classes_in_our_order(tmp_path: Path) -> None:
    network = Outsider(3).train()
    model = load_reid(import_network(network, tmp_path / "a.pt", class_names=["cleo", "anna", "ben"], image_size=SIZE))
    assert network.training
    assert (model.class_names, model.image_size, model.network.classes) == (["anna", "ben", "cleo"], SIZE, 3)
    seen = pixels(5)
    scores, embedding = network.eval()(seen.permute(0, 3, 1, 2) / 255)
    for mode in (True, False):
        answer = model.network.train(mode)(normalise(seen))
        torch.testing.assert_close(answer.logits[0], scores[:, [1, 2, 0]], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.network.features(normalise(seen), flip=False, unit=False), embedding)
    assert model.network.feature_length == embedding.shape[1]


def test_without_features_its_scores_are_ranked(tmp_path: Path) -> None:
    file = import_network(Outsider(3, features=False), tmp_path / "a.pt", class_names="abc", image_size=SIZE)
    network, seen = load_reid(file).network, normalise(pixels(2))
    assert network.feature_length == 3
    assert torch.equal(network.features(seen, flip=False, unit=False), network(seen).logits[0])


def test_its_answers_do_not_change_while_it_runs(tmp_path: Path) -> None:
    network = load_reid(import_network(Outsider(3), tmp_path / "a.pt", class_names="abc", image_size=SIZE)).network
    first, *later = (soft_labels(network, normalise(pixels(4))) for _ in range(5))
    assert all(torch.equal(first, label) for label in later)


def test_it_teaches_and_is_evaluated_like_ours(tmp_path: Path, tiny_run: Run, dgaug: RunCommand) -> None:
    names = open_store(tiny_run.store).sources.class_name
    teacher = import_network(Outsider(len(names)), tmp_path / "mine.pt", class_names=names, image_size=SIZE)
    data, run = tiny_run.data_root(), Run(tmp_path / "run")
    config = write_config(tmp_path / "a.yaml", schedule={"iterations": 3})
    ended = dgaug("train", "--config", config, "--data", data, "--teacher", teacher, "--out", run.folder)
    assert ended.code == 0, ended.err
    assert dgaug("synthesize", "--run", run.folder, "--pairs", "random:5", "--codec", "png", "--labels-dense").code == 0
    store = open_store(run.store)
    drawn = store.batch(range(5))
    assert drawn.labels is not None
    expected = soft_labels(load_reid(teacher).network, normalise(drawn.pixels))
    np.testing.assert_allclose(drawn.labels.numpy(), expected.numpy(), atol=2e-3)
    assert dgaug("score-fid", "--run", run.folder, "--metrics", "frechet,teacher,identity").code == 0
    assert dgaug("eval-reid", teacher, "--data", data).code == 0
    assert dgaug("export", teacher, "--to", "torchscript", "--out", tmp_path / "mine.torchscript").code == 0


def test_it_teaches_alone(tmp_path: Path, tiny_run: Run, dgaug: RunCommand) -> None:
    names = open_store(tiny_run.store).sources.class_name
    teacher = import_network(Outsider(len(names)), tmp_path / "mine.pt", class_names=names, image_size=SIZE)
    more = ("--data", tiny_run.data_root(), "--teacher", tiny_run.teacher, "--teacher", teacher)
    ended = dgaug("train", "--config", write_config(tmp_path / "a.yaml"), *more, "--out", tmp_path / "run")
    assert "mine.pt was imported from elsewhere and teaches alone" in ended.error()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("three", r"found \[3, 3\], \[3, 32\], \[3, 32\]; wrap it"),
        ("dictionary", "found dict, dict; wrap it"),
        ("map", r"found \[3, 3\], \[3, 32, 1\]; wrap it"),
        ("one image's", r"found \[3\], \[3\]; wrap it"),
        ("of the batch", "depend on the batch"),
        ("by chance", "or on chance"),
        ("not finite", "difference of nan"),
    ],
)
def test_an_answer_of_another_form_is_refused(tmp_path: Path, form: str, message: str) -> None:
    with pytest.raises(DgaugError, match=message):
        import_network(Slice(form), tmp_path / "a.pt", class_names="abc", image_size=SIZE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("names", "message"),
    [("ab", "of the 2 identities in class_names, found 3 classes"), ("aba", "each identity once .* 'a' 2 times")],
)
def test_names_that_do_not_fit_are_refused(tmp_path: Path, names: str, message: str) -> None:
    with pytest.raises(DgaugError, match=message):
        import_network(Outsider(3), tmp_path / "a.pt", class_names=names, image_size=SIZE)


def test_a_file_that_is_there_stays_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_text("mine")
    with pytest.raises(DgaugError, match="already there"):
        import_network(Outsider(3), tmp_path / "a.pt", class_names="abc", image_size=SIZE)
    import_network(Outsider(3), tmp_path / "a.pt", class_names="abc", image_size=SIZE, force=True)
    assert isinstance(load_reid(tmp_path / "a.pt").network, TracedNetwork)


def test_a_program_runs_only_where_it_is_trusted(
    tmp_path: Path, tiny_run: Run, monkeypatch: pytest.MonkeyPatch, dgaug: RunCommand
) -> None:
    monkeypatch.setenv(TRUST, "")
    file = import_network(Outsider(3), tmp_path / "a.pt", class_names="abc", image_size=SIZE)
    named = os.environ[TRUST]
    assert load_reid(file).network.classes == 3
    for others in ("", named[:31], "0" * 32, f"{'0' * 32}, {'1' * 64}"):
        monkeypatch.setenv(TRUST, others)
        error = dgaug("eval-reid", file, "--data", tiny_run.data_root()).error()
        assert f"nobody here said that it may run; if you trust who made it: {TRUST}={named}" in error
    monkeypatch.setenv(TRUST, f"{'0' * 32}, {named.upper()}")
    assert load_reid(file).network.classes == 3


@pytest.mark.parametrize("left", [slice(0, -500), slice(0, 0), None])
def test_a_damaged_program_is_an_error_of_its_file(tmp_path: Path, left: slice | None) -> None:
    file = import_network(Outsider(3), tmp_path / "a.pt", class_names="abc", image_size=SIZE)
    content = torch.load(file, weights_only=True)
    content["network"]["program"] = None if left is None else content["network"]["program"][left].clone()
    torch.save(content, file)
    if left is not None:
        trust(content["network"]["program"])
    with pytest.raises(DgaugError, match=r"a\.pt: not a whole re-id checkpoint"):
        load_reid(file)


class WithTensorsOfItsOwn(nn.Module):
    """Makes tensors in every pass and holds constants, as many networks from elsewhere do."""

    def __init__(self) -> None:
        super().__init__()
        self.classify = nn.Linear(3, 3)
        self.inner = nn.Sequential(Shifted())

    def forward(self, images: Tensor) -> Tensor:
        mean = self.inner(images.mean(dim=(2, 3))) - torch.tensor([0.4, 0.5, 0.6])
        return self.classify(mean + torch.ones(3) + torch.arange(3, device=images.device))


class Shifted(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return values + torch.zeros(3).to(values.device)


def test_on_another_device_nothing_of_it_stays_on_the_cpu(tmp_path: Path) -> None:
    path = import_network(WithTensorsOfItsOwn(), tmp_path / "a.pt", class_names=["a", "b", "c"], image_size=SIZE)
    network = load_reid(path).network
    expected = network(normalise(pixels(2))).logits[0]
    elsewhere = load_reid(path).network.to("meta")
    # A tensor on the CPU among those of another device is an error, of this one as of a GPU.
    assert elsewhere(torch.empty(2, 3, *SIZE, device="meta")).logits[0].device.type == "meta"
    torch.testing.assert_close(network.to("cpu")(normalise(pixels(2))).logits[0], expected)
