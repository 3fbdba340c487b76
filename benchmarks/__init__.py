"""Measurements, and the research code that they and the tests share.

A package so that both can import it from the repository's root, as `benchmarks.worlds`.
"""
