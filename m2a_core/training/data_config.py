"""What a run trains on: data set, targets, augmentation, pasted objects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from m2a_core.data.own.opening import CLASSES, FORMATS
from m2a_core.training.strict import require, require_choice, require_counts, require_not_negative, require_shares

DATASETS = ("camvid", "roads", "cityscapes", "streethazards", "coco_panoptic", "own")
ROAD_SETS = ("cityscapes_640", "camvid", "idd_lite", "idd_obstacles")
SEGMENTS = ("component", "class", "instance")
VOID_RULES = ("ignore", "background", "class")
SCALE_BASES = ("image", "crop", "height")
SCALE_DRAWS = ("log", "uniform")
BLEND_MODES = ("alpha", "hard", "gaussian", "poisson")
OUTLIER_SOURCES = ("cutouts", "coco", "auto", "none")


def require_mix(name: str, mix: Mapping[str, float]) -> None:
    """Check the shares of `DataConfig.mix`; raises `ConfigError`."""
    require(set(mix) <= set(ROAD_SETS), name, f"sets among {', '.join(ROAD_SETS)}", sorted(mix))
    require(all(0 < share < math.inf for share in mix.values()), name, "finite shares of more than 0", dict(mix))


@dataclass(frozen=True)
class AugmentConfig:
    """Image augmentation.

    Attributes:
        crop: height, width of the training crop in pixels; batches are padded to multiples of 32 with zeros after
            normalisation, which are void.
        scale: smallest and largest random scale.
        scale_base: 1 is the size of the ``image``, or the size at which it just fits the ``crop`` (detectron2's
            ``ResizeScale``, the large-scale jittering of COCO recipes), or at which its ``height`` is the crop's.
        scale_draw: ``log``-uniform, or ``uniform`` as in large-scale jittering (Ghiasi et al., CVPR 2021).
        aspect: largest random change of the aspect ratio (1 = none).
        flip: probability of a left-right flip.
        rare_crop: probability that the crop is centred on a random class instead of a random pixel.
        road_paint: probability that stripes in yellow or white are painted on the road, which stays road.
        road_marks: probability that flat things are drawn on the road, which stays road: lids, mended asphalt, puddles
            that mirror the scene, light between leaves.
        text: probability that text is written over the image, as recorders and agencies do; classes stay.
        letterbox: probability that the whole frame is shrunk into the crop with padding right or below.
        color: strength of brightness, contrast, saturation and hue jitter, 0..1.
        degrade: probability of each of blur, noise and JPEG compression of the whole image.
    """

    crop: tuple[int, int] = (288, 384)
    scale: tuple[float, float] = (0.5, 2.0)
    scale_base: str = "image"
    scale_draw: str = "log"
    aspect: float = 1.1
    flip: float = 0.5
    rare_crop: float = 0.5
    road_paint: float = 0.0
    road_marks: float = 0.0
    text: float = 0.0
    letterbox: float = 0.1
    color: float = 0.4
    degrade: float = 0.2

    def __post_init__(self) -> None:
        """Check ranges."""
        require(min(self.crop) >= 32, "crop", "height and width of at least 32", list(self.crop))
        low, high = self.scale
        require(0 < low <= high < math.inf, "scale", "0 < smallest <= largest, finite", list(self.scale))
        require_choice(self, "scale_base", SCALE_BASES)
        require_choice(self, "scale_draw", SCALE_DRAWS)
        require(1 <= self.aspect < math.inf, "aspect", "finite, at least 1", self.aspect)
        require_shares(self, "flip", "rare_crop", "road_paint", "road_marks", "text", "letterbox", "color", "degrade")


@dataclass(frozen=True)
class BlendConfig:
    """How a pasted object is fitted to its surroundings; ranges are drawn uniformly.

    Attributes:
        match: share of the colour mean and contrast taken over from the surroundings.
        blur: sigma of the object's blur, pixels.
        edge: sigma of the alpha's blur, pixels; ``hard`` and ``gaussian`` have their own.
        noise: sigma of added noise, grey levels.
        shadow: probability of a soft shadow under the object.
        texture_swap: probability that the object is filled with another cut-out's texture.
        recolor: probability that an unknown object gets another hue, saturation and brightness.
        stretch: largest random change of an unknown object's aspect (1 = none).
        hide: probability that a part of an unknown object is hidden, up to half of it.
        on_road: probability that it stands on road or pavement.
        metres: smallest and largest length of the longer side of an object on the road, for the row it stands in.
        large: probability that the object is near and large, whatever ``metres`` says: its longer side is 0.3 to 0.9 of
            the frame's height.
        far: probability that an object on the ground is placed by its distance, each octave as likely as the next,
            instead of by its row, of which most are near.
        modes: one is drawn per object: ``alpha`` (its own soft edge), ``hard`` (cut at half its alpha), ``gaussian``
            (a wide soft edge of 1.5 to 3 pixels), ``poisson`` (gradients of the object on the surroundings' colours,
            OpenCV's ``seamlessClone``; objects at the frame's edge fall back to alpha).
    """

    match: tuple[float, float] = (0.0, 0.7)
    blur: tuple[float, float] = (0.0, 1.2)
    edge: tuple[float, float] = (0.0, 1.2)
    noise: tuple[float, float] = (0.0, 6.0)
    shadow: float = 0.35
    texture_swap: float = 0.1
    recolor: float = 0.0
    stretch: float = 1.0
    hide: float = 0.0
    on_road: float = 0.75
    metres: tuple[float, float] = (0.25, 1.8)
    large: float = 0.0
    far: float = 0.0
    modes: tuple[str, ...] = ("alpha",)

    def __post_init__(self) -> None:
        """Check ranges."""
        good = len(self.modes) > 0 and set(self.modes) <= set(BLEND_MODES)
        require(good, "modes", f"some of {', '.join(BLEND_MODES)}", list(self.modes))
        require_shares(self, "shadow", "texture_swap", "recolor", "hide", "on_road", "large", "far")
        require(1 <= self.stretch < math.inf, "stretch", "finite, at least 1", self.stretch)
        for name in ("match", "blur", "edge", "noise", "metres"):
            low, high = getattr(self, name)
            least_is_open = name == "metres"
            fits = 0 <= low <= high < math.inf and (low > 0 or not least_is_open)
            require(fits, name, "0 <= smallest <= largest, finite", [low, high])


@dataclass(frozen=True)
class OutlierConfig:
    """Where pasted unknown objects come from (AnomalyMix, Sec. 4.3).

    Attributes:
        source: ``cutouts`` (RGBA files with a list, ``ROOT/train.csv``), ``coco`` (images with instance masks),
            ``none`` (nothing is pasted, and no ranking of anomalies is validated) or ``auto`` (own data alone:
            ``cutouts`` where there are any, else ``none``).
        root: folder, relative to the data root.
        more_roots: of ``cutouts``: further folders of the same layout.
        held: of ``cutouts``: kinds never trained on, in place of the list in `DataConfig.validation_kinds`.
        favour: of ``cutouts``: kind -> how many times likelier than others it is drawn.
        shares: folder of ``more_roots`` -> share of the pasted objects that are drawn from it, each of its kinds as
            often as the next; without, a few cut-outs drown among hundreds of others.
        images: of ``coco``: folder of the images, relative to ``root``.
        annotations: of ``coco``: instance annotations, relative to ``root``.
        count: of ``coco``: images that give one object each; the tenth of it comes on top, for validation.
        exclude: of ``coco``: categories that are known classes and must not be taught as unknown.
        subset: seed of the choice: another one draws other images (Table 9).
        limit: of ``cutouts``: so many are drawn for training; 0 = all.
    """

    source: str = "cutouts"
    root: str = "outliers"
    more_roots: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    favour: dict[str, float] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    images: str = "train2017"
    annotations: str = "annotations/instances_train2017.json"
    count: int = 300
    exclude: tuple[str, ...] = ()
    subset: int = 0
    limit: int = 0

    def __post_init__(self) -> None:
        """Check ranges."""
        require_choice(self, "source", OUTLIER_SOURCES)
        require(set(self.shares) <= set(self.more_roots), "shares", "folders of more_roots", sorted(self.shares))
        good = all(share > 0 for share in self.shares.values()) and sum(self.shares.values()) < 1
        require(good, "shares", "shares of more than 0, less than 1 together", self.shares)
        factors = all(0 <= factor < math.inf for factor in self.favour.values())
        require(factors, "favour", "finite factors of at least 0", self.favour)
        of_cutouts = {"more_roots": self.more_roots, "held": self.held, "limit": self.limit}
        given = [name for name, value in of_cutouts.items() if value]
        require(self.source != "coco" or not given, "source", f"cutouts with {', '.join(given)}", self.source)
        require_counts(self, "count")
        require_not_negative(self, "subset", "limit")


@dataclass(frozen=True)
class HardNegativeConfig:
    """Known things that were taken for unknown: pasted like outliers, and labelled as known (ours, not in the paper).

    Attributes:
        roots: folders of cut-outs, relative to the data root, laid out as `OutlierConfig.root` is; empty = none.
        prob: probability that an image gets one or two of them.
        classes: kind -> name of the known class that they are labelled as. A kind that is named as a class needs none;
            all others take the classes of what they are pasted on.
    """

    roots: tuple[str, ...] = ()
    prob: float = 0.0
    classes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check ranges."""
        require_shares(self, "prob")
        require((self.prob > 0) == bool(self.roots), "prob", "more than 0 with roots, 0 without", self.prob)


