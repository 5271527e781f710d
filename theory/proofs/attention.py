"""Laws of attention heads and of softmax cross-entropy, for every R behind them."""

from collections.abc import Callable, Iterator
from itertools import product

import sympy  # type: ignore[import-untyped]

from theory.proofs.calculus import Expression, Matrix, cleared, dot, free, matrix, saliency
from theory.proofs.modules import Sizes, plain
from theory.proofs.statement import Identity, states

HEAD = Sizes("a head of 2 dimensions, 2 tokens of 2 features, biased", (2, 2, 2))
NARROW = Sizes("a head of 1 dimension, 3 tokens of 2 features, biased", (1, 3, 2))


def projected(name: str, sizes: tuple[int, int, int]) -> tuple[Matrix, list[Matrix]]:
    """[W | b] in symbols, and W x + b for each token x."""
    head, tokens, features = sizes
    w = matrix(name, head, features + 1)
    return w, [w * sympy.Matrix([*free(f"x{t}", features), 1]) for t in range(tokens)]


def slope(r: Expression, w: Matrix) -> Matrix:
    """dR/dW."""
    return w.applyfunc(r.diff)


def rotation(i: int, j: int) -> Matrix:
    """What rotary embedding puts between query i and key j; any length: it commutes with rotations."""
    c, s = sympy.Symbol(f"cos{i}{j}"), sympy.Symbol(f"sin{i}{j}")
    return sympy.Matrix([[c, -s], [s, c]])


def queried(sizes: tuple[int, int, int], rotary: bool, heads: int = 1) -> tuple[Expression, list[Matrix], Matrix]:
    """(R, [W_Q | b_Q] per query head, [W_K | b_K]); dR/dscore is free, so any softmax, mask or temperature."""
    w_k, keys = projected("K", sizes)
    r, queries = 0, []
    for head in range(heads):
        w_q, rows = projected(f"Q{head}_", sizes)
        queries.append(w_q)
        for (i, q), (j, k) in product(enumerate(rows), enumerate(keys)):
            r += sympy.Symbol(f"g{head}{i}{j}") * (q.T * (rotation(i, j) if rotary else sympy.eye(len(k))) * k)[0]
    return r, queries, w_k


def both_sides(sizes: tuple[int, int, int], rotary: bool, heads: int, with_bias: bool) -> tuple[Matrix, Matrix]:
    """G_Q W_Q^T, summed over the query heads, and W_K G_K^T; over [W | b], or W alone."""
    r, queries, w_k = queried(sizes, rotary, heads)
    columns = slice(None) if with_bias else slice(0, -1)
    left = sum((slope(r, w)[:, columns] * w[:, columns].T for w in queries), sympy.zeros(sizes[0], sizes[0]))
    return left, w_k[:, columns] * slope(r, w_k)[:, columns].T


@states(
    "1b.attention_scores",
    source="derived: linear bottleneck of W_Q and W_K",
    shapes=(HEAD, NARROW),
    build=plain,
    wrong={"the biases not counted": {"with_bias": False}, "rotary embedding": {"rotary": True, "shapes": (HEAD,)}},
)
def query_key_law(sizes: tuple[int, int, int], rotary: bool = False, with_bias: bool = True) -> Iterator[Identity]:
    """G_Q W_Q^T = W_K G_K^T over [W | b], so S(W_Q) + S(b_Q) = S(W_K) + S(b_K)."""
    left, right = both_sides(sizes, rotary, 1, with_bias)
    for i, j in product(range(sizes[0]), repeat=2):
        yield Identity(f"dimensions {i}, {j}", left[i, j], right[i, j], clear=cleared)
    yield Identity("totals", left.trace(), right.trace(), clear=cleared)


@states(
    "1b.rotary",
    source="derived: what commutes with rotations",
    shapes=(HEAD,),
    build=plain,
    wrong={"the symmetric part": {"sign": 1}},
)
def rotary_law(sizes: tuple[int, int, int], sign: int = -1) -> Iterator[Identity]:
    """With rotary embedding the trace and the antisymmetric part of the query-key law hold, per rotated pair."""
    left, right = both_sides(sizes, True, 1, True)
    yield Identity("trace", left.trace(), right.trace(), clear=cleared)
    turned, turning = (m[0, 1] + sign * m[1, 0] for m in (left, right))
    yield Identity("antisymmetric part", turned, turning, clear=cleared)


@states(
    "1b.grouped_query",
    source="derived: the key head is shared",
    shapes=(Sizes("2 query heads of 1 dimension on one key, 2 tokens of 1 feature", (1, 2, 1)),),
    build=plain,
    wrong={"head by head": {"counted": 1}},
)
def grouped_query_law(sizes: tuple[int, int, int], counted: int = 2) -> Iterator[Identity]:
    """With grouped queries S(Q) = S(K) for the sum over the group's query heads."""
    r, queries, w_k = queried(sizes, False, 2)
    yield Identity("group", sum(saliency(r, w) for w in queries[:counted]), saliency(r, w_k), clear=cleared)


