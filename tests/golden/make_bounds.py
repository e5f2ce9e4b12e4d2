"""Writes bounds.json: Clopper-Pearson tails and Gaussian quantiles in 50-digit arithmetic, independent of SciPy.

python tests/golden/make_bounds.py
"""

import json
from pathlib import Path

import mpmath

mpmath.mp.dps = 60
TRIALS = (1, 2, 10, 50, 100, 1000, 10_000, 100_000)
SHARES = ("0", "0.1", "0.4", "0.5", "0.55", "0.7", "0.9", "0.99", "0.999", "1")
LEVELS = ("0.05", "0.001", "0.0001", "1e-9")


def term(misses, trials, q):
    """P(exactly `misses`)."""
    log = mpmath.loggamma(trials + 1) - mpmath.loggamma(misses + 1) - mpmath.loggamma(trials - misses + 1)
    return mpmath.exp(log + misses * mpmath.log(q) + (trials - misses) * mpmath.log1p(-q))


def binomial_tail(misses, trials, q):
    """P(at most `misses` of `trials`) where each misses with probability q: the plain sum, largest terms first."""
    total = part = term(misses, trials, q)
    for i in range(misses, 0, -1):
        part *= i * (1 - q) / ((trials - i + 1) * q)
        total += part
        if part < total * mpmath.mpf(10) ** -58:
            break
    return total


def tail(misses, trials, alpha):
    """The q at which so few misses have probability alpha."""
    if misses == trials:
        return mpmath.mpf(1)
    if misses == 0:
        return 1 - mpmath.power(alpha, mpmath.mpf(1) / trials)
    low = mpmath.mpf(misses) / trials
    high = min(
        mpmath.mpf(1), (misses + 10 * mpmath.sqrt(misses * 10) + 30) / trials
    )  # P there is far below any alpha used
    for _ in range(40):
        middle = (low + high) / 2
        if binomial_tail(misses, trials, middle) > alpha:
            low = middle
        else:
            high = middle
    q = low
    for _ in range(6):  # Newton: the derivative of the sum telescopes to one term
        slope = -(trials - misses) * term(misses, trials, q) / (1 - q)
        q -= (binomial_tail(misses, trials, q) - alpha) / slope
    return q


def quantile(q):
    """Phi^-1(1 - q)."""
    return mpmath.sqrt(2) * mpmath.erfinv(1 - 2 * q)


rows = []
for n in TRIALS:
    for k in sorted({int(mpmath.nint(mpmath.mpf(s) * n)) for s in SHARES}):
        for level in LEVELS if n <= 1000 else LEVELS[1:2]:
            q = tail(n - k, n, mpmath.mpf(level))
            z = mpmath.nstr(quantile(q), 50) if 0 < q < 1 else None
            rows.append({"k": k, "n": n, "alpha": level, "tail": mpmath.nstr(q, 50), "quantile": z})
for n in (19_814, 10**6, 10**7, 10**8, 10**9):  # where SciPy's inverse is at its weakest: few misses, many trials
    for misses in (1, 2, 3, 7, 20, 999):
        for level in ("0.25", "0.088", "2.64e-4"):
            q = tail(misses, n, mpmath.mpf(level))
            z = mpmath.nstr(quantile(q), 50)
            rows.append({"k": n - misses, "n": n, "alpha": level, "tail": mpmath.nstr(q, 50), "quantile": z})
text = json.dumps({"rows": rows}, indent=0)
Path(__file__).with_name("bounds.json").write_text(text + "\n")
print(len(rows), "rows")
