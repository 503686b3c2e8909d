"""The node's parameters: each declared with a description and a range; `m2a_ros.parameters.settings` has their values.

``config/m2a.param.yaml`` holds the same parameters with the same defaults; a test keeps the two equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields

from m2a_core.bundle.loading import DEFAULT_MODEL
from m2a_core.bundle.manifest import Thresholds
from m2a_core.encoded_image import MAX_PIXELS
from m2a_core.geometry.projection import MOUNTING_LIMITS, Mounting
from m2a_core.overlay import OVERLAY_WIDTH
from m2a_core.runtime.factory import BACKENDS
from m2a_core.tracking.update import LOW_THRESHOLD
from m2a_ros.parameters.camera_settings import camera_parameters
from m2a_ros.parameters.spec import TRANSPORTS, ParameterSpec

MODELS_OWN = -1.0
"""Value of ``thresholds.*`` that stands for the threshold in the model's manifest."""

EXTRINSICS = ("auto", "tf", "parameters")

NO_FALLBACK = "none"

REPORT, SUPPRESS = DEGRADED_POLICIES = ("report", "suppress")

REGIONS = ("scene", "road")

TOPIC_TOKEN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""What a camera's name must match."""


NODE_PARAMETERS = (
    ParameterSpec("autostart", True, "Configure and activate at start; false leaves it to a lifecycle manager."),
    ParameterSpec(
        "model", DEFAULT_MODEL, "Model bundle: name under engines/, directory, or .onnx beside a manifest.",
        required=True,
    ),
    ParameterSpec(
        "require_signature", False,
        "Load only a model that is signed by one of trusted_keys; see `m2a bundle`.",
    ),
    ParameterSpec(
        "trusted_keys", [""],
        "Files of public keys (Ed25519, PEM). A model's signature must be by one of them; [''] looks at none.",
    ),
    ParameterSpec("backend", BACKENDS[0], "What runs the network.", choices=BACKENDS),
    ParameterSpec(
        "fallback_backend", NO_FALLBACK,
        "What runs the network where 'backend' cannot, also not one frame; with an error in the log; none: it stands.",
        choices=(NO_FALLBACK, *BACKENDS),
    ),
    ParameterSpec("device", 0, "Index of the GPU that a back end runs on.", (0, 63)),
    ParameterSpec("threads", 0, "CPU threads for one inference; 0 leaves it to the back end (all cores).", (0, 256)),
    ParameterSpec(
        "classes",
        [""],
        "Names of the classes that the model must have, in the order of their ids; [''] accepts any. "
        "Set it where a consumer relies on ids: a model with other classes is then refused.",
    ),
    ParameterSpec("cameras", ["front"], "Names of the cameras; each is a part of topic names."),
    ParameterSpec(
        "transport",
        "auto",
        "Which image topic to read: raw, compressed, or auto (raw if it has a publisher, else compressed if that has).",
        choices=TRANSPORTS,
    ),
    ParameterSpec(
        "max_image_pixels", MAX_PIXELS,
        "A compressed image of more pixels is refused before it is decoded: a few kilobytes can claim any size.",
        (1, 1_000_000_000), live=True,
    ),
    ParameterSpec(
        "max_rate", 0.0, "Frames a second and camera to process at most; the rest is dropped; 0 for no limit.",
        (0.0, 1000.0), live=True,
    ),
    ParameterSpec(
        "batch.anchor",
        "",
        "Camera that sets the pace: its frames are processed together with those of the other cameras that belong to "
        "them; empty processes every frame by itself.",
    ),
    ParameterSpec(
        "batch.max_spread", 0.05, "Seconds by which a frame's stamp may differ from the anchor's.", (0.0, 10.0)
    ),
    ParameterSpec("batch.wait", 0.03, "Seconds after the anchor's frame that the other cameras have.", (0.0, 10.0)),
    ParameterSpec(
        "output.resolution", "image",
        "Size of the maps: image (the camera's own, aligned with its camera_info), network (in which the network saw "
        "the image: no upsampling, a fraction of the bandwidth), or WIDTHxHEIGHT; output camera_info follows.",
        live=True,
    ),
    ParameterSpec(
        "overlay.max_width", OVERLAY_WIDTH,
        "Pixels; wider images get an overlay of this width, or of the maps' if that is smaller; 0 for the image's own.",
        (64, 16384), special=0, live=True,
    ),
    ParameterSpec("overlay.jpeg_quality", 90, "Quality of the compressed overlay.", (1, 100), live=True),
    ParameterSpec(
        "horizon.window", True,
        "Look a second time, at twice the detail, at a window at the road's far end, where images hold more detail "
        "than the network's input; takes twice the network's time.",
        live=True,
    ),
    ParameterSpec(
        "rectified_cameras",
        [""],
        "Cameras whose images are rectified (image_rect): P of their camera_info holds, not K and D.",
    ),
    ParameterSpec(
        "base_frame", "base_link", "Frame of the markers, on the vehicle: x forward, y left, z up.", required=True
    ),
    ParameterSpec("ground_z", 0.0, "Height of the ground in base_frame, metres.", (-100.0, 100.0), live=True),
    ParameterSpec(
        "extrinsics",
        "auto",
        "What tells where the cameras are: tf (the image's frame_id), parameters (mounting.*), or auto: tf where "
        "tf2_ros is installed, else parameters.",
        choices=EXTRINSICS,
    ),
    ParameterSpec(
        "depth_tolerance", 0.05,
        "Seconds by which the stamp of a depth image may differ from that of the image it belongs to.",
        (0.0, 10.0), live=True,
    ),
    ParameterSpec(
        "markers.max_distance", 60.0, "Metres from the camera beyond which an unknown instance gets no marker.",
        (1.0, 1000.0), live=True,
    ),
    ParameterSpec(
        "markers.region", REGIONS[0],
        "Which unknown instances get markers: all of the scene, or those on or close to the road that the model sees.",
        choices=REGIONS, live=True,
    ),
    ParameterSpec(
        "markers.lifetime", 1.0, "Seconds after which a viewer drops a marker that is not renewed; 0 for never.",
        (0.0, 3600.0),
    ),
    ParameterSpec(
        "tracking.min_hits", 2,
        "Frames in which an unknown instance must be strong (reach thresholds.refined) before it gets a marker; a "
        "frame without it starts the count again.",
        (1, 100), live=True, old_name="tracking.confirm_frames",
    ),
    ParameterSpec(
        "tracking.max_age", 5, "Frames for which an unknown instance may be unseen and still keep its number.",
        (0, 100), live=True, old_name="tracking.keep_frames",
    ),
    ParameterSpec(
        "temporal.low_threshold",
        LOW_THRESHOLD,
        "Score `refined` down to which an object that was seen before is kept; 1.0 switches this off.",
        (0.0, 1.0),
        live=True, old_name="temporal.hold",
    ),
    ParameterSpec(
        "temporal.min_low_hits", 4,
        "Frames in a row with at least temporal.low_threshold that confirm an object too weak by itself; 0 for never.",
        (0, 100), live=True, old_name="temporal.support_frames",
    ),
    ParameterSpec(
        "watchdog.timeout", 1.5,
        "Seconds that one step of a frame (decoding, the network, heads and publishing) may take; then diagnostics say "
        "ERROR. Nothing is published meanwhile.",
        (0.1, 3600.0), live=True,
    ),
    ParameterSpec(
        "watchdog.restart", True,
        "Abandon a step that takes five times as long and reload the model, with growing pauses; false only reports.",
        live=True,
    ),
    ParameterSpec(
        "watchdog.isolate", False,
        "Run the network in a process of its own: where it crashes, hangs or loses the GPU it is killed and started "
        "again, and the node goes on; false ends the node with code 6 where the GPU is lost.",
    ),
    ParameterSpec(
        "degraded.policy", REPORT,
        "What happens to images that are black, saturated, covered, noisy, blurred or frozen: report (in "
        "diagnostics), or suppress (nothing is published for them either).",
        choices=DEGRADED_POLICIES, live=True,
    ),
    ParameterSpec("diagnostics.period", 1.0, "Seconds between two messages on /diagnostics.", (0.1, 60.0)),
    ParameterSpec(
        "diagnostics.frame_timeout", 1.5, "Seconds without a frame after which a camera counts as silent.",
        (0.1, 3600.0), live=True,
    ),
)  # fmt: skip

