"""Putting the image preprocessing of a repository into its models, so that each takes pixels as a decoder gives them."""

from importlib import import_module

from edgewise.importing.hub_preprocessing import ImageSteps
from edgewise.importing.imported import ImportedModel
from edgewise.importing.joining import with_front

__all__ = ["takes_image", "with_image_front"]

_INPUT = "image"


def takes_image(model: ImportedModel, steps: ImageSteps) -> str:
    """Why ``model`` cannot be given what ``steps`` make: float32 (batch, 3, height, width). Empty where it can."""
    if len(model.inputs) != 1:
        return f"{model.name} has the inputs {', '.join(spec.name for spec in model.inputs)}"
    (spec,) = model.inputs
    if spec.dtype != "float32" or len(spec.shape) != 4 or spec.shape[1] not in (3, *_names(spec.shape[1])):
        return f"{model.name} takes {spec}, not float32 (batch, 3, height, width)"
    fixed = [dim for dim in spec.shape[2:] if isinstance(dim, int)]
    if fixed and (steps.size is None or list(steps.size) != list(spec.shape[2:])):
        return f"{model.name} takes {spec}; the preprocessing makes {steps.size or 'images of any size'}"
    return ""


def with_image_front(model: ImportedModel, steps: ImageSteps) -> ImportedModel:
    """``model`` with ``steps`` in front, in one graph: it takes uint8 (batch, height, width, RGB) of any size.

    The weights come into the model file. Raises what ``graph.join`` and ``import_onnx`` raise.
    """
    image = import_module(
        "edgewise.graph.image"
    )  # here, not above: onnx is the optional extra; the model needed it already
    fragment = image.image_pipeline(
        size=steps.resize, shorter=steps.shortest, crop=steps.crop, method=steps.resample, scale=steps.scale,
        mean=steps.mean, std=steps.std, input_name=_INPUT,
    )  # fmt: skip
    return with_front(model, fragment, content="image", limits=(0.0, 255.0))


def _names(dim: int | str) -> tuple[str, ...]:
    return (dim,) if isinstance(dim, str) else ()
