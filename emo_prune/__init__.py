"""Turn a large mixture-of-experts model into the small one that a task needs."""

__version__ = "0.1.0"