_THRESHOLD_MEANINGS = {
    "anomaly": "Score from which a pixel is unknown; the model's decision says which score.",
    "refined": "Score `refined` from which a pixel is the seed of an unknown instance.",
    "extent": "Score `refined` down to which an unknown instance extends.",
    "peak_share": "Share of its own peak, in log-odds of `refined`, down to which an instance extends; 0: no limit.",
    "color_area": "Largest unknown instance whose outline the image's colors draw, as a share of its pixels; 0: none.",
    "background": "Background score B (Eq. 17) from which a pixel is background; only for COCO's panoptic classes.",
    "keep_score": "Class probability from which a query takes part in the panoptic merge.",
    "overlap": "Share of its mask that a query's segment must keep in the panoptic merge.",
    "component_overlap": "IoU from which a background component belongs to a query's mask (Sec. 6.3).",
    "min_area": "Smallest unknown instance, as a share of the image's pixels; in the horizon window, of the window's.",
}

THRESHOLD_PARAMETERS = tuple(
    ParameterSpec(
        f"thresholds.{field.name}",
        MODELS_OWN,
        f"{_THRESHOLD_MEANINGS[field.name]} 0..1, or -1 for the model's own value.",
        (0.0, 1.0),
        special=MODELS_OWN,
        live=True,
    )
    for field in fields(Thresholds)
)

MOUNTING_MEANINGS = {
    "x": "metres forward of the base frame's origin",
    "y": "metres to the left of the base frame's origin",
    "height": "metres above the ground",
    "roll": "radians about x, positive lowers the right side",
    "pitch": "radians about y, positive looks down",
    "yaw": "radians about z, positive looks to the left",
    "pitch_uncertainty": "radians the true pitch may differ by while driving; widens distance bounds",
}
"""What each field of `Mounting` says."""


def mounting_parameters(camera: str) -> tuple[ParameterSpec, ...]:
    """The parameters that say where one camera sits."""
    defaults = Mounting()
    return tuple(
        ParameterSpec(
            f"mounting.{camera}.{name}",
            getattr(defaults, name),
            f"Camera '{camera}': {meaning}.",
            MOUNTING_LIMITS[name],
            live=True,
        )
        for name, meaning in MOUNTING_MEANINGS.items()
    )


def all_parameters(cameras: Iterable[str]) -> tuple[ParameterSpec, ...]:
    """Every parameter of a node with these cameras."""
    own = (spec for name in cameras for spec in (*camera_parameters(name), *mounting_parameters(name)))
    return (*NODE_PARAMETERS, *THRESHOLD_PARAMETERS, *own)
