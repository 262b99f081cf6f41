"""Learning a head: from what no promise is made by, chosen by what it did not see, the same for the same seed."""

from dataclasses import replace

import numpy as np
import pytest
from tests.routing.head.forms import disagreement, form, noisy

from edgewise.errors import DataError
from edgewise.measure.ranking import auc  # noqa: F401
from edgewise.routing.head.head import feature_count, features_of
from edgewise.routing.head.join import join_head
from edgewise.routing.head.learning import LEAST, learn_from, learn_head, parts
from edgewise.routing.head.network import Learning, Network, log_loss
from edgewise.routing.head.proof import prove_joined
from edgewise.routing.head.reading import Seen, read_samples

QUICK = Learning(epochs=20, folds=3, units=4)
