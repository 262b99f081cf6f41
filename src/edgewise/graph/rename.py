"""Names in a model: which are taken, and giving some others, wherever they occur."""

from collections.abc import Iterable, Iterator, Mapping

from onnx import GraphProto, ModelProto, TensorShapeProto, ValueInfoProto

from edgewise.graph.walk import graphs

__all__ = ["dimension_names", "fresh_names", "rename", "rename_dimensions", "taken_names"]


def taken_names(graph: GraphProto) -> set[str]:
    """Names of all values and nodes, nested graphs included."""
    taken: set[str] = set()
    for part in graphs(graph):
        taken.update(value.name for value in _infos(part))
        taken.update(tensor.name for tensor in part.initializer)
        taken.update(sparse.values.name for sparse in part.sparse_initializer)
        for node in part.node:
            taken.update((node.name, *node.input, *node.output))
    return taken - {""}


def fresh_names(names: Iterable[str], taken: set[str], prefix: str) -> dict[str, str]:
    """For each of ``names`` that is taken, one that is not: prefixed, and numbered where even that is taken."""
    names = sorted(names)
    used = taken | set(names)
    renamed: dict[str, str] = {}
    for name in names:
        if name in taken:
            number, candidate = 1, f"{prefix}{name}"
            while candidate in used:
                number, candidate = number + 1, f"{prefix}{number + 1}_{name}"
            used.add(candidate)
            renamed[name] = candidate
    return renamed


def rename(graph: GraphProto, names: Mapping[str, str]) -> None:
    """Give values and nodes of ``graph`` other names, in place."""
    for part in graphs(graph):
        for value in _infos(part):
            value.name = names.get(value.name, value.name)
        for tensor in (*part.initializer, *(sparse.values for sparse in part.sparse_initializer)):
            tensor.name = names.get(tensor.name, tensor.name)
        for annotation in part.quantization_annotation:
            annotation.tensor_name = names.get(annotation.tensor_name, annotation.tensor_name)
        for node in part.node:
            node.name = names.get(node.name, node.name)
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]


def dimension_names(model: ModelProto) -> set[str]:
    """Names of dimensions that vary."""
    return {dim.dim_param for dim in _dimensions(model) if dim.dim_param}


def rename_dimensions(model: ModelProto, names: Mapping[str, int | str]) -> None:
    """Give dimensions other names, or numbers, in place."""
    for dim in _dimensions(model):
        changed = names.get(dim.dim_param, dim.dim_param) if dim.dim_param else ""
        if isinstance(changed, int):
            dim.dim_value = changed
        elif changed:
            dim.dim_param = changed


def _dimensions(model: ModelProto) -> Iterator[TensorShapeProto.Dimension]:
    for part in graphs(model.graph):
        for value in _infos(part):
            kind = value.type.WhichOneof("value")
            if kind in {"tensor_type", "sparse_tensor_type"}:
                yield from getattr(value.type, kind).shape.dim


def _infos(graph: GraphProto) -> tuple[ValueInfoProto, ...]:
    return (*graph.input, *graph.output, *graph.value_info)
