"""A mixture of e-processes that restart, so that a regression that begins late is still found soon.

After five minutes of a healthy canary a product of e-values is far below one. A slow-down that begins then must first
win all of that back. So a new product starts every `RESTART_TICKS`. The evidence is the mixture over starts
``k = 1, 2, …`` and over cells (for instance quantile and effect size)::

    E_t = sum_k 1/(k (k+1)) * mean_cells prod_{s in ticks since start k} e_s  +  1/(K+1)

``1/(k (k+1))`` sums to one. The last term is the mass of future starts, whose product is still one. So E_0 = 1, and a
mixture of test martingales is itself a test martingale (Vovk and Wang, "E-values: calibration,
combination and applications", Annals of Statistics 49, 2021). By Ville's inequality the chance that E_t *ever*
reaches 1/alpha under the null hypothesis is at most alpha, however often one looks.

``ln e`` is capped per tick. That only lowers E, so E stays valid. E-values assume independent requests, but one stall
of one replica slows hundreds of them at once; the cap limits the effect of that.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

RESTART_TICKS = 30
CAP_LN_E = 1.0
MAX_STARTS = 64
"""How many starts are kept. Of more, the one that contributes least is dropped. That lowers E, so E stays valid."""

Cells = npt.NDArray[np.float64]


class MixtureSnapshot(msgspec.Struct, frozen=True):
    """A mixture as the journal keeps it. ``products`` are little-endian float64, ``[len(starts), cells]``."""

    ticks: int
    starts: tuple[int, ...]
    products: bytes


class RestartMixture:
    """The running mixture over ``cells`` alternatives. Evidence comes per tick, as logarithms.

    Args:
        cells: how many alternatives.
        cap_ln_e: the most that one tick may bring to one of them; one number, or one per alternative.
    """

    def __init__(self, cells: int, cap_ln_e: float | Cells = CAP_LN_E) -> None:
        self._cells = cells
        self._cap_ln_e = cap_ln_e
        self._ticks = 0
        self._starts: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)  # [K], start numbers from 1
        self._products: Cells = np.zeros((0, cells))  # [K, cells], ln of the products

    @property
    def ticks(self) -> int:
        return self._ticks

    def update(self, ln_e: Cells) -> None:
        """Takes one tick's ``ln e``.

        Args:
            ln_e: ``[cells]``, finite; each is capped.
        """
        if self._ticks % RESTART_TICKS == 0:
            self._start()
        self._products += np.minimum(ln_e, self._cap_ln_e)
        self._ticks += 1

    def ln_e(self) -> float:
        """The evidence, ln E_t. Never below -ln(K + 1), never NaN."""
        ln_rest = -math.log(self._begun + 1)
        return float(np.logaddexp(np.logaddexp.reduce(self._contributions(), axis=None, initial=-np.inf), ln_rest))

    def dominant(self) -> tuple[int, int]:
        """The ticks since the start that contributes most, and the cell that does; (0, 0) before the first tick."""
        if not len(self._starts):
            return 0, 0
        row, cell = np.unravel_index(int(np.argmax(self._contributions())), self._products.shape)
        return self._ticks - (int(self._starts[row]) - 1) * RESTART_TICKS, int(cell)

    def snapshot(self) -> MixtureSnapshot:
        return MixtureSnapshot(self._ticks, tuple(map(int, self._starts)), self._products.astype("<f8").tobytes())

    def restore(self, snapshot: MixtureSnapshot) -> None:
        self._ticks = snapshot.ticks
        self._starts = np.array(snapshot.starts, dtype=np.int64)
        products = np.frombuffer(snapshot.products, dtype="<f8").astype(np.float64)
        self._products = products.reshape(len(snapshot.starts), self._cells)

    @property
    def _begun(self) -> int:
        return math.ceil(self._ticks / RESTART_TICKS)

    def _contributions(self) -> Cells:
        ln_weights = -np.log(self._starts * (self._starts + 1.0)) - math.log(self._cells)
        contributions: Cells = self._products + ln_weights[:, np.newaxis]
        return contributions

    def _start(self) -> None:
        self._starts = np.append(self._starts, self._ticks // RESTART_TICKS + 1)
        self._products = np.vstack([self._products, np.zeros((1, self._cells))])
        if len(self._starts) > MAX_STARTS:
            weakest = int(np.argmin(self._contributions().max(axis=1)[:-1]))
            self._starts = np.delete(self._starts, weakest)
            self._products = np.delete(self._products, weakest, axis=0)
