"""Every operator that can be trained through, against finite differences over random shapes and attributes.

The table names every operator: of our own rules, of the general rule's package (those with a rule there, those it lowers,
those of which ONNX gives a function body). A new rule without a case fails here.
"""

from typing import Any

import onnx
import onnx_ad
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.autodiff.cases_control import CONTROL
from tests.autodiff.cases_elementwise import ELEMENTWISE
from tests.autodiff.cases_linear import LINEAR
from tests.autodiff.cases_normalization import NORMALIZATION
from tests.autodiff.cases_pooling import POOLING
from tests.autodiff.cases_reduction import REDUCTION
from tests.autodiff.cases_shaping import SHAPING
from tests.autodiff.drawing import Builder
from tests.autodiff.finite_differences import check

from edgewise.autodiff.blocked_rules import BLOCKED
from edgewise.autodiff.rules import CONSTANT, MANY, RULES
from edgewise.errors import UnsupportedError

CASES: dict[str, Builder] = CONTROL | ELEMENTWISE | LINEAR | NORMALIZATION | POOLING | REDUCTION | SHAPING

#: What the package or a rule names, and why it has no case here.
WITHOUT_CASE = {
    "Det": "refused: see test_refusals",
    "DynamicQuantizeLinear": "gives integers: nothing flows back",
    "Scatter": "taken out of ONNX before the opset that training starts from",
    "SequenceMap": "sequences are refused",
    "SwiGLU": "onnxruntime has no kernel for it",
    "Upsample": "taken out of ONNX before the opset that training starts from",
    **dict.fromkeys(["BlackmanWindow", "HammingWindow", "HannWindow"], "made from a length: nothing flows back"),
    **dict.fromkeys(["Bernoulli", "BitCast", "IsFinite", "Multinomial"], "the package's zero derivative"),
}

#: Operators whose first dimension has to be a number, in some form at least.
NEEDS_NUMBERS = {
    "CausalConvWithState", "CenterCropPad", "Col2Im", "Concat", "Conv", "ConvTranspose", "DFT", "DeformConv", "GRU", "GatherND",
    "GridSample", "LRN",
    "LSTM", "Pad", "RNN", "Resize", "RoiAlign", "RotaryEmbedding", "STFT", "Slice", "Squeeze",
}  # fmt: skip

SILENCED = list(HealthCheck)
QUICK: Any = settings(max_examples=12, derandomize=True, deadline=None, database=None, suppress_health_check=SILENCED)
FEW: Any = settings(QUICK, max_examples=5)
LONG: Any = settings(QUICK, max_examples=150, phases=[Phase.generate])


def test_every_operator_with_a_rule_has_a_case() -> None:
    zero = {name for name, rule in onnx_ad.rules.REVERSE.items() if rule.__name__ == "_zero_reverse"}
    bodies = {
        schema.name
        for schema in onnx.defs.get_all_schemas()
        if schema.domain == "" and (schema.has_function or schema.has_context_dependent_function)
    }
    named = set(RULES) | set(MANY) | set(onnx_ad.rules.REVERSE) | set(onnx_ad.lower.LOWERINGS) | bodies
    named |= {"GRU", "LSTM", "RNN"}
    expected = named - set(BLOCKED) - CONSTANT - zero
    assert expected - set(WITHOUT_CASE) - set(CASES) == set()
    assert set(CASES) - named == set(), "a case for what has no rule"
    assert set(CASES) & set(WITHOUT_CASE) == set()


@pytest.mark.parametrize("operator", sorted(CASES))
@given(st.data())
@QUICK
def test_gradients_are_what_differences_say(operator: str, data: st.DataObject) -> None:
    check(CASES[operator](data.draw), weighted=data.draw(st.integers(0, 2)) > 0)


@pytest.mark.parametrize("operator", sorted(CASES))
@given(st.data())
@FEW
def test_gradients_do_not_need_the_first_dimension_as_a_number(operator: str, data: st.DataObject) -> None:
    case = CASES[operator](data.draw)
    try:
        check(case, weighted=data.draw(st.booleans()), symbolic=True)
    except UnsupportedError:
        assert operator in NEEDS_NUMBERS


@pytest.mark.long
@pytest.mark.parametrize("operator", sorted(CASES))
@given(st.data())
@LONG
def test_gradients_are_what_differences_say_many_times(operator: str, data: st.DataObject) -> None:
    check(CASES[operator](data.draw), weighted=data.draw(st.integers(0, 2)) > 0)
