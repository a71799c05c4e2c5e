"""The score that a share of films exceeds, also where it is beyond the sample."""

import numpy as np

# The share of the highest scores that the tail is taken from, and how many at least.
_SHARE, _FEWEST = 0.1, 5
# What a single film's score can be said to exceed, of which films there are none.
_OF_NO_FILM = 10.0


def limit(scores: np.ndarray, quantile: float) -> float:
    """Returns the score above which 1 - `quantile` of such films lie at most.

    Within the sample it is the quantile. Beyond it the highest tenth is taken for an
    exponential tail, which is heavier than that of any distance of normal features;
    its mean excess is taken two standard errors longer than it is found, and the limit
    is one excess beyond the highest film at least: with few films it is cautious.

    Args:
      scores: [N] of films that were not trained on.
      quantile: in 0..1, without the ends.
    """
    scores = np.sort(np.asarray(scores, np.float64))
    count = len(scores)
    if count < 2:
        return _OF_NO_FILM
    tail = min(max(_FEWEST, int(np.ceil(_SHARE * count))), count - 1)
    start, above = scores[-tail - 1], scores[-tail:]
    excess = (above - start).mean() * (1 + 2 / np.sqrt(tail))
    excess = max(excess, 1e-3 * max(abs(start), 1.0))
    share = tail / count
    if 1 - quantile >= share:
        return max(float(np.quantile(scores, quantile, method="higher")), 1e-3)
    found = start + excess * np.log(share / (1 - quantile))
    if (1 - quantile) * count < 1:
        found = max(found, scores[-1] + excess)
    return max(float(found), 1e-3)
