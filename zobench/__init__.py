"""zobench: benchmark and evaluation harness for zeroth-order optimizers and the robustness of what they
train.

Importing this package imports no torch; rooms (``zobench.zo``, ``zobench.tasks`` …) are imported when used.
"""

__version__ = "0.1.0"
