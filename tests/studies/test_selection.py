"""Choosing generated images by a judge: who is kept, whom the judge may not be, and labels by trust."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dgaug.data.normalisation import normalise
from dgaug.data.prepare import read_data
from dgaug.errors import DgaugError
from dgaug.models.checkpoints import REID, copy_teachers, load, load_reid, save
from dgaug.progress import silent
from dgaug.runs import Run
from dgaug.store.policies import by_appearance
from dgaug.studies.feeds import Labelling, Source, open_source, seeded_feed
from dgaug.studies.selection import (
    BOTH,
    DIVERSITY,
    JUDGE,
    Selection,
    parse_selection,
    require_judge,
    score_file,
    selected,
)
from dgaug.studies.train_reid import train_reid
from dgaug.training.batches import LabelledImages

LABELLING = Labelling("trust", False, None, None)


@pytest.fixture
def source(tiny_run: Run, images: LabelledImages) -> Source:
    return open_source(tiny_run.store, images, LABELLING)


def test_the_images_that_the_judge_recognises_best_are_kept_of_every_identity(
    tiny_run: Run, images: LabelledImages, judge: Path, source: Source
) -> None:
    network = load_reid(judge)
    half, made = selected(source, Selection(judge, 0.5), network, images, progress=silent)
    assert (made.kept, made.left_out) == (288, 288)
    assert made.judge_agrees_with_kept > made.judge_agrees
    rows, pairs = half.fitting.rows, source.store.pairs()
    assert rows is not None
    identity = source.store.sources.identity[pairs[:, 0]]
    assert np.bincount(identity[rows]).tolist() == [48] * 6
    score = np.load(score_file(source.store, network))["score"]
    for one in range(6):
        left_out = np.setdiff1d(np.flatnonzero(identity == one), rows)
        assert score[rows[identity[rows] == one]].min() >= score[left_out].max()
    again, _ = selected(source, Selection(judge, 0.5), network, images, progress=pytest.fail)
    assert np.array_equal(again.fitting.rows, rows)
    assert sorted(file.name for file in tiny_run.store.iterdir() if "judged" in file.name) == []
    score_file(source.store, network).unlink()


def test_the_judge_agrees_where_the_appearance_donor_is_nearest(
    images: LabelledImages, judge: Path, source: Source
) -> None:
    network = load_reid(judge)
    whole, made = selected(source, Selection(judge, 1.0), network, images, progress=silent)
    assert made.left_out == 0
    assert whole.trusted is not None
    assert whole.trusted.mean() == pytest.approx(made.judge_agrees)
    real = np.stack([images.resized[row] for row in range(len(images.paths))])
    features = network.network.eval().features(normalise(torch.from_numpy(real)))
    centres = torch.stack([features[images.labels == one].mean(dim=0) for one in range(6)])
    batch = source.store.batch(range(576))
    seen = network.network.features(normalise(batch.pixels)) @ torch.nn.functional.normalize(centres, dim=1).T
    expected = (seen.argmax(dim=1) == batch.appearance_identity).numpy()
    assert (whole.trusted == expected).mean() > 0.99
    score_file(source.store, network).unlink()


def test_diverse_images_are_those_furthest_apart_and_both_takes_them_where_the_judge_agrees(
    images: LabelledImages, judge: Path, source: Source
) -> None:
    network, store = load_reid(judge), source.store
    identity = store.sources.identity[store.pairs()[:, 0]]
    features = network.network.eval().features(normalise(store.batch(range(576)).pixels)).detach()
    features = torch.nn.functional.normalize(features, dim=1)
    kept, made = {}, {}
    for by in (JUDGE, DIVERSITY, BOTH):
        chosen, made[by] = selected(source, Selection(judge, 0.1, by), network, images, progress=silent)
        assert chosen.fitting.rows is not None
        assert chosen.trusted is not None
        agrees, kept[by] = chosen.trusted, chosen.fitting.rows
        again, _ = selected(source, Selection(judge, 0.1, by), network, images, progress=pytest.fail)
        assert np.array_equal(again.fitting.rows, chosen.fitting.rows)
        score_file(store, network, by).unlink()
    for one in range(6):
        rows = {by: of[identity[of] == one] for by, of in kept.items()}
        assert [len(of) for of in rows.values()] == [10, 10, 10]
        apart = {by: torch.pdist(features[of]).min() for by, of in rows.items()}
        assert apart[DIVERSITY] > apart[JUDGE]
        everyone = np.flatnonzero(identity == one)
        # Farthest point first: no image is further from the kept ones than these are from one another.
        assert torch.cdist(features[everyone], features[rows[DIVERSITY]]).amin(dim=1).max() <= apart[DIVERSITY] + 1e-4
        right = everyone[agrees[everyone]]
        if len(right) >= 10:
            assert agrees[rows[BOTH]].all()
            assert torch.cdist(features[right], features[rows[BOTH]]).amin(dim=1).max() <= apart[BOTH] + 1e-4
        else:
            assert set(right) <= set(rows[BOTH].tolist())
    assert made[BOTH].judge_agrees_with_kept > made[DIVERSITY].judge_agrees_with_kept


def test_labels_by_trust_are_the_appearance_donors_only_where_the_judge_agrees(
    images: LabelledImages, judge: Path, source: Source
) -> None:
    network = load_reid(judge)
    whole, _ = selected(source, Selection(judge, 1.0), network, images, progress=silent)
    feeds = [
        seeded_feed([whole], Labelling(policy, False, None, None), 64) for policy in ("trust", "soft", "appearance")
    ]
    trust, soft, appearance = (feed(0)(1).targets for feed in feeds if feed is not None)
    by_judge = (trust == appearance).all(dim=1)
    assert 0 < by_judge.float().mean() < 1
    assert torch.equal(trust[~by_judge], soft[~by_judge])
    assert torch.equal(by_appearance(soft, appearance.argmax(dim=1), soft), appearance)
    score_file(source.store, network).unlink()


def test_a_judge_that_made_or_labelled_the_images_is_refused(tiny_run: Run, source: Source, tmp_path: Path) -> None:
    copy = tmp_path / "copy.pt"
    copy.write_bytes(tiny_run.teacher.read_bytes())
    with pytest.raises(DgaugError, match=r"is the teacher of .*; train a judge with dgaug train-reid --feed none"):
        require_judge(Selection(copy), [source], [])
    with pytest.raises(DgaugError, match="is the generator of"):
        require_judge(Selection(tiny_run.checkpoint), [source], [])
    with pytest.raises(DgaugError, match="is the teacher that labels the images"):
        train_reid(tiny_run.folder, select=f"judge:{tiny_run.teacher}", labels="appearance", out=tmp_path / "reid")
    several = tmp_path / "several.pt"
    copy_teachers([tiny_run.teacher, tiny_run.teacher], several)
    saved_again = tmp_path / "again.pt"
    save(saved_again, load(tiny_run.teacher, REID) | {"image_size": [64, 32]})
    for judge in (tiny_run.teacher, saved_again):
        with pytest.raises(DgaugError, match="is the teacher that labels the images, or one of several"):
            require_judge(Selection(judge, by=BOTH), [], [several])
    assert not (tmp_path / "reid").exists()


def test_a_selection_is_read_or_refused_before_anything_is_trained(tiny_run: Run, tmp_path: Path) -> None:
    assert parse_selection("judge:a,b.pt,keep=0.25") == Selection(Path("a,b.pt"), 0.25)
    assert parse_selection("judge:a.pt") == Selection(Path("a.pt"), 0.5)
    assert parse_selection("both:a.pt,keep=1") == Selection(Path("a.pt"), 1.0, "both")
    for text in (
        "judge:",
        "best",
        "judge:a.pt,keep=0",
        "judge:a.pt,keep=2",
        "judge:a.pt,keep=much",
        "judge:a,keep=nan",
    ):
        with pytest.raises(DgaugError, match=r"expected judge:FILE,keep=0\.5"):
            parse_selection(text)
    with pytest.raises(DgaugError, match="trust needs a judge; add --select judge:FILE"):
        train_reid(tiny_run.folder, labels="trust", out=tmp_path)
    with pytest.raises(DgaugError, match="--feed none has none"):
        train_reid(tiny_run.folder, feed="none", select="judge:a.pt", out=tmp_path)


def test_a_model_is_trained_with_what_is_selected_and_says_what_was_left_out(
    tiny_run: Run, judge: Path, tmp_path: Path
) -> None:
    short = {"overrides": ["reid.iterations=2"], "twin": False, "out": tmp_path}
    results = train_reid(tiny_run.folder, select=f"judge:{judge},keep=0.25", labels="trust", **short)
    (chosen,) = results["protocol"]["select"]
    assert (chosen["kept"], chosen["left_out"]) == (144, 432)
    with pytest.raises(DgaugError, match=r"was made with other settings \(--select: "):
        train_reid(tiny_run.folder, labels="trust", select=f"judge:{judge},keep=0.5", **short)
    score_file(open_source(tiny_run.store, *_fit(tiny_run)).store, load_reid(judge)).unlink()


def _fit(run: Run) -> tuple[LabelledImages, Labelling]:
    data = run.settings().data
    return LabelledImages.of(read_data(run.data_root(), data), data.image_size), LABELLING
