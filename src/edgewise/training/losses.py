"""Every loss that a training step can have. Each is a frozen value; ``Sum`` puts several together."""

from edgewise.training.loss import SAMPLE_WEIGHT, Loss
from edgewise.training.losses_classification import BinaryCrossEntropy, CrossEntropy
from edgewise.training.losses_detection import MultiBox
from edgewise.training.losses_distillation import Distillation
from edgewise.training.losses_metric import Contrastive, CosineDistance, CosineEmbedding, InfoNce, Triplet
from edgewise.training.losses_regression import FeatureMatching, Huber, MeanSquaredError
from edgewise.training.losses_segmentation import DiceCrossEntropy
from edgewise.training.losses_sequence import Ctc
from edgewise.training.losses_sum import Sum

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
