"""The harvest of one bag: what a fleet hands to its workers, and what a single process does itself."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from m2a_core.bundle.loading import load_bundle
from m2a_core.harvest.bag_records import BagIdentity, BagRecords
from m2a_core.harvest.encoders import create_encoder
from m2a_ros.harvest.results import ReplayedBag
from m2a_ros.harvest.scan import scan_bag

BAGS = "bags"
_FORMAT = 2


@dataclass(frozen=True)
class HarvestTask:
    """One bag to harvest; goes to other processes and machines as it is.

    Attributes:
        out: the harvest's folder, which every worker must reach by this path.
        replayed: the bag and its results.
        model: folder of the bundle that the replay was of.
        encoder: an ONNX file for the embeddings; None for the model's own features.
        keep_frames: also keep whole frames.
        threads: CPU threads of the network; None for all cores.
        embedding: what the embeddings depend on.
    """

    out: Path
    replayed: ReplayedBag
    model: Path
    encoder: Path | None
    keep_frames: bool
    threads: int | None
    embedding: str

    @property
    def name(self) -> str:
        """Of its file of records: what other settings or another bag would name otherwise."""
        depends = [_FORMAT, self.replayed.identity, self.embedding, self.keep_frames]
        digest = hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:16]
        return f"{re.sub(r'[^A-Za-z0-9_-]', '_', self.replayed.name)[:48]}-{digest}"

    @property
    def file(self) -> Path:
        """Its records; there when the bag is done."""
        return self.out / BAGS / f"{self.name}.parquet"

    @property
    def cpus(self) -> int:
        """CPUs that it takes."""
        return self.threads or 1

    def work(self, progress: Callable[[int], object]) -> None:
        """Make the bag's records; leaves ``file``.

        Args:
            progress: told how many frames were looked at since the last call.

        Raises:
            DataError: a bag is damaged, gone, or has changed since it was replayed.
            ModelError: the model or the encoder cannot be used.
            OSError: the records cannot be written.
        """
        encoder = create_encoder(load_bundle(self.model), self.encoder, self.threads)
        identity = BagIdentity(self.replayed.name, self.replayed.identity, self.replayed.model["onnx_sha256"])
        records = BagRecords(self.out, identity, encoder)
        scan_bag(self.replayed, records, self.keep_frames, progress)
        records.finish(self.file)
