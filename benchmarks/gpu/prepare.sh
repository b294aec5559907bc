#!/bin/sh
# Collects in build/carried what a machine without a network and without dgaug's packages needs: the wheels it lacks,
# a training split, and the weights of an encoder in half precision. Not larger than a few ten MB.
#
#   benchmarks/gpu/prepare.sh MARKET_FOLDER_OR_TAR [ENCODER.safetensors] [PYTHON_VERSION]
set -eu
market=$1 encoder=${2:-} version=${3:-3.12}
python=${PYTHON:-python3}
mkdir -p build/carried/wheels
rm -f build/carried/wheels/*.whl

# What a machine with torch alone may lack; what it has already is not unpacked there.
$python -m pip download -qq --no-deps --only-binary=:all: --python-version "$version" --implementation cp \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_24_x86_64 \
    --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 --platform manylinux1_x86_64 \
    --dest build/carried/wheels \
    pydantic annotated-types typing-inspection typing-extensions pytorch-fid pytorch-metric-learning \
    timm accelerate h5py click rich markdown-it-py mdurl pygments
# The very version that this pydantic was made for.
core=$(unzip -p build/carried/wheels/pydantic-[0-9]*.whl '*/METADATA' | sed -n 's/^Requires-Dist: pydantic-core==\([^ ;]*\).*/\1/p')
$python -m pip download -qq --no-deps --only-binary=:all: --python-version "$version" --implementation cp \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
    --dest build/carried/wheels "pydantic-core==$core"

$python - "$market" "$encoder" <<'PY'
import sys, tarfile
from pathlib import Path

market, encoder = Path(sys.argv[1]), sys.argv[2]
with tarfile.open("build/carried/market-train.tar.gz", "w:gz", compresslevel=6) as packed:
    if market.is_dir():
        packed.add(market / "bounding_box_train", "bounding_box_train")
    else:
        with tarfile.open(market) as given:
            for member in given:
                if member.isfile() and member.name.endswith(".jpg"):
                    member.name = f"bounding_box_train/{Path(member.name).name}"
                    packed.addfile(member, given.extractfile(member))
if encoder:
    import torch
    from safetensors.torch import load_file, save_file

    half = {name: value.half() if value.is_floating_point() else value for name, value in load_file(encoder).items()}
    save_file(half, f"build/carried/{Path(encoder).stem}.half.safetensors")
PY
du -sh build/carried/wheels build/carried/* | sort -u
