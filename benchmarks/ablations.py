"""The paper's ablations in small: CamVid, pasted cut-outs, few steps from one shared network; tables and plots.

    python benchmarks/ablations.py --table 5b --start known.safetensors --steps 200 --seeds 0,1,2
    python benchmarks/ablations.py --table 5d --table 6-8      # the shipped model, no training

START is a network after its known stage (`m2a train`, stage `known`): all variants go on from it for the same number of
steps on the same batches. A run that is done is not done again, whatever table asks for it; a killed one goes on from
its checkpoint. Every table is written to DOCS/TABLE.md and DOCS/TABLE.svg with the command, the date and the machine.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # A script's own folder is on the path, not its parent.

from benchmarks.ablation_report import Report, write_report
from benchmarks.ablation_runs import COMMAND, RunSpec, Settings, evaluate_run, mine, refine_choices
from m2a_core.bundle.loading import DEFAULT_MODEL

OUTLIER = RunSpec()
TABLES: dict[str, tuple[str, str, dict[str, tuple[RunSpec, str]]]] = {
    "5a": ("Table 5a: global masked attention (GMA), contrastive learning (CL), refinement mask (RM)",
           "GMA + CL + RM is best in AuPRC and FPR95; GMA + RM without CL is far behind",
           {"none": (RunSpec(attention="masked", contrastive="none"), "anomaly"),
            "GMA + RM": (RunSpec(contrastive="none"), "refined"),
            "CL + RM": (RunSpec(attention="masked"), "refined"),
            "GMA + CL": (OUTLIER, "anomaly"), "GMA + CL + RM": (OUTLIER, "refined")}),
    "5b": ("Table 5b: margin m of the contrastive loss", "m = 0.75 is best; all others are within a few points",
           {f"m = {m}": (RunSpec(margin=m), "refined") for m in (1.0, 0.95, 0.9, 0.8, 0.75, 0.5)}),
    "5c": ("Table 5c: cross (CA), masked (MA) and global masked attention (GMA), known classes alone",
           "GMA has the best mIoU, AuPRC and FPR95; MA has a better mIoU than CA and a worse AuPRC",
           {name: (RunSpec(attention=kind, contrastive="none"), "anomaly")
            for name, kind in (("CA", "cross"), ("MA", "masked"), ("GMA", "global_masked"))}),
    "5e": ("Table 5e: probability that an image of a batch has outliers", "0.2 is best; 0.5 and 1 are close behind",
           {f"p = {p}": (RunSpec(outlier_prob=p), "refined") for p in (0.1, 0.2, 0.5, 1.0)}),
    "fig14": ("Fig. 14: margin loss against binary cross-entropy, and Eq. 13 as printed against its text",
              "the margin loss has fewer false positives than cross-entropy",
              {name: (RunSpec(contrastive=kind), "anomaly")
               for name, kind in (("printed", "printed"), ("text", "text"), ("BCE", "bce"))}),
    "9": ("Table 9: two random halves of the outliers", "AuPRC and FPR95 differ little between the subsets",
          {f"S{s + 1}": (RunSpec(subset=s, limit=100), "refined") for s in (0, 1)}),
    "blend": ("How pasted objects are fitted in (not in the paper)", "",
              {**{mode: (RunSpec(modes=(mode,)), "refined") for mode in ("alpha", "hard", "gaussian", "poisson")},
               "all four": (RunSpec(modes=("alpha", "hard", "gaussian", "poisson")), "refined"),
               "anywhere": (RunSpec(on_road=0.0), "refined"), "always on the road": (RunSpec(on_road=1.0), "refined"),
               "smaller": (RunSpec(metres=(0.15, 0.9)), "refined")}),
    "map": ("Losses on the map that the segments add up to (not in the paper)", "",
            {"neither": (OUTLIER, "anomaly"), "Lovász": (RunSpec(lovasz=5.0), "anomaly"),
             "cross-entropy": (RunSpec(semantic=5.0), "anomaly"),
             "both": (RunSpec(semantic=5.0, lovasz=5.0), "anomaly")}),
    "void": ("An outlier class (Void-train, Table 4's baseline; UNO, not in the paper) against contrastive learning",
             "Void-train is far behind",
             {"Void-train": (RunSpec(void="class", contrastive="none"), "anomaly"),
              "UNO": (RunSpec(void="class", contrastive="none"), "uno"),
              "contrastive": (OUTLIER, "anomaly")}),
}  # fmt: skip
"""Table -> title, what the paper finds, and variant -> run and the score that is reported."""


def trained(table: str, settings: Settings, seeds: list[int]) -> Report:
    """A table that needs training."""
    title, claim, variants = TABLES[table]
    rows: dict[str, list[dict[str, float]]] = {}
    for name, (spec, score) in variants.items():
        rows[name] = []
        for seed in seeds:
            measured = evaluate_run(spec, seed, settings)
            rows[name].append(
                {"mIoU": measured["miou"], "AuPRC": measured[f"{score}_auprc"], "FPR95": measured[f"{score}_fpr95"]}
            )
    assert settings.start is not None
    chosen = ",".join(map(str, seeds))
    command = f"{COMMAND} {table} --start {settings.start} --steps {settings.steps} --seeds {chosen}"
    if settings.frames:
        command += f" --frames {settings.frames}"
    return Report(table, title, claim, rows, settings.describe(seeds), command)


def main() -> None:
    """Make the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="append", required=True, choices=[*TABLES, "5d", "6-8"])
    parser.add_argument("--start", type=Path, help="weights after the known stage (*.safetensors)")
    parser.add_argument("--steps", type=int, default=200, help="of every run (default: %(default)s)")
    parser.add_argument("--seeds", default="0,1,2", help="default: %(default)s")
    parser.add_argument("--config", type=Path, default=Path("config/training/ablations.yaml"))
    parser.add_argument("--crop", help="height,width of the training crop, in place of the configuration's")
    parser.add_argument("--frames", type=int, default=0, help="held-apart frames to measure on (default: all)")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="bundle for 5d and 6-8 (default: %(default)s)")
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="default: %(default)s")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablations"), help="default: %(default)s")
    parser.add_argument("--docs", type=Path, default=Path("benchmarks/records/ablations"), help="default: %(default)s")
    args = parser.parse_args()
    if args.start is None and any(t in TABLES for t in args.table):
        parser.error("--start is needed by the tables that train")
    crop = tuple(int(n) for n in args.crop.split(",")) if args.crop else None
    settings = Settings(args.config, args.data_root, args.runs, args.start, args.steps, crop, args.frames, args.model)
    seeds = [int(s) for s in args.seeds.split(",")]
    for table in args.table:
        match table:
            case "5d":
                reports = [refine_choices(settings)]
            case "6-8":
                reports = mine(settings)
            case _:
                reports = [trained(table, settings, seeds)]
        for report in reports:
            write_report(report, args.docs)


if __name__ == "__main__":
    main()
