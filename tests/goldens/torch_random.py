"""PyTorch's random numbers on a CPU, from a seed: most of the authors' arrays begin as these.

The generator is the Mersenne Twister; normal numbers are Box and Muller's. PyTorch computes them with vector
instructions whose last bits are its own, so that a number may differ by some units in the last place;
packing.py keeps these differences. Logarithm, sine and cosine are written out here, of IEEE additions,
multiplications and divisions alone: every machine gives the same bits.
"""

import numpy as np

F32 = np.float32


class TorchRandom:
    """The stream of `torch.manual_seed(seed)`."""

    def __init__(self, seed: int, start: int = 0):
        self._twister = np.random.RandomState(seed)
        self._second: float | None = None
        self._words(start)

    def uniform(self, count: int) -> np.ndarray:
        """torch.rand(count) in float64; the numbers have 24 bits."""
        return (self._words(count) & 0xFFFFFF) / 2**24

    def normal(self, count: int) -> np.ndarray:
        """torch.randn(count): float32 in blocks of 16, one by one in float64 where there are fewer."""
        if count < 16:
            return np.array([self._one() for _ in range(count)], F32)
        drawn, whole = self.uniform(count), count // 16 * 16
        result = np.empty(count, F32)
        result[:whole] = _box_muller(drawn[:whole])
        if count > whole:
            result[-16:] = _box_muller(self.uniform(16))
        return result

    def _words(self, count: int) -> np.ndarray:
        return self._twister.randint(0, 2**32, size=count, dtype=np.uint64)

    def _one(self) -> float:
        if self._second is not None:
            value, self._second = self._second, None
            return value
        words = self._words(4).astype(object)
        turn, other = (int((high << 32 | low) & (2**53 - 1)) / 2**53 for high, low in (words[:2], words[2:]))
        radius = np.sqrt(-2 * _log(np.float64(1 - other)))
        cosine, sine = _cos_sin(np.float64(2 * np.pi * turn))
        self._second = float(radius * sine)
        return float(radius * cosine)


def _box_muller(uniform: np.ndarray) -> np.ndarray:
    blocks = uniform.reshape(-1, 16)
    radius = np.sqrt(F32(-2) * _log(1 - blocks[:, :8]).astype(F32))
    angle = F32(2 * np.pi) * blocks[:, 8:].astype(F32)
    cosine, sine = _cos_sin(angle.astype(np.float64))
    return np.concatenate([radius * cosine.astype(F32), radius * sine.astype(F32)], axis=1).ravel()


def _log(x: np.ndarray) -> np.ndarray:
    mantissa, exponent = np.frexp(x)
    low = mantissa < np.sqrt(0.5)
    mantissa, exponent = np.where(low, 2 * mantissa, mantissa), exponent - low
    s = (mantissa - 1) / (mantissa + 1)
    return 2 * s * _horner(s * s, [1 / (2 * k + 1) for k in range(14)]) + exponent * 0.6931471805599453


def _cos_sin(angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    quarter = np.rint(angle * (2 / np.pi))
    rest = angle - quarter * (np.pi / 2)
    inverse = [1.0]
    for k in range(1, 19):
        inverse.append(inverse[-1] / k)
    signs = [(-1) ** k for k in range(9)]
    cosine = _horner(rest * rest, [s * c for s, c in zip(signs, inverse[0::2], strict=False)])
    sine = rest * _horner(rest * rest, [s * c for s, c in zip(signs, inverse[1::2], strict=False)])
    turn = quarter.astype(int) % 4
    choices = [cosine, -sine, -cosine, sine]
    return np.choose(turn, choices), np.choose((turn + 3) % 4, choices)


def _horner(x: np.ndarray, coefficients: list[float]) -> np.ndarray:
    result = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        result = result * x + coefficient
    return result
