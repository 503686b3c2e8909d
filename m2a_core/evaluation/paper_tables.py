"""Tables 1-4 of the paper, in per cent, for quoting beside measured figures; nothing here was measured by this project.

Rai et al., "Mask2Anomaly: Mask Transformer for Universal Open-Set Segmentation", TPAMI 2024. A dash is the paper's own.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PaperTable:
    """A table as printed.

    Attributes:
        title: its number and subject.
        columns: (data set as ``m2a evaluate --dataset`` names it, or a heading; key of the figure in OUT.json; label).
        rows: method, then one value per column, as printed.
    """

    title: str
    columns: tuple[tuple[str, str, str], ...]
    rows: tuple[tuple[str, ...], ...]


def _rows(text: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(cell.replace("_", " ") for cell in line.split()) for line in text.strip().splitlines())


_PIXEL = (("auprc", "AuPRC"), ("fpr95", "FPR95"))
_COMPONENT = (("siou", "sIoU"), ("ppv", "PPV"), ("f1_star", "F1*"))
_SETS = (
    "smiyc_anomaly",
    "smiyc_obstacle",
    "fishyscapes_laf",
    "fishyscapes_static",
    "road_anomaly",
    "lost_and_found",
    "average",
)
_COMPONENT_SETS = ("smiyc_anomaly", "smiyc_obstacle", "lost_and_found", "average")
_OPEN = (
    ("auprc", "AuPRC"),
    ("fpr95", "FPR95"),
    ("miou", "mIoU"),
    ("open_iou_t5", "open-IoU t5"),
    ("open_iou_t6", "open-IoU t6"),
    ("open_iou", "open-IoU"),
)
_GROUPS = (("things", "Th"), ("stuff", "St"), ("known", "known"), ("unknown", "unknown"))

TABLE_1 = PaperTable(
    "Table 1: anomaly segmentation, pixels",
    tuple((data, key, label) for data in _SETS for key, label in _PIXEL),
    _rows("""
Max_Softmax 27.97 72.02 15.72 16.6 1.77 44.85 12.88 39.83 15.72 71.38 30.14 33.20 17.36 46.31
Entropy - - - - 2.93 44.83 15.4 39.75 16.97 71.1 - - 11.76 51.89
Mahalanobis 20.04 86.99 20.9 13.08 - - - - 14.37 81.09 54.97 12.89 27.57 48.51
Image_Resynthesis 52.28 25.93 37.71 4.7 5.7 48.05 29.6 27.13 - - 57.08 8.82 36.47 22.92
Learning_Embedding 37.52 70.76 0.82 46.38 4.65 24.36 57.16 13.39 - - 61.70 10.36 32.37 33.05
Void_Classifier 36.61 63.49 10.44 41.54 10.29 22.11 4.5 19.4 - - 4.81 47.02 13.33 38.71
JSRNet 33.64 43.85 28.09 28.86 - - - - 94.4 9.2 74.17 6.59 57.57 22.12
SML 46.8 39.5 3.4 36.8 31.67 21.9 52.05 20.5 17.52 70.7 - - 30.28 37.88
SynBoost 56.44 61.86 71.34 3.15 43.22 15.79 72.59 18.75 38.21 64.75 81.71 4.64 60.58 28.15
Maximized_Entropy 85.47 15.00 85.07 0.75 29.96 35.14 86.55 8.55 48.85 31.77 77.90 9.70 68.96 16.81
Dense_Hybrid 77.96 9.81 87.08 0.24 47.06 3.97 80.23 5.95 31.39 63.97 78.67 2.12 67.06 14.34
PEBEL 49.14 40.82 4.98 12.68 44.17 7.58 92.38 1.73 45.10 44.58 57.89 4.73 48.94 18.68
Mask2Former 10.72 89.82 53.57 82.07 43.50 89.01 16.20 40.10 30.99 75.27 22.19 67.09 29.52 73.89
EAM 31.30 48.20 0.70 45.20 41.93 80.08 59.42 22.87 29.89 54.98 27.82 76.01 31.84 54.55
AEM 31.00 47.90 0.60 45.60 42.16 81.20 57.68 33.57 27.87 87.72 26.80 79.89 31.01 62.64
Maskomaly 35.00 81.30 0.60 43.50 1.77 44.85 12.88 39.83 16.33 73.17 1.79 49.53 11.39 55.38
RbA 70.70 20.60 46.00 95.20 21.66 39.60 83.26 4.22 52.97 32.91 53.49 39.20 54.68 38.62
Mask2Anomaly 88.70 14.60 93.30 0.20 46.04 4.36 95.20 0.82 79.70 13.45 86.59 5.75 81.59 6.53
"""),
)

TABLE_2 = PaperTable(
    "Table 2: anomaly segmentation, components",
    tuple((data, key, label) for data in _COMPONENT_SETS for key, label in _COMPONENT),
    _rows("""
