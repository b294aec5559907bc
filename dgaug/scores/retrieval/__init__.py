"""Ranking of a gallery for each query, and the protocols that read it."""

from dgaug.scores.retrieval.ranking import evaluate_ranking

__all__ = ["evaluate_ranking"]
