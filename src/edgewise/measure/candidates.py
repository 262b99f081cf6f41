"""Every way to run a bundle with what is installed here."""

from edgewise.bundle.bundle import Bundle
from edgewise.errors import MissingExtraError, RequirementError
from edgewise.runtime.engine import ENGINES, find_engine, installed_engines
from edgewise.runtime.opening import Candidate
from edgewise.runtime.requirements import Requirements

__all__ = ["candidates_for", "reference_candidate"]

#: Format -> the engine that such a file was made for: what it answers counts as right.
_REFERENCE = {"onnx": "onnxruntime", "tflite": "litert"}


def candidates_for(bundle: Bundle, requirements: Requirements) -> list[Candidate]:
    """Every way to run the bundle with the engines installed here that the requirements do not rule out by name.

    Raises MissingExtraError where no installed engine reads any of its variants, RequirementError where an engine, provider or
    variant is demanded that is not there at all.
    """
    found: list[Candidate] = []
    offered: set[str] = set()
    for name in installed_engines():
        if requirements.engine and name != requirements.engine:
            continue
        engine = find_engine(name)
        for provider in engine.providers():
            offered.add(provider.name)
            if requirements.provider and provider.name != requirements.provider:
                continue
            found += [
                Candidate(variant.name, name, provider.name)
                for variant in bundle.document.variants
                if variant.format in engine.formats and requirements.variant in ("", variant.name)
            ]
    if found:
        return found
    formats = {variant.format for variant in bundle.document.variants if requirements.variant in ("", variant.name)}
    if formats and not any(set(find_engine(name).formats) & formats for name in installed_engines()):
        extras = [ENGINES[_REFERENCE[name]].extra for name in sorted(formats)]
        raise MissingExtraError(
            f"no installed engine reads the {' and '.join(sorted(formats))} variants of {bundle.ref}",
            remedy=f"pip install 'edgewise[{','.join(filter(None, extras))}]'",
        )
    demanded = ", ".join(f"{name}={value}" for name, value in requirements.to_json().items())
    raise RequirementError(
        f"nothing here can run {bundle.ref} with {demanded}: engines installed are {', '.join(installed_engines())}; providers "
        f"{', '.join(sorted(offered)) or 'none'}; variants "
        f"{', '.join(f'{variant.name} ({variant.format})' for variant in bundle.document.variants)}",
        reasons=[],
    )


def reference_candidate(bundle: Bundle, variant: str) -> Candidate:
    """How a variant is run where its answers are recorded: by the engine that its format was made for, on the processor.

    Another installed engine stands in where that one is missing. Raises MissingExtraError where none reads the format.
    """
    model_format = bundle.variant(variant).format
    names = sorted(installed_engines(), key=lambda name: name != _REFERENCE[model_format])
    for name in names:
        engine = find_engine(name)
        if model_format in engine.formats:
            providers = [provider.name for provider in engine.providers()]
            plain = next((provider for provider in providers if "CPU" in provider.upper()), providers[0])
            first = providers[0] if name == "litert" else plain  # XNNPACK, its default, runs on the processor too
            return Candidate(variant, name, first)
    raise MissingExtraError(
        f"no installed engine reads the {model_format} variant {variant}, so nothing can be measured on it",
        remedy=f"pip install 'edgewise[{ENGINES[_REFERENCE[model_format]].extra or 'all'}]'",
    )
