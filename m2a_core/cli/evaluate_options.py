"""Which options of `m2a evaluate` say something in which mode; all others are refused rather than ignored."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from m2a_core.cli.given_options import refuse
from m2a_core.errors import ConfigError

if TYPE_CHECKING:
    from m2a_core.data.base import Dataset

_OF_SCORE_MAPS = ("key", "images")
_OF_MODELS = ("model", "scores", "region", "horizon", "format", "classes")
_OF_ANOMALIES = ("scores", "region", "track", "threshold", "workers")
_OF_FIGURES = ("track", "threshold", "workers")


def check_mode(args: argparse.Namespace) -> None:
    """Check that the options fit the mode: score maps (``--pred``), a model (``--dataset``) or ``--submission``.

    Raises:
        ConfigError: no mode is chosen, or an option belongs to another one.
    """
    by_folder, by_model = (args.pred, args.gt), (args.dataset, args.root)
    if args.submission is not None and args.dataset is None:
        raise ConfigError("--submission: written by a model; give --dataset NAME --root DIR, not --pred and --gt")
    if all(by_folder) and not any(by_model):
        refuse(args, _OF_MODELS, "only with --dataset NAME --root DIR; --pred takes score maps as they are")
    elif all(by_model) and not any(by_folder):
        refuse(args, _OF_SCORE_MAPS, "only with --pred DIR --gt DIR")
        if args.dataset != "own":
            refuse(args, ("format", "classes"), "only with --dataset own")
        if args.submission is not None:
            refuse(args, _OF_FIGURES, "not with --submission, which gives no figures")
    else:
        raise ConfigError("give either --pred DIR --gt DIR, or --dataset NAME --root DIR [--model ...]")


def check_dataset(args: argparse.Namespace, dataset: Dataset) -> None:
    """Check that the options fit what a data set holds.

    Raises:
        ConfigError: an option is of anomalies, and it has classes alone.
    """
    if dataset.anomaly is None:
        refuse(args, _OF_ANOMALIES, f"only with ground truth of anomalies; data set '{args.dataset}' has none")
