"""A simplified graph answers as the one it came from, in standard operators, with fewer nodes."""

import numpy as np
import onnx
import pytest
from tests.networks.cases import CASES, feeds
from tests.networks.test_registry import session

from edgewise.compress.graph.simplify import simplified
from edgewise.errors import UnsupportedError
from edgewise.graph.walk import is_default_domain, nodes
from edgewise.networks.registry import build


@pytest.mark.parametrize("case", CASES)
def test_answers_stay_and_only_standard_operators_are_left(case: str) -> None:
    name, config, outputs = CASES[case]
    model = build(name, config, 3)
    small = simplified(model)
    onnx.checker.check_model(small, full_check=True)
    assert all(is_default_domain(node.domain) for node in nodes(small))
    assert [entry.domain for entry in small.opset_import] == [""]
    assert "BatchNormalization" not in {node.op_type for node in small.graph.node} or "text-bag" in case
    assert len(small.graph.node) <= len(model.graph.node)
    fed = feeds(model, 3)
    for one, other in zip(*(session(m).run(list(outputs), fed) for m in (model, small)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_what_does_not_open_is_refused_in_the_runtimes_words() -> None:
    model = build("cnn", CASES["cnn"][1], 0)
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(UnsupportedError, match="NoSuchOperator"):
        simplified(model)
