"""Black-box optimizers of other packages (``cma``, ``evotorch``, ``nevergrad``) over a small parameter space.

``ask_tell`` is the method template: a :class:`Searcher` proposes points, the objective measures them, and the
weights move to the point that the searcher recommends. One file per package holds its searchers.
"""

from zobench.zo.blackbox.ask_tell import SMALL_SPACES, AskedPoints, AskTell
from zobench.zo.blackbox.searcher import Searcher, library, one_thread

__all__ = ["SMALL_SPACES", "AskTell", "AskedPoints", "Searcher", "library", "one_thread"]