@states(
    "1b.attention_values",
    source="derived: linear bottleneck of W_V and W_O",
    shapes=(HEAD, NARROW),
    build=plain,
    wrong={"the value bias not counted": {"with_bias": False}},
)
def value_output_law(sizes: tuple[int, int, int], with_bias: bool = True) -> Iterator[Identity]:
    """G_V W_V^T = W_O^T G_O over [W_V | b_V], whatever the attention weights; so S(W_V) + S(b_V) = S(W_O)."""
    w_v, values = projected("V", sizes)
    w_o, tokens = matrix("O", 2, sizes[0]), range(sizes[1])
    r = 0
    for t in tokens:
        mixed = sum((sympy.Symbol(f"p{t}{s}") * values[s] for s in tokens), sympy.zeros(sizes[0], 1))
        r += (sympy.Matrix([free(f"g{t}", 2)]) * w_o * mixed)[0]
    columns = slice(None) if with_bias else slice(0, -1)
    left, right = slope(r, w_v)[:, columns] * w_v[:, columns].T, w_o.T * slope(r, w_o)
    for i, j in product(range(sizes[0]), repeat=2):
        yield Identity(f"dimensions {i}, {j}", left[i, j], right[i, j], clear=cleared)


def softmax(scores: list[Expression]) -> list[Expression]:
    """exp(score) over the sum of them."""
    whole = sum(sympy.exp(s) for s in scores)
    return [sympy.exp(s) / whole for s in scores]


def with_sink(scores: list[Expression]) -> list[Expression]:
    """Softmax with a learned logit that no token has."""
    return softmax([*scores, sympy.Symbol("sink")])[:-1]


def soft_capped(scores: list[Expression]) -> list[Expression]:
    """Softmax of scores bent as tanh bends them, to third order."""
    return softmax([3 * s - s**3 for s in scores])


@states(
    "1b.key_bias",
    source="derived: softmax does not see a constant added to a row",
    shapes=(
        Sizes("softmax of 2 tokens, a head of 1 dimension", (1, 2, 1)),
        Sizes("softmax of 3 tokens, a head of 2 dimensions", (2, 3, 1)),
    ),
    build=plain,
    wrong={
        "an attention sink": {"weigh": with_sink, "shapes": (Sizes("2 tokens", (1, 2, 1)),)},
        "soft-capped scores": {"weigh": soft_capped, "shapes": (Sizes("2 tokens", (1, 2, 1)),)},
    },
)
def key_bias_law(
    sizes: tuple[int, int, int], weigh: Callable[[list[Expression]], list[Expression]] = softmax
) -> Iterator[Identity]:
    """dR/db_K = 0: shown for each query and each number of tokens it may see, which covers causal masks."""
    query = sympy.Matrix(free("q", sizes[0]))
    w_k, keys = projected("K", sizes)
    for seen in range(1, sizes[1] + 1):
        r = dot(free("g", seen), weigh([(query.T * k)[0] for k in keys[:seen]]))
        for b in w_k[:, -1]:
            yield Identity(f"{b}, {seen} tokens seen", r.diff(b), 0, clear=cleared)


def cross_entropy(logits: list[Expression], target: list[Expression]) -> Expression:
    """- sum of target * log softmax, for any target."""
    return -dot(target, logits) + sum(target) * sympy.log(sum(sympy.exp(z) for z in logits))


def sigmoid_entropy(logits: list[Expression], target: list[Expression]) -> Expression:
    """The same with a sigmoid per class."""
    return sum(sympy.log(1 + sympy.exp(z)) - t * z for t, z in zip(target, logits, strict=True))


@states(
    "A13",
    source="Kunin et al. 2021 (Neural Mechanics), translation symmetry",
    shapes=(Sizes("2 features, 3 classes, 1 sample", (2, 3, 1)), Sizes("1 feature, 2 classes, 2 samples", (1, 2, 2))),
    build=plain,
    wrong={"on theta * dR/dtheta": {"scored": True}, "sigmoid cross-entropy": {"loss": sigmoid_entropy}},
)
def last_layer_translation(
    sizes: tuple[int, int, int],
    loss: Callable[[list[Expression], list[Expression]], Expression] = cross_entropy,
    scored: bool = False,
) -> Iterator[Identity]:
    """Under softmax cross-entropy the last layer's gradients sum to 0 over the classes, per feature and for b."""
    features, classes, samples = sizes
    w = matrix("w", classes, features + 1)
    rows = [w * sympy.Matrix([*free(f"h{s}", features), 1]) for s in range(samples)]
    r = sum((loss(list(row), free(f"t{s}", classes)) for s, row in enumerate(rows)), sympy.Integer(0))
    for column in range(features + 1):
        slopes = (r.diff(p) * (p if scored else 1) for p in w[:, column])
        yield Identity(f"column {column}", sum(slopes), 0, clear=cleared)
