"""What LiteRT's engine does beyond the public suite: which operators XNNPACK takes, and quantized models as they are."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the extra pack")

from edgewise.errors import TensorError
from edgewise.runtime.engine import OpenOptions, installed_engines
from edgewise.testing.engine_models import example

if "litert" not in installed_engines():
    pytest.skip("ai-edge-litert is not installed: pip install 'edgewise[litert]'", allow_module_level=True)

from edgewise.runtime.litert_engine import LiteRtEngine


def _keywords(shared_data: Path, **options: object) -> object:
    data = (shared_data / "model_kws_dscnn/kws_ref_model_int8.tflite").read_bytes()
    return LiteRtEngine().open({"kws.tflite": data}, OpenOptions(record_placement=True, **options))  # type: ignore[arg-type]


def test_placement_says_what_xnnpack_took_and_what_it_did_not(shared_data: Path) -> None:
    """The keyword model: XNNPACK has no int8 average pooling and no int8 softmax, so those stay on the built-in kernels."""
    placement = _keywords(shared_data).placement()  # type: ignore[attr-defined]
    assert len(placement.nodes) == 13
    assert placement.elsewhere("XNNPACK") == ["AVERAGE_POOL_2D", "SOFTMAX"]
    assert placement.counts() == {"XNNPACK": 11, "CPU": 2}


def test_without_xnnpack_everything_is_on_the_built_in_kernels(shared_data: Path) -> None:
    placement = _keywords(shared_data, provider="CPU").placement()  # type: ignore[attr-defined]
    assert placement.counts() == {"CPU": 13}


def test_operators_that_xnnpack_lacks_are_not_claimed_for_it() -> None:
    """Integer addition, logical not and a cast from half precision: no delegate node, so nothing is XNNPACK's."""
    case = example("tflite", "types")
    placement = LiteRtEngine().open(case.files, OpenOptions(record_placement=True)).placement()
    assert placement.counts() == {"CPU": 3}
    assert [node.name for node in placement.nodes] == ["i_out", "b_out", "h_out"]


@pytest.mark.parametrize("provider", ["XNNPACK", "CPU"])
def test_the_published_int8_model_reaches_its_accuracy(shared_data: Path, provider: str) -> None:
    """MLPerf Tiny's keyword model on its 1,000 samples: 90 % is its quality target."""
    samples = np.load(shared_data / "model_kws_dscnn/kws01_accuracy_set_1000.npz")
    session = _keywords(shared_data, provider=provider)
    (result,) = session.run({"input_1": samples["x_int8"]}).values()  # type: ignore[attr-defined]
    assert result.dtype == np.int8
    assert (result.argmax(1) == samples["y"]).mean() >= 0.9


def test_names_are_the_tensors_even_where_a_signature_has_others() -> None:
    """OpenVINO knows no signatures; a variant's names must fit both engines."""
    session = LiteRtEngine().open(example("tflite", "affine").files, OpenOptions())
    assert [info.name for info in (*session.inputs, *session.outputs)] == ["inner_x", "inner_y"]


def test_a_shape_that_does_not_fit_is_told_with_both_shapes() -> None:
    session = LiteRtEngine().open(example("tflite", "affine").files, OpenOptions())
    for _ in range(2):
        with pytest.raises(TensorError, match=r"inner_x has shape \(2, 5\), the model takes \(-1, 4\)"):
            session.run({"inner_x": np.zeros((2, 5), np.float32)})
