"""The Mask2Anomaly network in PyTorch; every size is a `ModelConfig` of the same code."""

from m2a_core.model.config import ModelConfig
from m2a_core.model.mask2anomaly import Mask2Anomaly, ModelOutput, build_model
from m2a_core.model.zoo import MODELS

__all__ = ["MODELS", "Mask2Anomaly", "ModelConfig", "ModelOutput", "build_model"]
