"""Known laws: what the catalogue states of one architecture as constant linear laws, written as vectors of rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pruning.graph import Edge, Graph, Junction
from theory.case import Case
from theory.discovery.integers import whole_basis
from theory.discovery.nullspace import null_space
from theory.discovery.rows import Level, Rows, in_words
from theory.discovery.stated.attention import attention_laws
from theory.discovery.stated.norms import norm_laws
from theory.discovery.stated.terms import Terms, Use, by_tensor, each_alone, summed_by_site, unit_laws
from theory.discovery.stated.weights import computed_weight_laws
from theory.networks.batch import Batch
from theory.subjects import the_loss

TIED = "more than once (tied)"


@dataclass(frozen=True, eq=False)
class Known:
    """Laws by their numbers in the catalogue, in words, as (laws, rows)."""

    ids: tuple[str, ...]
    words: tuple[str, ...]
    vectors: Tensor


def known_laws(batch: Batch, rows: Rows) -> Known:
    """Every constant linear law of saliencies that the catalogue states of the architecture and rows can express.

    Where a parameter is read more than once, a law of its uses is one of the parameter if all uses have the
    same coefficients (A11: laws hold per use, and autograd gives the sum of the uses).
    """
    graph = batch.network.graph
    case = Case(batch, the_loss)
    listed = [
        *(unit_laws(graph, each_alone(graph), _allowed(graph)) if rows.level is not Level.TENSORS else ()),
        *(unit_laws(graph, by_tensor(graph), _allowed(graph)) if rows.level is not Level.ENTRIES else ()),
        *attention_laws(case),
        *norm_laws(case),
        *computed_weight_laws(case),
    ]
    listed = summed_by_site(listed) if rows.level is Level.TENSORS else listed
    writer = _Writer(graph, rows)
    written = [(t, *found) for t in listed if (found := writer.written(t)) is not None]
    bound = [bool(held.any()) for _, _, held in written]
    free = [(t.id, t.words, vector) for (t, vector, _), b in zip(written, bound, strict=True) if not b]
    free += _combined([w for w, b in zip(written, bound, strict=True) if b], rows)
    vectors = torch.stack([v for _, _, v in free]) if free else torch.zeros(0, rows.size).double()
    return Known(tuple(i for i, _, _ in free), tuple(w for _, w, _ in free), vectors)


def _allowed(graph: Graph) -> Mapping[int, Junction]:
    """Hidden units to which nothing is objected but that a parameter is tied."""
    found = [j for j in graph.hidden if all(text.endswith(TIED) for text in j.objections)]
    return {unit: j for j in found for unit in range(j.first, j.first + j.units)}


class _Writer:
    """Writes terms as a vector of rows, and as what must be 0: flows no parameter carries, uses that differ."""

    def __init__(self, graph: Graph, rows: Rows) -> None:
        self.rows = rows
        self.edges: dict[str, Edge] = {e.node.name: e for e in graph.edges}
        self.uses: dict[str, list[Use]] = defaultdict(list)
        for use in [(e.node.name, e.weight) for e in graph.edges] + [(s.node.name, s.name) for s in graph.attached]:
            if use not in self.uses[use[1]]:
                self.uses[use[1]].append(use)
        self.flows = [node.name for node in graph.nodes]

    def written(self, terms: Terms) -> tuple[Tensor, Tensor] | None:
        """(rows,) and what must be 0; None where rows are too coarse, or a parameter of the law has none."""
        spoken = {self.edges[n].weight for n in {**terms.into, **terms.out}} | {name for _, name in terms.rest}
        if spoken - self.rows.names:
            return None
        vector, differ = torch.zeros(self.rows.size).double(), []
        for block, span in self.rows.spans():
            uses = self.uses.get(block.name) or [next((u for u in terms.rest if u[1] == block.name), ("", block.name))]
            parts = [self._part(terms, use, span) for use in uses]
            if any(p is None for p in parts):
                return None
            vector[span] = parts[0]  # type: ignore[assignment]
            differ += [p - parts[0] for p in parts[1:]]  # type: ignore[operator]
        flows = torch.tensor([terms.flows.get(name, 0.0) for name in self.flows]).double()
        return vector, torch.cat([flows, *differ])

    def _part(self, terms: Terms, use: Use, span: slice) -> Tensor | None:
        block = next(b for b, s in self.rows.spans() if s == span)
        if use[0] in self.edges and self.edges[use[0]].weight == use[1]:
            return block.written(terms.into.get(use[0]), terms.out.get(use[0]), self.edges[use[0]])
        given = terms.rest.get(use)
        if given is None:
            return torch.zeros(block.size).double()
        if block.side == "entries":
            return given.flatten()
        return given.flatten()[:1] if bool((given == given.flatten()[0]).all()) else None


def _combined(bound: list[tuple[Terms, Tensor, Tensor]], rows: Rows) -> list[tuple[str, str, Tensor]]:
    """The combinations in which all that must be 0 is 0, in small whole numbers."""
    if not bound:
        return []
    space = null_space(torch.stack([held for _, _, held in bound]).mT)
    shares = whole_basis(space.basis, space.slack)
    found = []
    for share in space.basis if shares is None else shares:
        vector = share @ torch.stack([v for _, v, _ in bound])
        ids = {"A11" if t.id[0] == "A" else t.id for (t, _, _), s in zip(bound, share.tolist(), strict=True) if s}
        if bool(vector.any()):
            found.append((" and ".join(sorted(ids)), in_words(rows, vector), vector))
    return found