@dataclass(frozen=True)
class DataConfig:
    """What is trained on and what is held apart.

    Attributes:
        dataset: ``camvid``, ``roads`` (the sets of ``mix`` with the classes of Cityscapes), ``cityscapes``,
            ``streethazards``, ``coco_panoptic`` or ``own`` (what ``format`` stands for); all but CamVid are read from
            disk step by step, train split and validation split as distributed.
        format: of own data, see ``m2a_core.data.own.opening.FORMATS``; empty with the other data sets.
        classes: of own data: the file of the classes, in ``root`` or beside the configuration.
        mix: of ``roads``: set -> how often each of its frames comes in an epoch; below 1, every 1/share-th frame comes
            once. Sets: ``cityscapes_640``, ``camvid``, ``idd_lite``, and ``idd_obstacles``, those frames of IDD-lite
            that have a marked real obstacle, which is an outlier.
        root: its folder, relative to the data root; empty = the data set's name, of own data the data root itself.
        segments: what one target mask is: of things a connected ``component`` (CamVid has no instances), of every
            class one mask (``class``, the semantic recipes of Mask2Former) or an ``instance`` (``roads`` and panoptic
            data; frames without instances fall back to components).
        void: unlabelled pixels: left out of the losses (``ignore``), outside of every mask (``background``, as in
            Mask2Former, so that removed classes of a K-split are background) or a class of their own (``class``,
            the Void-train baseline of Table 4; the network gets one class more).
        splits: CamVid split to stride: ``{train: 1, val: 5}`` takes every train frame and every fifth val frame.
        held_apart: share of the end of each ``train`` sequence of CamVid kept for validation.
        min_component: connected components of things below this area (pixels of the crop) are ignored.
        max_segments: of more segments in a crop, the smallest are ignored; at most the network's queries.
        validation_kinds: YAML file listing the outlier kinds never trained on, relative to the configuration file;
            empty = every fifth kind.
        outliers: where pasted unknown objects come from.
        hard_negatives: known things that were taken for unknown.
        blend: how they are fitted in.
        augment: image augmentation.
        annotated: folders of COCO instances, relative to the data root, in whose frames only some objects are
            annotated and all else is void -> how often each frame comes in an epoch.
    """

    dataset: str = ""
    format: str = ""
    classes: str = CLASSES
    root: str = ""
    segments: str = "component"
    void: str = "ignore"
    mix: dict[str, float] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=lambda: {"train": 1})
    held_apart: float = 0.13
    min_component: int = 20
    max_segments: int = 50
    validation_kinds: str = "outlier_validation_kinds.yaml"
    outliers: OutlierConfig = field(default_factory=OutlierConfig)
    hard_negatives: HardNegativeConfig = field(default_factory=HardNegativeConfig)
    blend: BlendConfig = field(default_factory=BlendConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    annotated: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check ranges."""
        if not self.dataset:
            object.__setattr__(self, "dataset", "own" if self.format else "camvid")
        require_choice(self, "dataset", DATASETS)
        require(all(n >= 1 for n in self.annotated.values()), "annotated", "folder: 1 or more", self.annotated)
        own = self.dataset == "own"
        require(own == bool(self.format), "format", "a format with dataset own, none with others", self.format)
        if own:
            require_choice(self, "format", tuple(FORMATS))
        require(own or self.outliers.source != "auto", "outliers.source", "auto with own data alone", "auto")
        require_choice(self, "segments", SEGMENTS)
        require_choice(self, "void", VOID_RULES)
        instances = self.segments != "instance" or self.dataset in ("coco_panoptic", "roads", "own")
        require(instances, "segments", "component or class: this dataset holds no instances", self.segments)
        require(
            bool(self.mix) == (self.dataset == "roads"), "mix", "sets with dataset roads, none with others", self.mix
        )
        require_mix("mix", self.mix)
        require(all(stride >= 1 for stride in self.splits.values()), "splits", "strides of at least 1", self.splits)
        require_shares(self, "held_apart")
        require_counts(self, "max_segments")
        require_not_negative(self, "min_component")
