"""What the catalogue states of attention as constant linear laws."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from theory.case import Case
from theory.discovery.stated.terms import Terms, entering
from theory.nodes.heads import Fed, Heads, Wired, heads_of


def attention_laws(case: Case) -> Iterator[Terms]:
    """Queries against keys, the gains of their norms, biases of keys."""
    wired = Wired(case)
    for heads in heads_of(case.graph):
        q, k = wired.fed(heads.q), wired.fed(heads.k, heads.turned)
        if q is not None and k is not None:
            yield from _query_key(heads, q, k)
        gains = wired.gain(heads.q), wired.gain(heads.k)
        if gains[0] is not None and gains[1] is not None:
            yield from _gains(case, heads, gains[0], gains[1])


def _query_key(heads: Heads, q: Fed, k: Fed) -> Iterator[Terms]:
    """S(W_Q) + S(b_Q) = S(W_K) + S(b_K): per dimension, per rotated pair or per head; a key's queries together."""
    direct = q.way.direct and k.way.direct
    repeats = q.order.shape[0] // k.order.shape[0]
    keys = k.order.repeat_interleave(repeats, 0) if repeats > 1 else k.order
    for part in _parts(q, q.order.shape[1]):
        for row in dict.fromkeys(map(tuple, keys[:, part].tolist())):
            mine = torch.tensor([tuple(r) == row for r in keys[:, part].tolist()])
            left, right = torch.tensor([c for r in q.order[mine][:, part].tolist() for c in r]), torch.tensor(row)
            into, rest = entering(q.edge, q.bias, left, 1)
            more, besides = entering(k.edge, k.bias, right, -1)
            shared = "1b.grouped_query" if int(mine.sum()) > 1 else "1b.attention_scores"
            id = shared if direct else "1b.rotary"
            words = f"{heads.node.where}: queries of channels {_few(left)} = keys of channels {_few(right)}"
            joined = {n: into.get(n, 0) + more.get(n, 0) for n in {**into, **more}}  # one operator may make both
            both = {u: rest.get(u, 0) + besides.get(u, 0) for u in {**rest, **besides}}
            yield Terms(id, words, into=joined, rest=both, site=heads.node.name)  # type: ignore[arg-type]
    alone = [i for part in _parts(k, k.order.shape[1]) if len(part) == 1 for i in part]
    if k.bias is not None and (direct or "rotated" in _kinds(k)):  # dimensions that no position turns
        for c in torch.unique(k.order[:, alone]).tolist():
            mask = torch.zeros(len(k.edge.heads)).double().index_fill(0, torch.tensor([c]), 1)
            words = f"{heads.node.where}: the key bias of channel {c} carries nothing"
            yield Terms("1b.key_bias", words, rest={(k.edge.node.name, k.bias): mask}, site=k.edge.node.where)


def _kinds(fed: Fed) -> set[str]:
    return {node.kind for node in fed.way.nodes}


def _parts(fed: Fed, width: int) -> list[list[int]]:
    """Dimensions of a head that a rotation mixes: each alone, pairs half a width apart, or all."""
    if fed.way.direct:
        return [[i] for i in range(width)]
    half = width // 2
    if "rotated" in _kinds(fed) or ("neg" in _kinds(fed) and width % 2 == 0):
        return [[i, i + half] for i in range(half)] + [[i] for i in range(2 * half, width)]
    return [list(range(width))]


def _few(channels: Tensor) -> str:
    return ", ".join(map(str, channels.tolist()))


def _gains(case: Case, heads: Heads, q: str, k: str) -> Iterator[Terms]:
    """With normalised queries and keys the gains of the two norms carry the same."""
    shape = case.batch.fixed[q].shape[1:]
    uses = [next(((s.node.name, s.name) for s in case.graph.attached if s.name == name), ("", name)) for name in (q, k)]
    kinds = {n.kind for n in case.graph.nodes if n.where == heads.node.where}
    half = shape[0] // 2
    pairs = [[i, i + half] for i in range(half)] + [[i] for i in range(2 * half, shape[0])]
    for part in pairs if kinds & {"rotated", "neg"} else [[i] for i in range(shape[0])]:
        mask = torch.zeros(shape).double().index_fill(0, torch.tensor(part), 1)
        words = f"{heads.node.where}: gains of queries = gains of keys, of dimensions {', '.join(map(str, part))}"
        yield Terms("1b.query_key_norm", words, rest={uses[0]: mask, uses[1]: -mask}, site=f"{q}, {k}")
