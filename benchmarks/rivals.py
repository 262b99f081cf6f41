"""What others make of the same file on the same samples: onnxruntime's quantizers in all their settings, NNCF's ONNX PTQ."""

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgewise.compress.samples import Samples

_CALIBRATING = 200  # samples, as ours
_TYPES = {
    "U8S8": (QuantType.QUInt8, QuantType.QInt8),
    "S8S8": (QuantType.QInt8, QuantType.QInt8),
    "U8U8": (QuantType.QUInt8, QuantType.QUInt8),
}


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    def __init__(self, samples: Samples) -> None:
        # One at a time: their histograms take no batches of different sizes.
        rows = samples.data.x[samples.rows(_CALIBRATING)]
        self._batches: Iterator[Mapping[str, object]] = (samples.feed(rows[at : at + 1]) for at in range(len(rows)))

    def get_next(self) -> object:
        return next(self._batches, None)


def onnxruntime_forms(model: bytes, samples: Samples) -> Iterator[tuple[str, bytes | str]]:
    """Name of a setting -> the file that came of it, or why none did."""
    with TemporaryDirectory() as folder:
        source, made = Path(folder) / "model.onnx", Path(folder) / "made.onnx"
        onnx.save(onnx.load_model_from_string(model), str(source))
        prepared = Path(folder) / "prepared.onnx"
        try:
            with _quiet():
                quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        except Exception:  # their shape inference gives up on some models: then as it comes
            prepared = source
        for per_channel, reduced, (kind, (_, weight)) in product((False, True), (False, True), _TYPES.items()):
            if kind == "U8S8":
                continue  # dynamic activations are always uint8
            name = f"ort dynamic {'channel' if per_channel else 'tensor'} {weight.name}{' 7 bit' * reduced}"
            yield name, _made(made, lambda pc=per_channel, r=reduced, w=weight: quantize_dynamic(
                str(prepared), str(made), per_channel=pc, reduce_range=r, weight_type=w
            ))  # fmt: skip
        settings = product(QuantFormat, (False, True), (False, True), _TYPES.items(), list(CalibrationMethod)[:3])
        for form, per_channel, reduced, (kind, (activation, weight)), method in settings:
            if reduced and method != CalibrationMethod.MinMax:
                continue  # 7 bits are for processors without VNNI; how ranges are read changes nothing about that
            where = "channel" if per_channel else "tensor"
            name = f"ort {form.name} {where} {kind} {method.name}{' 7 bit' * reduced}"
            yield name, _made(made, lambda f=form, pc=per_channel, r=reduced, a=activation, w=weight, m=method: quantize_static(
                str(prepared), str(made), _Reader(samples), quant_format=f, per_channel=pc, reduce_range=r, activation_type=a,
                weight_type=w, calibrate_method=m,
            ))  # fmt: skip


def nncf_forms(model: bytes, samples: Samples) -> Iterator[tuple[str, bytes | str]]:
    """The same of NNCF. Raises ImportError where it is not installed."""
    import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)
    loaded = onnx.load_model_from_string(model)
    rows = samples.data.x[samples.rows(_CALIBRATING)]
    data = nncf.Dataset([samples.feed(rows[at : at + 1]) for at in range(len(rows))])
    for preset, fast in product(nncf.QuantizationPreset, (True, False)):
        name = f"nncf {preset.value}{'' if fast else ', slow bias correction'}"
        try:
            with _quiet():
                made = nncf.quantize(loaded, data, preset=preset, fast_bias_correction=fast, subset_size=_CALIBRATING)
            yield name, made.SerializeToString()
        except Exception as error:
            yield name, f"{type(error).__name__}: {error}"


def _made(path: Path, call: Callable[[], object]) -> bytes | str:
    path.unlink(missing_ok=True)
    try:
        with _quiet():
            call()
        return path.read_bytes()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
