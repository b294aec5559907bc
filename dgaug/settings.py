"""Typed settings of a run: one model per section, unknown names refused with the nearest known one.

Precedence: defaults here, then a preset or file, then `--set section.name=value`, then flags.
Lengths of ramps and decays are fractions of the run, so that a shorter schedule stays a schedule.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from dgaug.errors import DgaugError
from dgaug.outputs import flat
from dgaug.plain_yaml import read_yaml
from dgaug.presets import nearest, read_config

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
LARGEST_EMBEDDING = 8192
LARGEST_SEED = 2**31 - 1
Sampler = Literal["shuffled", "balanced"]
"""Every image equally often, or every identity."""


class Section(BaseModel):
    """A group of settings: immutable, nothing unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataSettings(Section):
    """What is read and how it becomes a batch."""

    root: str | None = None
    """The data set; unset: the embedded one, drawn into the run folder."""
    height: int = Field(256, ge=64, le=4096, multiple_of=16)
    width: int = Field(128, ge=32, le=4096, multiple_of=16)
    pad: int = Field(10, ge=0)
    """Pixels of edge padding before the random crop."""
    layout: str = "auto"
    pattern: str | None = None
    cameras: Literal["auto", "none", "required"] = "auto"
    damaged: Literal["refuse", "skip"] = "refuse"
    depth: Literal["auto", "full"] | tuple[int, int] = "auto"
    """Grey levels of 16-bit images that become black and white: the range of the data set, all 16 bits, or two levels.
    A run records the two levels that it was trained with."""
    limit_identities: int | None = Field(None, ge=2)
    """Only the first so many training identities."""
    identities_fraction: float | None = Field(None, gt=0, le=1)
    """Only this share of the training identities, chosen by `subset_seed`."""
    images_per_identity: int | None = Field(None, ge=1)
    """Only so many images of each training identity, chosen by `subset_seed`."""
    images_fraction: float | None = Field(None, gt=0, le=1)
    """Only this share of the training images, at least one of each identity, chosen by `subset_seed`."""
    per_identity_fraction: float | None = Field(None, gt=0, le=1)
    """Only this share of the images of each training identity, at least one, chosen by `subset_seed`."""
    subset_seed: int = Field(0, ge=0)
    workers: int | None = Field(None, ge=0)
    """Threads that read images beside the main one; unset: none on CPU, up to 8 beside an accelerator."""

    @field_validator("depth")
    @classmethod
    def _two_levels(cls, depth: str | tuple[int, int]) -> str | tuple[int, int]:
        if isinstance(depth, tuple) and not 0 <= depth[0] < depth[1] <= 65535:
            raise ValueError("expected auto, full, or two levels from 0 to 65535, the lower first")
        return depth

    @property
    def image_size(self) -> tuple[int, int]:
        """[H, W] of every image a network sees."""
        return self.height, self.width


class ModelSettings(Section):
    """The networks."""

    width: float = Field(1.0, gt=0, le=4)
    """Channels of generator and discriminator relative to the published ones."""
    backbone: str = "resnet50"
    weights: str = "imagenet"
    """imagenet (local cache), download, none, or a file."""
    last_stride: Literal[1, 2] = 1
    embedding: int = Field(512, ge=8, le=LARGEST_EMBEDDING)
    prim_dropout: Fraction = 0.5
    fine_dropout: Fraction = 0.75
    discriminator: Literal["published", "strided", "paired"] = "published"
    """`strided`: 4x4 strided convolutions with group norm; `paired`: the same with another image of the identity."""
    start: str = "none"
    """A pretrained generator to start from: none, toy (the one that ships for the embedded data), or a file."""


class ReidSettings(Section):
    """Training of a re-id network: the teacher, or a model of `train-reid`."""

    iterations: Count = 24000
    batch_size: int = Field(32, ge=2)
    """Images in an update, over all processes and micro-batches."""
    accumulation: Count = 1
    """Micro-batches whose gradients are added up for one update."""
    sampler: Sampler = "shuffled"
    per_identity: Count = 4
    """Images of an identity in a batch of the balanced sampler."""
    learning_rate: Positive = 0.05
    """Of the heads; the backbone learns at `backbone_factor` of it."""
    backbone_factor: float = Field(0.1, gt=0, le=1)
    warmup: Fraction = 0.08
    """Share of the iterations in which the learning rate rises from a tenth."""
    milestones: tuple[float, ...] = (0.667,)
    gamma: float = Field(0.1, gt=0, le=1)
    erasing: Fraction = 0.5
    jitter: float = Field(0.0, ge=0, lt=1)
    """Brightness, contrast and saturation of each image are multiplied by factors from 1 - jitter to 1 + jitter."""
    local_grey: Fraction = 0.0
    """Probability that a random rectangle of an image loses its colour."""