Max_Softmax 15.48 15.29 5.37 19.72 15.93 6.25 14.20 62.23 10.32 16.47 31.15 7.31
Ensemble 16.44 20.77 3.39 8.63 4.71 1.28 6.66 7.64 2.68 10.58 11.04 2.45
Mahalanobis 14.82 10.22 2.68 13.52 21.79 4.70 33.83 31.71 22.09 20.72 21.24 9.82
Image_Resynthesis 39.68 10.95 12.51 16.61 20.48 8.38 27.16 30.69 19.17 27.82 20.71 13.35
MC_Dropout 20.49 17.26 4.26 5.49 5.77 1.05 17.35 34.71 12.99 14.44 19.25 6.10
Learning_Embedding 33.86 20.54 7.90 35.64 2.87 2.31 27.16 30.69 19.17 32.22 18.03 9.79
SML 26.00 24.70 12.20 5.10 13.30 3.00 32.14 27.57 26.93 21.08 21.86 14.04
SynBoost 34.68 17.81 9.99 44.28 41.75 37.57 36.83 72.32 48.72 38.60 43.96 32.09
Maximized_Entropy 49.21 39.51 28.72 47.87 62.64 48.51 45.90 63.06 49.92 47.66 55.07 42.38
JSRNet 20.20 29.27 13.66 18.55 24.46 11.02 34.28 45.89 35.97 24.34 33.21 20.22
Void_Classifier 21.14 22.13 6.49 6.34 20.27 5.41 1.76 35.08 1.87 9.75 25.83 4.59
Dense_Hybrid 54.17 24.13 31.08 45.74 50.10 50.72 46.90 52.14 52.33 48.94 42.12 44.71
PEBEL 38.88 27.20 14.48 29.91 7.55 5.54 33.47 35.92 27.11 34.09 23.56 15.71
Mask2Former 25.20 18.20 15.30 5.00 21.90 4.80 17.88 18.09 9.77 16.03 19.40 9.96
EAM 25.90 12.70 12.80 29.60 3.00 3.60 36.21 40.39 35.77 30.57 18.69 17.39
AEM 25.20 12.40 12.10 29.50 2.80 3.40 36.64 41.07 36.21 30.44 18.75 17.23
Maskomaly 25.50 23.50 12.00 28.20 9.80 12.00 12.31 26.13 17.45 22.00 19.81 13.81
RbA 44.10 22.00 18.70 26.00 24.70 15.40 1.44 7.30 0.43 23.84 18.00 11.51
Mask2Anomaly 60.40 45.70 48.60 61.40 70.30 69.80 56.07 63.41 62.78 59.29 59.80 60.39
"""),
)

TABLE_3 = PaperTable(
    "Table 3: open-set semantic segmentation",
    tuple(("streethazards", key, label) for key, label in _OPEN),
    _rows("""
MSP 7.5 27.9 65.0 32.7 40.2 35.1
ODIN 7.0 28.7 65.0 26.4 33.9 28.8
Outlier_Exposure 14.6 17.7 61.7 43.7 44.1 43.8
OOD-Head 19.7 56.2 66.6 33.7 34.3 33.9
MC_Dropout 7.5 79.4 - - - -
SynthCP 9.3 28.4 - - - -
TRADI 7.2 25.3 - - - -
OVNNI 12.6 22.2 54.6 - - -
Energy 12.9 18.2 63.3 41.7 44.9 42.7
PAnS 8.8 23.2 - - - -
SO+H 12.7 22.2 59.7 - - -
DML 14.7 17.3 - - - -
ReAct 10.9 21.2 62.7 33.0 36.2 34.0
OH*MSP 18.8 30.9 66.6 43.3 44.2 43.6
ML 11.6 22.5 65.0 39.6 44.5 41.2
DenseHybrid 30.2 13.0 63.0 46.1 45.3 45.8
AEM 30.7 99.7 71.3 35.3 54.6 41.4
EAM 31.2 20.3 - - - -
Maskomaly 27.1 43.1 - - - -
RbA 50.1 96.9 73.2 10.4 12.1 10.9
Mask2Anomaly 58.1 14.9 72.3 59.9 59.7 59.8
"""),
)

TABLE_4 = PaperTable(
    "Table 4: open-set panoptic segmentation",
    tuple(
        ("coco_panoptic", f"{group}.{q}", f"{q.upper()} {label}")
        for group, label in _GROUPS
        for q in ("pq", "sq", "rq")
    ),
    _rows("""
Void-train_K=5% 43.6 80.4 52.8 28.2 71.5 36.0 37.3 76.7 45.9 8.6 72.7 11.8
EOPSN_K=5% 44.8 80.5 54.2 28.3 71.9 36.2 38.0 76.9 46.8 23.1 74.7 30.9
Mask2Anomaly_K=5% 53.0 82.8 63.4 41.3 80.8 50.1 48.2 81.9 57.9 24.3 78.2 32.1
Void-train_K=10% 43.7 80.1 53.1 28.1 73.0 35.9 37.1 77.1 45.8 8.1 72.6 11.2
EOPSN_K=10% 44.5 80.6 53.8 28.4 71.8 36.2 37.7 76.8 46.3 17.9 76.8 23.3
Mask2Anomaly_K=10% 51.8 82.7 62.0 41.6 80.5 50.5 47.4 81.8 57.1 19.7 77.0 25.7
Void-train_K=20% 44.1 80.1 53.5 27.9 71.6 35.6 36.8 76.3 45.4 7.5 72.9 10.3
EOPSN_K=20% 45.0 80.3 54.5 28.2 71.2 36.2 37.4 76.2 46.2 11.3 73.8 15.3
EAM_K=20% - - - - - - 43.5 82.0 52.2 11.3 73.3 15.3
AEM_K=20% - - - - - - 43.5 82.0 52.2 13.2 73.4 18.0
Mask2Anomaly_K=20% 50.8 81.6 60.8 40.4 80.8 49.0 46.1 81.2 55.5 14.6 76.2 19.1
"""),
)

HEADINGS = {
    "smiyc_anomaly": "SMIYC RA-21",
    "smiyc_obstacle": "SMIYC RO-21",
    "fishyscapes_laf": "FS L&F",
    "fishyscapes_static": "FS Static",
    "road_anomaly": "Road Anomaly",
    "lost_and_found": "Lost & Found",
    "streethazards": "StreetHazards",
    "coco_panoptic": "COCO panoptic",
    "average": "Average",
}
"""Data sets as the paper heads its columns."""

PAPER_TABLES = (TABLE_1, TABLE_2, TABLE_3, TABLE_4)
