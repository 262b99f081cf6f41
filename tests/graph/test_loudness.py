"""Sound brought to its peak."""

import numpy as np
import onnxruntime as ort
import pytest

from edgewise.errors import InputError
from edgewise.graph.loudness import to_peak


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_each_clip_is_as_loud_as_the_others(dtype: str) -> None:
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 50)) * np.array([[1.0], [0.1], [0.0]])
    given = (x * 32767).astype(np.int16) if dtype == "int16" else x.astype(np.float32)
    session = ort.InferenceSession(to_peak(dtype=dtype).SerializeToString(), providers=["CPUExecutionProvider"])  # type: ignore[arg-type]
    (out,) = session.run(None, {"waveform": given})
    whole = given / 32768 if dtype == "int16" else given
    np.testing.assert_allclose(out, whole / (np.abs(whole).max(axis=1, keepdims=True) + 1e-4), rtol=1e-5, atol=1e-6)
    assert (out[2] == 0).all()


def test_silence_divided_by_nothing_is_refused() -> None:
    with pytest.raises(InputError):
        to_peak(least=0)
