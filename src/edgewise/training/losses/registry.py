"""Every loss that a training step can have. Each is a frozen value; ``Sum`` puts several together."""

from edgewise.training.losses.classification import BinaryCrossEntropy, CrossEntropy
from edgewise.training.losses.detection import MultiBox
from edgewise.training.losses.distillation import Distillation
from edgewise.training.losses.loss import SAMPLE_WEIGHT, Loss
from edgewise.training.losses.metric import Contrastive, CosineDistance, CosineEmbedding, InfoNce, Triplet
from edgewise.training.losses.regression import FeatureMatching, Huber, MeanSquaredError
from edgewise.training.losses.segmentation import DiceCrossEntropy
from edgewise.training.losses.sequence import Ctc
from edgewise.training.losses.total import Sum

__all__ = [
    "SAMPLE_WEIGHT",
    "BinaryCrossEntropy",
    "Contrastive",
    "CosineDistance",
    "CosineEmbedding",
    "CrossEntropy",
    "Ctc",
    "DiceCrossEntropy",
    "Distillation",
    "FeatureMatching",
    "Huber",
    "InfoNce",
    "Loss",
    "MeanSquaredError",
    "MultiBox",
    "Sum",
    "Triplet",
]
