"""The CUHK03 protocol: against one gallery image of each identity, drawn anew many times over."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from dgaug.errors import DgaugError
from dgaug.scores.retrieval.ranking import (
    DISTRACTOR_IDENTITY,
    Numbers,
    Ranking,
    Retrieval,
    per_query,
    ranks_by_query,
    summary,
)
from dgaug.scores.retrieval.similarity import Floats, Scorer, multiples


def single_shot(retrieval: Retrieval, scorer: Scorer, *, repeats: int = 10, seed: int = 0) -> dict[str, Ranking]:
    """Metrics of each weighting against a gallery with one image of each identity, averaged over `repeats` draws.

    The draw is new for every query, as the match must be from another camera than its own, and is the same for every
    weighting. A distractor is a person of its own and always stays. Keys are those of `evaluate_ranking`; beside
    each value of a convention stands its standard deviation over the draws (`…/R1/spread`), where there are several.

    Raises:
        DgaugError: fewer than one repeat, or no query with a match.
    """
    if repeats < 1:
        raise DgaugError(f"single-gallery-shot: expected at least 1 repeat, found {repeats}")
    drawn = _Draws(retrieval, repeats, seed)
    return {name: _averaged(ranks, repeats) for name, ranks in ranks_by_query(retrieval, scorer, drawn.ranks).items()}


class _Draws:
    def __init__(self, retrieval: Retrieval, repeats: int, seed: int) -> None:
        self._retrieval, self._repeats, self._seed = retrieval, repeats, seed
        identities = retrieval.gallery.identities
        alone = identities == DISTRACTOR_IDENTITY
        people = np.where(alone, -1 - np.arange(len(identities)), identities)
        self._columns = np.argsort(people, kind="stable")
        self._people, self._first, self._sizes = np.unique(people[self._columns], return_index=True, return_counts=True)

    def ranks(self, query: int, scores: Floats, resolution: float) -> Numbers:
        """Rank of the match in each draw [repeats]; empty for a query without a match."""
        matches, removed = self._retrieval.matches(query)
        if len(matches) == 0:
            return matches
        scores[removed] = -np.inf
        chance = np.random.default_rng([self._seed, query])
        match = matches[chance.integers(len(matches), size=self._repeats)][:, None]
        others = self._people != self._retrieval.query.identities[query]
        sizes = self._sizes[others]
        drawn = self._columns[self._first[others] + chance.integers(sizes, size=(self._repeats, len(sizes)))]
        counted = multiples(scores, resolution)
        higher = counted[drawn] > counted[match]
        before = (counted[drawn] == counted[match]) & (drawn < match)
        return np.asarray(1 + (higher | before).sum(axis=1))


def _averaged(ranks: Sequence[Numbers], repeats: int) -> Ranking:
    tables = [summary(per_query([of_query[draw : draw + 1] for of_query in ranks])) for draw in range(repeats)]
    averaged: Ranking = {}
    for name, value in tables[0].items():
        values = [table[name] for table in tables]
        averaged[name] = statistics.fmean(values) if "/" in name else value
        if "/" in name and repeats > 1:
            averaged[f"{name}/spread"] = statistics.stdev(values)
    return averaged
