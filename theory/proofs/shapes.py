"""The small shapes on which the laws are proved."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain as joined
from itertools import pairwise, product

from theory.proofs.graph import Edge, Shape

Layers = list[tuple[str, ...]]


def chain(
    *widths: int, biased: bool = False, samples: int = 1, degree: int = 1, slopes: bool = False, bend: bool = False
) -> Shape:
    """A fully connected network: widths from the inputs to the outputs."""
    layers = _layers(widths)
    parts = (layers[0], tuple(joined(*layers[1:-1])), layers[-1], _dense(layers))
    return Shape(_told(widths), *parts, biased=biased, samples=samples, degree=degree, slopes=slopes, bend=bend)


def linear(*widths: int, samples: int = 1) -> Shape:
    """A chain without activations: to be built with every gate open."""
    return replace(chain(*widths, samples=samples), title=f"linear {_told(widths)}")


def bypassed(*widths: int, biased: bool = False, samples: int = 1) -> Shape:
    """y = W2 relu(W1 x) + W3 x: a chain whose inputs also reach the outputs through weights of their own."""
    layers = _layers(widths)
    around = (_weighted(t, h) for t, h in product(layers[0], layers[-1]))
    return _with(widths, "weighted skip", around, biased, samples)


def residual(*widths: int, biased: bool = False, samples: int = 1) -> Shape:
    """h2 = relu(W2 h1 + h1): hidden layers of one width, each but the first with an identity around its weights."""
    hidden = _layers(widths)[1:-1]
    around = (Edge(t, h, None) for a, b in pairwise(hidden) for t, h in zip(a, b, strict=True))
    return _with(widths, "identity skip", around, biased, samples)


def concatenated(*widths: int, biased: bool = False, samples: int = 1) -> Shape:
    """Every layer reads all the layers before it, put side by side."""
    layers = _layers(widths)
    around = (
        _weighted(t, h) for i, tails in enumerate(layers) for heads in layers[i + 2 :] for t, h in product(tails, heads)
    )
    return _with(widths, "concatenation", around, biased, samples)


def pooled(*widths: int, biased: bool = False, samples: int = 1) -> Shape:
    """A chain with one max-pool over each hidden layer's pairs of neighbours: widths are those before the pools."""
    layers = _layers(widths)
    pools = [tuple(f"p{h[1:]}" for h in layer[::2]) for layer in layers[1:-1]]
    fixed = [
        Edge(t, p, None)
        for a, b in zip(layers[1:-1], pools, strict=True)
        for i, p in enumerate(b)
        for t in a[2 * i :][:2]
    ]
    rows = [layers[0], *pools]
    dense = [_weighted(t, h) for a, b in zip(rows, layers[1:], strict=True) for t, h in product(a, b)]
    hidden = tuple(joined(*(v for pair in zip(layers[1:-1], pools, strict=True) for v in pair)))
    parts = (layers[0], hidden, layers[-1], (*dense, *fixed))
    return Shape(f"{_told(widths)} with max-pools", *parts, biased, samples, frozenset(joined(*pools)))


def convolved(*, pool: bool = False, samples: int = 1) -> Shape:
    """A 1-d convolution of 3 positions to 2 channels of 2 positions, each pooled or not, then one output."""
    inputs, hidden = ("x0", "x1", "x2"), ("c0p0", "c0p1", "c1p0", "c1p1")
    kernel = [Edge(f"x{p + t}", f"c{c}p{p}", f"kernel{c}{t}") for c, p, t in product((0, 1), repeat=3)]
    if not pool:
        out = [Edge(h, "y0", f"{h}>y0") for h in hidden]
        return Shape("convolution 3 to 2 x 2 to 1", inputs, hidden, ("y0",), (*kernel, *out), samples=samples)
    windows = [Edge(h, f"m{h[1]}", None) for h in hidden]
    out = [Edge(m, "y0", f"{m}>y0") for m in ("m0", "m1")]
    title, vertices = "convolution 3 to 2 x 2, max-pool, 1", (*hidden, "m0", "m1")
    return Shape(title, inputs, vertices, ("y0",), (*kernel, *windows, *out), False, samples, frozenset(("m0", "m1")))


def autoencoder(inputs: int, hidden: int, samples: int = 1) -> Shape:
    """y = W^T relu(W x): one matrix in two cuts."""
    x, h, y = _layers((inputs, hidden, inputs))
    up = [Edge(x[i], h[j], f"W{j}{i}") for i, j in product(range(inputs), range(hidden))]
    down = [Edge(h[j], y[i], f"W{j}{i}") for i, j in product(range(inputs), range(hidden))]
    return Shape(f"tied {inputs}-{hidden}-{inputs}", x, h, y, (*up, *down), samples=samples)


def _with(widths: tuple[int, ...], what: str, around: Iterable[Edge], biased: bool, samples: int) -> Shape:
    layers = _layers(widths)
    hidden = tuple(joined(*layers[1:-1]))
    edges = (*_dense(layers), *around)
    return Shape(f"{_told(widths)} with {what}", layers[0], hidden, layers[-1], edges, biased, samples)


def _layers(widths: tuple[int, ...]) -> Layers:
    """Names: inputs x0, x1; hidden h00, h01 (layer, unit); outputs y0, y1."""
    last = len(widths) - 1
    heads = ["x", *(f"h{i}" for i in range(last - 1)), "y"]
    return [tuple(f"{head}{u}" for u in range(width)) for head, width in zip(heads, widths, strict=True)]


def _dense(layers: Layers) -> tuple[Edge, ...]:
    return tuple(_weighted(t, h) for a, b in pairwise(layers) for t, h in product(a, b))


def _weighted(tail: str, head: str) -> Edge:
    return Edge(tail, head, f"{tail}>{head}")


def _told(widths: tuple[int, ...]) -> str:
    return "-".join(map(str, widths))