class TeacherSettings(ReidSettings):
    """The teacher: one head, average pooling."""

    checkpoints: tuple[str, ...] = ()
    """Re-id checkpoints to use as they are, their soft labels averaged; none: a teacher is trained."""
    last_stride: Literal[1, 2] = 1


class FeedSettings(ReidSettings):
    """`train-reid`: models on real and stored images."""

    ratio: Positive = 1.0
    """Generated images for each real one in a batch, at the start."""
    ratio_end: float | None = Field(None, ge=0)
    """The same at the end, linear in between; two images are the fewest. None: the same throughout."""
    ramp_start: Fraction = 0.0
    ramp_length: Fraction = 0.1
    stop_generated: Fraction = 1.0
    """Share of the iterations after which only real images are used (training in two stages); 1: never."""
    identity_mixup: Weight = 0.0
    """Two appearances and their labels are mixed in every image of a store of codes, with shares from Beta(m, m); 0:
    none. For the policy `appearance`."""
    labels: str = "soft"
    """Label policy of the generated images, see `dgaug.store.policies`."""
    teacher: Weight = 1.0
    """Of the label term on generated images, at the end of the ramp; real images have 1, as published (there 2
    against 2: anchor and positive)."""
    teacher_end: float | None = Field(None, ge=0)
    """What that weight would be at the end of the training, linear from the start; None: the same throughout."""
    fine: Weight = 0.2
    """Of the fine term on generated images (the structure donor's identity), relative to `teacher`; 0: none."""
    real_fine: Weight = 0.2
    """Of the fine term on real images."""
    weighting: Literal["equal", "confidence"] = "equal"
    """What a generated image counts: all the same, or as much as the teacher is sure of its most probable class."""
    label_smoothing: Fraction = 0.0
    """Of the identification terms on real images."""
    metric: Literal["none", "triplet", "circle", "multi-similarity", "contrastive"] = "none"
    """Metric loss on real images; it wants the balanced sampler."""
    metric_weight: Weight = 1.0
    fine_at_test: Weight = 0.5
    """Weight of the fine half in the ranking score."""


class LossSettings(Section):
    """Weights of the terms (method: generator-side total); 0 switches a term off."""

    adversarial: Weight = 1.0
    gradient_penalty: Weight = 0.01
    reconstruction: Weight = 5.0
    same_identity: Weight = 5.0
    identification: Weight = 1.0
    positive: Weight = 1.0
    generated_identity: Weight = 0.5
    teacher_identity: Weight = 0.0
    """The same by the fixed teacher instead of the appearance encoder that is still learning."""
    teacher_feature: Weight = 0.0
    """Distance between the teacher's features of a generated image and of its appearance donor."""
    structure_code: Weight = 1.0
    appearance_code: Weight = 0.0
    """The paper's appearance-code reconstruction; in the published code it gives no gradient, hence 0."""
    cycle: Weight = 2.0
    teacher: Weight = 2.0
    fine: Weight = 0.2
    """Of the fine terms, relative to the ramped teacher weight."""
    erasing: Fraction = 0.5
    structure_branch: Fraction = 0.5
    """Probability that the structure-code term trains the encoder; otherwise it trains the image."""


class StructureInputSettings(Section):
    """What the structure encoder sees in training; synthesis always shows it the mean of the channels."""

    mixing: Literal["mean", "random"] = "mean"
    """Grey as the mean of the channels, or with random weights of either sign for every image."""
    print: Fraction = 0.0
    """Probability that stripes or checks are printed on a random rectangle."""
    region: Literal["all", "middle"] = "all"
    """Where this happens: everywhere, or in middle columns with soft edges, where the person is; the background keeps
    its mean grey then."""

    @model_validator(mode="after")
    def _changes_something(self) -> StructureInputSettings:
        if self.region == "middle" and self.mixing == "mean" and not self.print:
            raise ValueError("region: middle needs mixing: random, or print above 0")
        return self


