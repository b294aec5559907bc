"""The protocols that query and gallery are evaluated by, and what each of them found."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgaug.data.records import Record
from dgaug.errors import DgaugError
from dgaug.progress import Progress, silent
from dgaug.scores.retrieval.features import Split, retrieval_of
from dgaug.scores.retrieval.ranking import (
    DISTRACTOR_IDENTITY,
    Numbers,
    PerQuery,
    Ranking,
    Retrieval,
    per_query,
    ranks_by_query,
    score_queries,
    summary,
)
from dgaug.scores.retrieval.reranking import RerankedScores, Reranking
from dgaug.scores.retrieval.similarity import Floats, Scorer, WeightedScores, Weightings, multiples

SINGLE_QUERY = "single-query"
MULTI_QUERY = "multi-query"
RERANKED = "re-ranked"
SINGLE_SHOT = "single-gallery-shot"
AVERAGED = "structure-averaged"

_log = logging.getLogger("dgaug")

Tables = dict[str, Ranking]
"""By feature (`prim`, `fine`, `both`), the metrics of `evaluate_ranking`."""


@dataclass(frozen=True)
class Protocols:
    """What is evaluated beside single queries.

    Attributes:
        metric: one of `METRICS`; re-ranking always takes the squared Euclidean distance.
        reranking: its parameters; None: none.
        multi_query: the images that stand for a query of their identity and camera; None: none.
        single_shot: repeats of the CUHK03 protocol; 0: none.
        seed: of these repeats.
        averaged: features of all queries and of the whole gallery averaged over structures; None: none.
    """

    metric: str = "inner"
    reranking: Reranking | None = None
    multi_query: Split | None = None
    single_shot: int = 0
    seed: int = 0
    averaged: tuple[Tensor, Tensor] | None = None


@dataclass(frozen=True)
class RankedImage:
    """A gallery image in the ranking of a query; `right`: it shows the query's identity."""

    record: Record
    score: float
    right: bool


@dataclass(frozen=True)
class Evaluation:
    """What was found.

    Attributes:
        protocol: how, as `--json` prints it.
        ranking: by protocol (`single-query`, ...), its tables.
        per_query: by protocol (but single-gallery-shot) and feature, first rank and average precisions of each query,
            in the order of `query`.
        query: the queries and their features.
        gallery: the gallery and its features.
    """

    protocol: Mapping[str, object]
    ranking: Mapping[str, Tables]
    per_query: Mapping[str, Mapping[str, PerQuery]]
    query: Split
    gallery: Split
    _retrieval: Retrieval
    _scorers: Mapping[str, Scorer]

    @property
    def feature(self) -> str:
        """The feature that stands for the model: `both` where there are two heads, else `prim`."""
        return list(self.ranking[SINGLE_QUERY])[-1]

    def ranked(
        self, query: int, *, count: int = 10, feature: str | None = None, protocol: str = SINGLE_QUERY
    ) -> list[RankedImage]:
        """The first images of a query's ranking; `query` is its row in `query.records`."""
        wanted = feature or self.feature
        scored_query = next(
            scored for scored in self._scorers[protocol](slice(query, query + 1)) if scored.name == wanted
        )
        columns, right = self._retrieval.ranking(query, scored_query.scores[0], float(scored_query.resolution[0]))
        return [
            RankedImage(
                self.gallery.records[self._retrieval.kept[column]], float(scored_query.scores[0, column]), bool(hit)
            )
            for column, hit in zip(columns[:count], right[:count], strict=True)
        ]

    def __getitem__(self, feature: str) -> Ranking:
        """The metrics of a feature (`prim`, `fine`, `both`) for single queries."""
        return self.ranking[SINGLE_QUERY][feature]

    def as_json(self) -> dict[str, object]:
        """Metrics and protocol, as `--json` prints them: by feature for single queries, then by other protocols."""
        others = {name: tables for name, tables in self.ranking.items() if name != SINGLE_QUERY}
        return {**self.ranking[SINGLE_QUERY], **others, "protocol": self.protocol}


def evaluate_splits(
    query: Split,
    gallery: Split,
    weightings: Weightings,
    *,
    protocols: Protocols | None = None,
    described: Mapping[str, object] | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Evaluate features under every weighting; `described` becomes the `protocol` of the result.

    Raises:
        DgaugError: NaN in the features, or no query with a match.
    """
    protocols = protocols or Protocols()
    retrieval = retrieval_of(query, gallery)
    if retrieval.same_features:
        _log.warning(
            "%d times a gallery image has a query's features to the last bit, so it shows the same image, saved again; "
            "it does not rank for that query",
            retrieval.same_features,
        )
    asked, scored_query = retrieval.query.features, retrieval.gallery.features
    single = WeightedScores(asked, scored_query, weightings, metric=protocols.metric)
    scorers: dict[str, Scorer] = {SINGLE_QUERY: single}
    if protocols.multi_query is not None:
        together = multi_query_features(query, protocols.multi_query).to(asked)
        scorers[MULTI_QUERY] = WeightedScores(together, scored_query, weightings, metric=protocols.metric)
    if protocols.averaged is not None:
        queries, everyone = (side.to(asked) for side in protocols.averaged)
        kept = everyone[torch.from_numpy(retrieval.kept).to(asked.device)]
        scorers[AVERAGED] = WeightedScores(queries, kept, weightings, metric=protocols.metric)
    if protocols.reranking is not None:
        scorers[RERANKED] = RerankedScores(
            asked, scored_query, weightings, parameters=protocols.reranking, progress=progress
        )
    per_query = {name: score_queries(retrieval, scorer) for name, scorer in scorers.items()}
    ranking: dict[str, Tables] = {
        name: {feature: summary(scores) | retrieval.counts for feature, scores in by_feature.items()}
        for name, by_feature in per_query.items()
    }
    if protocols.single_shot:
        tables = single_shot(retrieval, single, repeats=protocols.single_shot, seed=protocols.seed)
        ranking[SINGLE_SHOT] = {feature: table | retrieval.counts for feature, table in tables.items()}
    copies = {"same_file": retrieval.same_file, "same_features": retrieval.same_features}
    protocol = {**(described or {}), "copies_left_out": copies}
    return Evaluation(protocol, ranking, per_query, query, gallery, retrieval, scorers)


def multi_query_features(query: Split, images: Split) -> Tensor:
    """The mean feature [Q, D] of the images of each query's identity and camera; its own where there is none.

    As published, the mean is not scaled to unit length again (method: ranking).
    """
    _, groups = np.unique(_keys(query, images), axis=0, return_inverse=True)
    own, theirs = groups[: len(query.records)], torch.from_numpy(groups[len(query.records) :])
    counts = torch.bincount(theirs, minlength=int(groups.max()) + 1)
    sums = torch.zeros(len(counts), query.features.shape[1], dtype=torch.float64)
    sums.index_add_(0, theirs, images.features.double())
    means = sums / counts.clamp(min=1)[:, None]
    return torch.where(counts[own, None] > 0, means[own], query.features.double())


def _keys(query: Split, images: Split) -> NDArray[np.int64]:
    """Identity and camera [Q + N, 2] of the queries and of the images that may stand for them."""
    return np.concatenate([np.stack([side.identities, side.cameras], axis=1) for side in (query, images)])


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
