import logging

import numpy as np
import pytest
import timm
import torch
from pytorch_fid.inception import InceptionV3
from random_inception import put_in_hub_cache, random_inception
from safetensors.torch import save_file

from dgaug.errors import DgaugError
from dgaug.files import file_sha256
from dgaug.scores.quality import encoders
from dgaug.scores.quality.encoders import INCEPTION_FILE, Encoder, fid_inception, timm_encoder

TINY = "mobilenetv3_small_050"


def pixels(count=2, height=64, width=32):
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory):
    return put_in_hub_cache(tmp_path_factory.mktemp("torch"))


def test_fid_features_are_those_of_pytorch_fid(inception_file, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(inception_file.parent))
    theirs = InceptionV3([3]).eval()
    images = pixels()
    with torch.no_grad():
        expected = theirs(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)[0][:, :, 0, 0]
    encoder = fid_inception(inception_file)
    result = encoder(images)
    assert expected.std() > 1e-3
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-6)
    assert (encoder.dimension, encoder.frechet_key, encoder.kernel_key) == (2048, "fid", "kid")
    assert encoder.sha256 == file_sha256(inception_file)


def test_other_weights_than_the_official_ones_are_recorded(inception_file, caplog):
    with caplog.at_level(logging.WARNING):
        fid_inception(inception_file)
    assert file_sha256(inception_file) in caplog.text


def test_the_official_name_stands_for_the_official_contents(inception_file, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(inception_file.parent))
    with pytest.raises(DgaugError, match="expected a sha256 that starts with 6726825d"):
        fid_inception()


def test_missing_inception_weights_say_where_from_and_how(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(DgaugError) as caught:
        fid_inception()
    for part in (
        str(tmp_path / "hub" / "checkpoints" / INCEPTION_FILE),
        "https://github.com/mseitzer",
        "--inception-w",
    ):
        assert part in str(caught.value)
    with pytest.raises(DgaugError, match="elsewhere"):
        fid_inception(tmp_path / "elsewhere.pth")


def test_torchvision_inception_is_not_taken_for_that_of_fid(tmp_path):
    torch.save(random_inception(classes=1000), tmp_path / "torchvision.pth")
    with pytest.raises(DgaugError, match="pytorch-fid's Inception"):
        fid_inception(tmp_path / "torchvision.pth")


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return timm.create_model(TINY, pretrained=False).eval()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_timm_encoder_gives_the_pooled_features_of_its_file(tiny, tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(tiny.state_dict(), path)
    encoder = timm_encoder(TINY, path)
    images = pixels(3, 224, 224)
    configuration = tiny.pretrained_cfg
    mean, std = (torch.tensor(configuration[key]).view(3, 1, 1) for key in ("mean", "std"))
    normalised = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.no_grad():
        expected = tiny.forward_head(tiny.forward_features(normalised), pre_logits=True)
    torch.testing.assert_close(encoder(images), expected, rtol=1e-4, atol=1e-5)
    assert encoder.dimension == expected.shape[1]
    assert encoder.frechet_key == f"frechet_{TINY}"
    assert encoder.kernel_key == f"kernel_{TINY}"
    assert encoder.sha256 == file_sha256(path)
    assert encoder(pixels()).shape == (2, encoder.dimension)


def test_weights_of_another_model_and_unknown_names_are_named(tiny, tmp_path):
    save_file(tiny.state_dict(), tmp_path / "tiny.safetensors")
    with pytest.raises(DgaugError, match="resnet18"):
        timm_encoder("resnet18", tmp_path / "tiny.safetensors")
    with pytest.raises(DgaugError, match=r"no model 'resnet81'; is it '.*resnet"):
        timm_encoder("resnet81", tmp_path / "tiny.safetensors")
    with pytest.raises(DgaugError, match=r"none\.safetensors"):
        timm_encoder(TINY, tmp_path / "none.safetensors")


def test_any_function_of_pixels_makes_an_encoder_and_its_mistakes_show():
    encoder = Encoder("mean_colour", 3, "0" * 64, lambda images: images.double().mean(dim=(1, 2)))
    assert encoder(pixels()).dtype == torch.float32
    assert encoder.frechet_key == "frechet_mean_colour"
    with pytest.raises(DgaugError, match=r"expected pixels uint8 \[N, H, W, 3\]"):
        encoder(pixels().astype(np.float32))
    with pytest.raises(DgaugError, match=r"expected features \[2, 4\]"):
        encoders.Encoder("wrong", 4, "", encoder.extract)(pixels())
