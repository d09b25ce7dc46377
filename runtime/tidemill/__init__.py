"""Tidemill: streaming programs in PySpark's API, without a JVM.

The package root imports nothing heavy: ``import tidemill.api`` must not load DuckDB or Arrow.
"""

__version__ = "0.1.0"