class ScheduleSettings(Section):
    """Length of DG-Net training and what changes on the way; fractions are of `iterations`."""

    iterations: Count = 100_000
    batch_size: int = Field(8, ge=2)
    """Images on each side of an update, over all processes and micro-batches."""
    accumulation: Count = 1
    """Micro-batches whose gradients are added up for one update."""
    sampler: Sampler = "shuffled"
    per_identity: Count = 1
    """Images of an identity in a batch of the balanced sampler."""
    ramp_start: Fraction = 0.3
    ramp_length: float = Field(0.04, gt=0, le=1)
    """From weight 0 to weight 2; a term of weight 1 is there in half of it."""
    adversarial_start: float = Field(0.0, ge=0, lt=1)
    """Where the discriminator and its terms begin; without them an iteration is shorter."""
    milestones: tuple[float, ...] = (0.6, 0.9)
    gamma: float = Field(0.1, gt=0, le=1)


class OptimizerSettings(Section):
    """Adam for generator and discriminator, SGD with Nesterov momentum for the appearance encoder."""

    generator: Positive = 1e-4
    discriminator: Positive = 1e-4
    backbone: Weight = 0.002
    heads: Weight = 0.02
    weight_decay: Weight = 5e-4
    warmup: Fraction = 0.0
    """Share of the iterations in which every learning rate rises from a tenth."""
    clip: Weight = 0.0
    """Largest gradient norm of an optimiser's step; 0 leaves gradients as they are."""
    ema: float = Field(0.999, ge=0, lt=1)
    """Decay of the EMA generator that `synthesize` uses; 0 uses the last one."""


class BehaviourSettings(Section):
    """Where the default departs from the published code; each can be set back."""

    teacher_statistics: Literal["running", "batch"] = "running"
    """Batch norm and dropout of the teacher: running = eval mode, so a label depends on its image only."""
    code_statistics: Literal["running", "batch"] = "running"
    """Batch norm of the passes that give appearance codes; running = what synthesis uses."""
    appearance_statistics: Literal["batch", "frozen"] = "batch"
    """Batch norm of the passes that train the appearance encoder; frozen = as it started, for small batches."""
    appearance_start: Literal["teacher", "weights"] = "teacher"
    """Where the appearance encoder's backbone starts: from the trained teacher, or from `model.weights`."""
    arithmetic: Literal["fast", "published"] = "fast"
    """How layers are computed: equal but for rounding; `published` takes every step as published, to the last bit."""
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False
    graphs: bool = True
    """Record a training iteration as CUDA graphs and launch it as a whole; changes nothing without a GPU."""
    tf32: bool = True
    """fp32 products and convolutions of training in TF32 on CUDA, to three digits and several times as fast."""
    deterministic: bool = False
    """On CUDA only kernels that repeat their bits, so that a resumed run continues to the same bits; slower."""


class CheckpointSettings(Section):
    """How often a run saves itself, shows images and writes its log; in iterations."""

    every: Count = 10_000
    preview: Count = 5_000
    log: Count = 50
    tracker: Literal["tensorboard", "wandb", "mlflow", "none"] = "tensorboard"
    """What follows the training beside `log.jsonl`."""


class ToySettings(Section):
    """The embedded data set that `train` writes when it is given no data."""

    identities: int = Field(24, ge=2)
    images_per_identity: int = Field(8, ge=2)
    cameras: int = Field(6, ge=1, le=99)


