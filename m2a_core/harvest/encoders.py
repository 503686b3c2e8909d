"""What an object looks like, as a vector: the network's own features under its mask, or an encoder of the user's."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort

from m2a_core.bundle.loading import ModelBundle
from m2a_core.contract.io_spec import INPUT
from m2a_core.errors import InferenceError, ModelError
from m2a_core.files import read_regular
from m2a_core.harvest.appearance import colours, outline
from m2a_core.harvest.bag_records import Encoder, unit
from m2a_core.harvest.feature_graph import feature_session
from m2a_core.preprocess import IMAGENET_MEAN, IMAGENET_STD, Letterbox
from m2a_core.runtime.onnx_runtime import ort_errors

MASK_WEIGHT = 0.5
"""Of the mask features beside a map of the backbone."""

NETWORK, EXTERNAL = "features and colours, model", "encoder"

_DEFAULT_SIDE = 224
_MAX_ONNX_BYTES = 1 << 32


class AppearanceEncoder:
    """Colours and outline alone: for a graph without mask features."""

    def embed(self, image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, ...]:
        """See ``Encoder``."""
        return (unit(np.concatenate([colours(image, mask), outline(mask) / 2])),)


class NetworkEncoder:
    """The network's features under the mask (mask features, the backbone's last two maps), with colours and outline.

    Mask features are trained to tell the known classes apart and say little of unknown ones; the backbone's maps make
    clusters purer (docs/harvest.md has figures). The network sees the crop, not the frame: near and far objects then
    have one size, and one crop is all it takes. It sees it twice, the second time without what surrounds the object.
    Of each map mean and standard deviation are taken.
    """

    def __init__(self, session: ort.InferenceSession, input_size: tuple[int, int]) -> None:
        """Join a session of ``feature_session`` with the size of its input."""
        self._session, self._letterbox = session, Letterbox(input_size)
        self._appearance = AppearanceEncoder()

    def embed(self, image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, ...]:
        """See ``Encoder``."""
        rim = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        looks = (image, _alone(image, rim))
        return (*(block for look in looks for block in self._look(look, mask)), *self._appearance.embed(image, mask))

    def _look(self, image: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
        fitted, geometry = self._letterbox.apply(image)
        try:
            maps = self._session.run(None, {INPUT.name: fitted[None]})
        except (RuntimeError,) + ort_errors() as error:
            raise InferenceError(f"features: ONNX Runtime failed on a crop ({str(error)[:200]})") from error
        blocks = []
        for number, features in enumerate(maps):
            values = features[0].astype(np.float32)
            # What the network pads its input with lies right and below, so the strides tell where the crop ends.
            stride = 2 ** round(np.log2(self._letterbox.input_size[1] / values.shape[2]))
            height, width = (max(1, round(side / stride)) for side in geometry.valid)
            weights = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
            inside = weights[: values.shape[1], : values.shape[2]]
            moments = _moments(values[:, : inside.shape[0], : inside.shape[1]], inside)
            blocks += [unit(moment) * (1.0 if number else MASK_WEIGHT) for moment in moments]
        return blocks


class ExternalEncoder:
    """An image encoder from an ONNX file.

    The graph takes one float32 image [1, 3, H, W], normalised as for ImageNet, and its first output is a vector, a map
    or a row of tokens, of which the mean is taken.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        """Load it.

        Raises:
            ModelError: the file cannot be read, is no ONNX graph, or takes something else than an image.
        """
        try:
            data = read_regular(path, _MAX_ONNX_BYTES)
            options = ort.SessionOptions()
            options.intra_op_num_threads = threads or 0
            options.log_severity_level = 3
            options.add_session_config_entry("session.load_model_format", "ONNX")
            self._session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except (OSError, RuntimeError, ValueError, NotImplementedError) + ort_errors() as error:
            raise ModelError(f"--encoder {path}: cannot be loaded ({str(error).strip()[:200]})") from error
        inputs = self._session.get_inputs()
        shape = list(inputs[0].shape) if inputs else []
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(shape) != 4 or shape[1] != 3:
            found = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
            raise ModelError(f"--encoder {path}: expected one input, float32 [1, 3, H, W], got {found or 'none'}")
        self._size = tuple(side if isinstance(side, int) else _DEFAULT_SIDE for side in shape[2:])
        self._input, self._path = inputs[0].name, path

    def embed(self, image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, ...]:
        """See ``Encoder``; what is not the object is grey, so that its surrounding says nothing."""
        alone = _alone(image, mask)
        fitted = cv2.resize(alone, (self._size[1], self._size[0]), interpolation=cv2.INTER_AREA).astype(np.float32)
        values = ((fitted - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)).astype(np.float32)
        try:
            output = np.asarray(self._session.run(None, {self._input: values.transpose(2, 0, 1)[None]})[0], np.float32)
        except (RuntimeError,) + ort_errors() as error:
            raise InferenceError(f"--encoder {self._path}: failed on a crop ({str(error)[:200]})") from error
        if output.ndim == 4:
            output = output.mean(axis=(2, 3))
        elif output.ndim == 3:
            output = output.mean(axis=1)
        if output.ndim != 2 or not np.isfinite(output).all():
            raise InferenceError(
                f"--encoder {self._path}: expected finite vectors, a map or tokens as its first output"
            )
        return (unit(output[0]),)


def create_encoder(bundle: ModelBundle, external: Path | None = None, threads: int | None = None) -> Encoder:
    """The encoder of a harvest: the user's, else the network's features, else appearance where a graph has none.

    Raises:
        ModelError: a file cannot be used.
    """
    if external is not None:
        return ExternalEncoder(external, threads)
    if bundle.manifest.camera is not None:
        raise ModelError(
            f"{bundle.manifest.name}: its graph takes whole images of one camera, not crops; harvest with the "
            "bundle it was made from"
        )
    session = feature_session(bundle, threads)
    if session is None:
        return AppearanceEncoder()
    return NetworkEncoder(session, bundle.manifest.input_size)


def encoder_name(bundle: ModelBundle, external: Path | None) -> str:
    """What ``create_encoder`` would make, without loading it: other embeddings have another name.

    Raises:
        ModelError: the file cannot be read.
    """
    if external is None:
        return f"{NETWORK} {bundle.manifest.onnx_sha256[:12]}"
    try:
        return f"{EXTERNAL} {hashlib.sha256(read_regular(external, _MAX_ONNX_BYTES)).hexdigest()[:12]}"
    except OSError as error:
        raise ModelError(f"--encoder {external}: cannot be read ({error.strerror or error})") from error


def _alone(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A crop uint8 [h, w, 3] that is grey outside of a mask."""
    return np.where(mask[..., None], image, np.array(IMAGENET_MEAN).astype(np.uint8)).astype(np.uint8)


def _moments(features: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float32 [C] each: mean and standard deviation of features [C, h, w] by weights [h, w] >= 0."""
    total = float(weights.sum())
    if total <= 0:
        weights, total = np.ones_like(weights), float(weights.size)
    mean, square = (np.tensordot(of, weights, ((1, 2), (0, 1))) / total for of in (features, features**2))
    return mean, np.sqrt(np.maximum(square - mean**2, 0))
