"""Importing edgewise is light: nothing that packs, measures or talks to the network comes with it."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.bare


def modules_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print(' '.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_import_loads_next_to_nothing() -> None:
    loaded = modules_after("import edgewise")
    assert not loaded & {"numpy", "onnxruntime", "onnx", "nacl", "urllib3", "argparse", "tabulate", "tqdm"}


def test_the_first_use_loads_what_it_needs_and_no_more() -> None:
    loaded = modules_after("import edgewise; edgewise.load; edgewise.Answer")
    assert "edgewise.compose.loading" in loaded
    assert not loaded & {
        "onnx",
        "urllib3",
        "argparse",
        "tabulate",
        "tqdm",
        "PIL",
        "edgewise.measure",
        "edgewise.training",
        "edgewise.importing",
    }


def test_a_node_loads_nothing_that_measures_learns_or_asks_before_it_has_to() -> None:
    loaded = modules_after("import edgewise.compose.nodes, edgewise.routing.rules.classes")
    assert "edgewise.routing.node" in loaded
    assert not [
        name
        for name in loaded
        if name.startswith(("edgewise.measure", "edgewise.training", "edgewise.routing.fitting", "onnx.", "urllib3"))
    ]


def test_an_unknown_name_is_an_attribute_error() -> None:
    import edgewise

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        edgewise.nothing  # noqa: B018
