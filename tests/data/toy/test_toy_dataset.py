import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dgaug.data.toy import ToyWorld, is_toy, write_toy
from dgaug.errors import DgaugError


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("toy") / "data"
    write_toy(out, identities=3, images_per_identity=3, size=(32, 16), distractors=2, junk=2)
    return out


def digests(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def images(root: Path, folder: str) -> list[tuple[int, int]]:
    """(identity, camera) of every image in a folder, as Market-1501's own pattern reads them."""
    result = [re.fullmatch(r"(-?\d+)_c(\d)s1_\d{6}_\d\d\.jpg", path.name) for path in (root / folder).iterdir()]
    assert all(result)
    return [(int(match[1]), int(match[2])) for match in result if match]


def test_the_layout_is_market_1501s(root: Path) -> None:
    train, query, gallery = (images(root, f) for f in ("bounding_box_train", "query", "bounding_box_test"))
    assert sorted({identity for identity, _ in train}) == [1, 2, 3]
    assert sorted({identity for identity, _ in query}) == [4, 5, 6]
    assert sorted({identity for identity, _ in gallery}) == [-1, 0, 4, 5, 6]
    assert len(train) == 9
    assert len(query) == 9
    assert len(gallery) == 9 + 2 + 2


def test_every_query_has_a_match_in_another_camera(root: Path) -> None:
    gallery = images(root, "bounding_box_test")
    for identity, camera in images(root, "query"):
        assert any(other == identity and seen_by != camera for other, seen_by in gallery)


def test_equal_arguments_give_equal_bytes(root: Path, tmp_path: Path) -> None:
    write_toy(tmp_path / "again", identities=3, images_per_identity=3, size=(32, 16), distractors=2, junk=2)
    assert digests(root) == digests(tmp_path / "again")
    write_toy(tmp_path / "other", identities=3, images_per_identity=3, size=(32, 16), distractors=2, junk=2, seed=1)
    assert digests(root) != digests(tmp_path / "other")


def test_the_true_image_of_the_diagonal_is_the_image_on_disk(root: Path) -> None:
    world = ToyWorld.open(root)
    for path in world.shots:
        stored = np.asarray(Image.open(root / path)).astype(int)
        assert np.abs(stored - world.true_image(path, path)).mean() < 4


def test_the_true_image_of_a_pair_is_neither_donor(root: Path) -> None:
    world = ToyWorld.open(root)
    one, other = (min(path for path in world.shots if path.startswith(f"bounding_box_train/000{k}")) for k in (1, 2))
    swapped = world.true_image(one, other).astype(int)
    assert np.abs(swapped - world.true_image(one, one)).mean() > 2
    assert np.abs(swapped - world.true_image(other, other)).mean() > 2
    assert world.true_image(one, other, size=(64, 32)).shape == (64, 32, 3)
    assert world.clothed_body(one, other).shape == (32, 16)


def test_an_unknown_path_is_named(root: Path) -> None:
    with pytest.raises(DgaugError, match=r"nobody\.jpg"):
        ToyWorld.open(root).true_image("query/nobody.jpg", "query/nobody.jpg")


def test_writing_again_changes_nothing_and_other_settings_are_refused(root: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.jpg")}
    write_toy(root, identities=3, images_per_identity=3, size=(32, 16), distractors=2, junk=2)
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("*.jpg")}
    with pytest.raises(DgaugError, match="other settings"):
        write_toy(root, identities=4, images_per_identity=3, size=(32, 16))


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DgaugError, match="other files"):
        write_toy(tmp_path, identities=2, images_per_identity=2, size=(32, 16))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_interrupted_write_leaves_nothing_that_looks_complete(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    out = tmp_path / "data"
    with pytest.raises(KeyboardInterrupt):
        write_toy(out, identities=3, images_per_identity=3, size=(32, 16), on_image=stop)
    assert not out.exists()
    write_toy(out, identities=3, images_per_identity=3, size=(32, 16))
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert len(ToyWorld.open(out).shots) == len(list(out.rglob("*.jpg")))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"identities": 1}, "identities"),
        ({"images_per_identity": 1}, "images_per_identity"),
        ({"cameras": 0}, "cameras"),
        ({"cameras": 100}, "cameras"),
        ({"size": (15, 32)}, "size"),
    ],
)
def test_wrong_arguments_are_named_before_anything_is_created(
    tmp_path: Path, wrong: dict[str, Any], named: str
) -> None:
    with pytest.raises(DgaugError, match=named):
        write_toy(tmp_path / "data", **wrong)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"format": "other"}',
        '{"format": "dgaug-toy", "schema": 1}',
        '{"format": "dgaug-toy", "schema": 99}',
    ],
)
def test_a_foreign_or_damaged_world_file_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "toy.json").write_text(content)
    with pytest.raises(DgaugError, match=r"toy\.json"):
        ToyWorld.open(tmp_path)


def test_a_damaged_row_is_an_error(root: Path, tmp_path: Path) -> None:
    content = json.loads((root / "toy.json").read_text())
    content["pictures"]["query/x.jpg"] = [1, "two", 3, False]
    (tmp_path / "toy.json").write_text(json.dumps(content))
    with pytest.raises(DgaugError, match="damaged"):
        ToyWorld.open(tmp_path)


def test_is_toy_tells_our_folders_from_others(root: Path, tmp_path: Path) -> None:
    assert is_toy(root)
    assert not is_toy(tmp_path)
    (tmp_path / "toy.json").write_text("not json")
    assert not is_toy(tmp_path)
    with pytest.raises(DgaugError, match="not found"):
        ToyWorld.open(root / "query")
