"""What a package says on a model, held against the model itself: what fits is kept, in the names of its file; the rest is named."""

from dataclasses import replace

from edgewise.bundle.tensors import StateSpec, TensorSpec
from edgewise.importing.imported import ImportedModel
from edgewise.importing.ort_package_metadata import ModelFacts, VariantFacts

__all__ = ["fitted"]

_SHOWN = 8  # dropped names in one note; a package may list hundreds


def fitted(facts: ModelFacts, names: VariantFacts, model: ImportedModel) -> tuple[ModelFacts, list[str]]:
    """``facts`` in the names of ``model``'s own file, without what the model does not have, and a note of what that was.

    inputs: all of the model's, with the recorded ranges and kinds; empty where nothing was recorded beyond the file.
    """
    inputs = {spec.name: spec for spec in model.inputs}
    outputs = {spec.name: spec for spec in model.outputs}
    dropped: list[str] = []
    decision = names.outputs.get(facts.decision, facts.decision)
    if decision and decision not in outputs:
        dropped.append(f"the decision {facts.decision}")
        decision = ""
    states: list[StateSpec] = []
    for state in facts.states:
        into, out = names.inputs.get(state.input, state.input), names.outputs.get(state.output, state.output)
        if into in inputs and out in outputs:
            states.append(replace(state, input=into, output=out))
        else:
            dropped.append(f"the state {state.input}={state.output}")
    for spec in facts.inputs:
        name = names.inputs.get(spec.name, spec.name)
        merged = _merged(inputs[name], spec) if name in inputs else None
        if merged is None:
            dropped.append(f"the input {spec}")
        else:
            inputs[name] = merged
    for spec in facts.outputs:
        own = outputs.get(names.outputs.get(spec.name, spec.name))
        # Nothing that packs a model takes more on an output than its file states.
        if own is None or (spec.range, spec.content, spec.extra) != (own.range, own.content, own.extra):
            dropped.append(f"the output {spec}")
    merged_inputs = tuple(inputs.values())
    kept = replace(
        facts, decision=decision, states=tuple(states), outputs=model.outputs,
        inputs=() if merged_inputs == model.inputs else merged_inputs,
    )  # fmt: skip
    return kept, _note(dropped, model)


def _merged(own: TensorSpec, recorded: TensorSpec) -> TensorSpec | None:
    """``recorded`` where it describes the same tensor, never wider than the file itself; None where it contradicts the file."""
    if own.dtype != recorded.dtype or len(own.shape) != len(recorded.shape):
        return None
    pairs = list(zip(own.shape, recorded.shape, strict=True))
    if any(isinstance(ours, int) and isinstance(theirs, int) and ours != theirs for ours, theirs in pairs):
        return None
    shape = tuple(ours if isinstance(ours, int) else theirs for ours, theirs in pairs)
    return replace(recorded, name=own.name, shape=shape)


def _note(dropped: list[str], model: ImportedModel) -> list[str]:
    if not dropped:
        return []
    more = f" and {len(dropped) - _SHOWN} more" if len(dropped) > _SHOWN else ""
    return [f"what the package says does not fit {model.name} and is dropped: {'; '.join(dropped[:_SHOWN])}{more}"]