class Settings(Section):
    """Every setting of a run, as `config.yaml` records it."""

    name: str = Field("custom", pattern=r"^[A-Za-z0-9][\w.-]*$")
    seed: int = Field(0, ge=0, le=LARGEST_SEED)
    data: DataSettings = DataSettings()
    toy: ToySettings = ToySettings()
    model: ModelSettings = ModelSettings()
    teacher: TeacherSettings = TeacherSettings()
    loss: LossSettings = LossSettings()
    structure_input: StructureInputSettings = StructureInputSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    behaviour: BehaviourSettings = BehaviourSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    reid: FeedSettings = FeedSettings()

    def to_yaml(self) -> str:
        """The text of `config.yaml`."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2  # a few anchors of YAML make more text than there is memory
_SHORT.maxstring = _SHORT.maxother = 200


def load_settings(
    config: str | Path | None = None, *, overrides: Iterable[str] = (), flags: Mapping[str, Any] | None = None
) -> Settings:
    """Settings of a preset or a YAML file, changed by `section.name=value` texts and then by flags.

    Args:
        config: a preset's name, a path, or None for the defaults.
        overrides: texts such as `schedule.iterations=300`; values are read as YAML.
        flags: dotted names to values; None values are left out.

    Raises:
        DgaugError: unknown preset, file, section or name, or a value that does not fit.
    """
    values = _with({} if config is None else read_config(config), overrides)
    for name, value in (flags or {}).items():
        if value is not None:
            _put(values, name, value)
    return parse_settings(values, source=f"config {config}" if config else "settings")


def setting_texts(*given: str | Iterable[str]) -> list[str]:
    """All `section.name=value` texts of several arguments, of which each may be one text alone."""
    return [text for texts in given for text in ([texts] if isinstance(texts, str) else texts)]


def setting_text(name: str, value: str) -> str:
    """The `section.name=value` text that gives a setting this text as its value, quoted where YAML reads another."""
    try:
        same = read_yaml(value) == value
    except ValueError:
        same = False
    return f"{name}={value if same else json.dumps(value, ensure_ascii=False)}"


def override(settings: Settings, overrides: Iterable[str]) -> dict[str, Any]:
    """The nested values of settings, changed by `section.name=value` texts; see `parse_settings`."""
    return _with(settings.model_dump(mode="json"), overrides)


def parse_settings(values: object, *, source: str) -> Settings:
    """Validated settings from a nested dictionary; a fault names the setting, what is wrong and the nearest name."""
    try:
        return Settings.model_validate(_without_retired(values, source))
    except ValidationError as error:
        raise DgaugError(f"{source}: {_explain(error)}") from error


RETIRED = {
    "teacher.momentum": 0.9,
    "teacher.weight_decay": 5e-4,
    "reid.momentum": 0.9,
    "reid.weight_decay": 5e-4,
}
"""Settings of earlier versions that nobody had a reason to change, and what they always are now."""


def _without_retired(values: object, source: str) -> object:
    """The values as they are read today; DgaugError where an earlier version had another value of a retired setting."""
    if not isinstance(values, dict):
        return values
    kept = dict(values)
    for dotted, value in RETIRED.items():
        section, name = dotted.split(".")
        if not isinstance(kept.get(section), dict) or name not in kept[section]:
            continue
        kept[section] = dict(kept[section])
        if (found := kept[section].pop(name)) != value:
            raise DgaugError(
                f"{source}: {dotted} is no setting any more, it is always {value}; found {_SHORT.repr(found)}"
            )
    return kept


FREE = (
    "data.root",
    "data.workers",
    "checkpoint.every",
    "checkpoint.preview",
    "checkpoint.log",
    "checkpoint.tracker",
    "behaviour.graphs",
    "behaviour.tf32",
    "behaviour.deterministic",
    "reid.",
)
"""Settings that no weight of a run depends on but for rounding, and sections of them: it may resume with others."""


def decisive(settings: Settings) -> dict[str, object]:
    """By dotted name, the settings that the weights of a run depend on."""
    values = flat(settings.model_dump(mode="json"), ".")
    return {name: value for name, value in values.items() if not name.startswith(FREE)}


def _with(values: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    for text in overrides:
        name, equals, value = text.partition("=")
        if not equals:
            raise DgaugError(f"--set {text!r}: expected section.name=value, such as schedule.iterations=300")
        try:
            _put(values, name.strip(), read_yaml(value))
        except ValueError as error:
            raise DgaugError(f"--set {text!r}: the value is not valid YAML") from error
    return values


def _put(values: dict[str, Any], dotted: str, value: Any) -> None:
    *sections, name = dotted.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise DgaugError(f"--set {dotted}: {section} is a value, not a section")
    values[name] = value


def _explain(error: ValidationError) -> str:
    fault = error.errors()[0]
    place = [str(part) for part in fault["loc"]]
    dotted = ".".join(place)
    if fault["type"] != "extra_forbidden":
        return f"{dotted or 'settings'} = {_SHORT.repr(fault['input'])}: {fault['msg']}"
    section: Any = Settings
    for part in place[:-1]:
        section = section.model_fields[part].annotation
    return f"unknown setting {dotted!r}{nearest(place[-1], section.model_fields)}"
